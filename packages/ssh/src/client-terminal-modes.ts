/**
 * Modes of a terminal for `pty-req` (RFC 4254 §8, RFC 8160), from what `stty -a` says of it.
 *
 * ```text
 * ( opcode: u8, value: u32, big-endian )*  0
 * ```
 *
 * Node can put a terminal into raw mode, and cannot tell how it was before; `stty` can, on Linux and on BSD.
 * What is not known here is left out, and the far side has a mode of its own for it.
 *
 * @module
 */

/** Control characters, by their names in `stty`. */
const CHARACTERS: Readonly<Record<string, number>> = {
  intr: 1,
  quit: 2,
  erase: 3,
  kill: 4,
  eof: 5,
  eol: 6,
  eol2: 7,
  start: 8,
  stop: 9,
  susp: 10,
  dsusp: 11,
  rprnt: 12,
  reprint: 12,
  werase: 13,
  lnext: 14,
  swtch: 16,
  status: 17,
  discard: 18,
};

/** What is on or off. */
const FLAGS: Readonly<Record<string, number>> = {
  ...{ ignpar: 30, parmrk: 31, inpck: 32, istrip: 33, inlcr: 34, igncr: 35, icrnl: 36, iuclc: 37 },
  ...{ ixon: 38, ixany: 39, ixoff: 40, imaxbel: 41, iutf8: 42 },
  ...{ isig: 50, icanon: 51, xcase: 52, echo: 53, echoe: 54, echok: 55, echonl: 56, noflsh: 57 },
  ...{ tostop: 58, iexten: 59, echoctl: 60, echoke: 61, pendin: 62 },
  ...{ opost: 70, olcuc: 71, onlcr: 72, ocrnl: 73, onocr: 74, onlret: 75 },
  ...{ cs7: 90, cs8: 91, parenb: 92, parodd: 93 },
};

const INPUT_SPEED = 128;
const OUTPUT_SPEED = 129;
/** A control character that is none. */
const DISABLED = 255;
const END = 0;

/** @param stty what `stty -a` has printed, in the C locale. */
export function terminalModes(stty: string): Uint8Array {
  const modes = new Map<number, number>();
  const speed = Number(/\bspeed (\d+) baud/.exec(stty)?.[1] ?? 0);
  if (speed > 0) modes.set(INPUT_SPEED, speed).set(OUTPUT_SPEED, speed);
  const settings = /\b([a-z0-9]+) = ([^;\n]+);/g;
  for (const [, name = "", text = ""] of stty.matchAll(settings)) {
    const code = characterOf(text);
    const opcode = Object.hasOwn(CHARACTERS, name) ? CHARACTERS[name] : undefined;
    if (opcode !== undefined && code !== undefined) modes.set(opcode, code);
  }
  for (const [, minus, name = ""] of stty
    .replaceAll(settings, "")
    .matchAll(/(-?)\b([a-z0-9]+)\b/g)) {
    if (Object.hasOwn(FLAGS, name)) modes.set(FLAGS[name]!, minus === "-" ? 0 : 1);
  }
  return encode(modes);
}

/** `^C`, `^?`, `M-^A`, a character, or `<undef>`. */
function characterOf(text: string): number | undefined {
  if (text === "<undef>" || text === "undef") return DISABLED;
  const [, meta, control, character = ""] = /^(M-)?(\^)?(.)$/s.exec(text) ?? [];
  if (character === "") return undefined;
  const plain = character.charCodeAt(0);
  const code = control === undefined ? plain : plain ^ 0x40;
  const whole = meta === undefined ? code : code | 0x80;
  return whole < 256 ? whole : undefined;
}

function encode(modes: ReadonlyMap<number, number>): Uint8Array {
  const bytes = Buffer.alloc(5 * modes.size + 1);
  let at = 0;
  for (const [opcode, value] of modes) {
    at = bytes.writeUInt8(opcode, at);
    at = bytes.writeUInt32BE(value, at);
  }
  bytes.writeUInt8(END, at);
  return bytes;
}
