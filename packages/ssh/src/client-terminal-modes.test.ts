import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { terminalModes } from "./client-terminal-modes.ts";

const LINUX = `speed 38400 baud; rows 24; columns 80; line = 0;
intr = ^C; quit = ^\\; erase = ^?; kill = ^U; eof = ^D; eol = <undef>;
eol2 = M-^?; swtch = <undef>; start = ^Q; stop = ^S; susp = ^Z; rprnt = ^R;
werase = ^W; lnext = ^V; discard = ^O; min = 1; time = 0;
-parenb -parodd -cmspar cs8 -hupcl -cstopb cread -clocal -crtscts
-ignbrk -brkint -ignpar -parmrk -inpck -istrip -inlcr -igncr icrnl ixon -ixoff
-iuclc -ixany -imaxbel iutf8
opost -olcuc -ocrnl onlcr -onocr -onlret -ofill -ofdel nl0 cr0 tab0 bs0 vt0 ff0
isig icanon iexten -echo echoe echok -echonl -noflsh -xcase -tostop -echoprt
echoctl echoke -flusho -extproc
`;

const BSD = `speed 9600 baud; 24 rows; 80 columns;
lflags: icanon isig iexten -echo echoe -echok echoke -echonl echoctl
	-echoprt -altwerase -noflsh -tostop -flusho pendin -nokerninfo
iflags: -istrip icrnl -inlcr -igncr ixon -ixoff ixany imaxbel iutf8
oflags: opost onlcr -oxtabs -onocr -onlret
cflags: cread cs8 -parenb -parodd hupcl -clocal -cstopb -crtscts
cchars: discard = ^O; dsusp = ^Y; eof = ^D; eol = <undef>;
	erase = ^?; intr = ^C; kill = ^U; lnext = ^V; quit = ^\\; reprint = ^R;
	start = ^Q; status = ^T; stop = ^S; susp = ^Z; werase = ^W;
`;

test("terminalModes() reads what stty prints on Linux", () => {
  const modes = decoded(terminalModes(LINUX));
  const wanted: Record<number, number> = {
    1: 3,
    2: 28,
    3: 127,
    5: 4,
    6: 255,
    7: 255,
    8: 17,
    10: 26,
  };
  const flags = {
    36: 1,
    38: 1,
    42: 1,
    50: 1,
    51: 1,
    53: 0,
    54: 1,
    70: 1,
    72: 1,
    74: 0,
    91: 1,
    92: 0,
  };
  for (const [opcode, value] of Object.entries({ ...wanted, ...flags, 128: 38_400, 129: 38_400 })) {
    assert.equal(modes.get(Number(opcode)), value, `opcode ${opcode}`);
  }
});

test("terminalModes() reads what stty prints on BSD", () => {
  const modes = decoded(terminalModes(BSD));
  for (const [opcode, value] of [
    [1, 3],
    [11, 25],
    [12, 18],
    [17, 20],
    [39, 1],
    [51, 1],
    [53, 0],
    [62, 1],
    [128, 9_600],
  ] as const) {
    assert.equal(modes.get(opcode), value, `opcode ${opcode}`);
  }
});

test("terminalModes() makes modes of any text, and none of nothing", () => {
  assert.deepEqual([...terminalModes("")], [0]);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => void decoded(terminalModes(text))),
  );
});

/** As RFC 4254 §8 has it. */
function decoded(bytes: Uint8Array): Map<number, number> {
  const modes = new Map<number, number>();
  const view = Buffer.from(bytes);
  let at = 0;
  for (; view.readUInt8(at) !== 0; at += 5)
    modes.set(view.readUInt8(at), view.readUInt32BE(at + 1));
  assert.equal(at, view.length - 1);
  return modes;
}
