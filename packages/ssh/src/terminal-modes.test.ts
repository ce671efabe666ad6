import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import * as fc from "fast-check";
import { terminalModes } from "./client-terminal-modes.ts";
import { openTerminal } from "./terminal-device.ts";
import { decodeTerminalModes, endOfInput, sttyWords } from "./terminal-modes.ts";

test("sttyWords() says what a client has asked for", () => {
  const words = (...modes: readonly (readonly [number, number])[]) => sttyWords(new Map(modes));
  assert.deepEqual(words([1, 3], [3, 127], [5, 4], [6, 255], [2, 0]), [
    ...["intr", "^C", "quit", "undef", "erase", "^?", "eof", "^D", "eol", "undef"],
  ]);
  assert.deepEqual(words([36, 0], [42, 1], [53, 0], [72, 1]), [
    "-icrnl",
    "iutf8",
    "-echo",
    "onlcr",
  ]);
  // A pseudoterminal has eight bits.
  assert.deepEqual(words([90, 1], [91, 0]), []);
  assert.deepEqual(words([8, 0x2a], [9, 0x20], [10, 200]), ["start", "*"]);
  assert.deepEqual(words([200, 1], [128, 38_400]), []);
});

test("stty takes all that sttyWords() can say", () => {
  const terminal = openTerminal({ columns: 80, rows: 24 }, 4);
  try {
    for (const value of [0, 1, 3, 127, 255, 0x2a, 0x7e]) {
      const all = new Map(Array.from({ length: 160 }, (_, opcode) => [opcode, value]));
      execFileSync("stty", ["-F", terminal.path, ...sttyWords(all)]);
    }
  } finally {
    terminal.close();
  }
});

test("decodeTerminalModes() reads what terminalModes() writes", () => {
  const modes = decodeTerminalModes(
    terminalModes("speed 9600 baud;\nintr = ^C; eof = <undef>;\n-echo icanon"),
  );
  assert.deepEqual(
    [...modes],
    [
      ...new Map([
        [128, 9_600],
        [129, 9_600],
        [1, 3],
        [5, 255],
        [53, 0],
        [51, 1],
      ]),
    ],
  );
  assert.equal(endOfInput(modes), undefined);
  assert.equal(endOfInput(new Map()), 4);
  assert.equal(endOfInput(new Map([[5, 26]])), 26);
});

test("decodeTerminalModes() reads modes to their end or the first without a meaning, of any bytes", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 159 }), fc.nat()), {
        selector: ([opcode]) => opcode,
      }),
      fc.constantFrom(0, 160, 255),
      fc.uint8Array({ minLength: 4 }),
      (modes, end, rest) => {
        const bytes = modes.flatMap(([opcode, value]) => [opcode, ...uint32(value)]);
        assert.deepEqual(
          [...decodeTerminalModes(Uint8Array.from([...bytes, end, ...rest]))],
          modes,
        );
      },
    ),
  );
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void sttyWords(decodeTerminalModes(bytes))));
});

function uint32(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return [...bytes];
}
