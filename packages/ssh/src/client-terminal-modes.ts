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

import { CHARACTER_OPCODES, DISABLED, FLAG_OPCODES, MODES_END } from "./terminal-opcodes.ts";

const INPUT_SPEED = 128;
const OUTPUT_SPEED = 129;

/** @param stty what `stty -a` has printed, in the C locale. */
export function terminalModes(stty: string): Uint8Array {
  const modes = new Map<number, number>();
  const speed = Number(/\bspeed (\d+) baud/.exec(stty)?.[1] ?? 0);
  if (speed > 0) modes.set(INPUT_SPEED, speed).set(OUTPUT_SPEED, speed);
  const settings = /\b([a-z0-9]+) = ([^;\n]+);/g;
  for (const [, name = "", text = ""] of stty.matchAll(settings)) {
    const code = characterOf(text);
    const opcode = Object.hasOwn(CHARACTER_OPCODES, name) ? CHARACTER_OPCODES[name] : undefined;
    if (opcode !== undefined && code !== undefined) modes.set(opcode, code);
  }
  for (const [, minus, name = ""] of stty
    .replaceAll(settings, "")
    .matchAll(/(-?)\b([a-z0-9]+)\b/g)) {
    if (Object.hasOwn(FLAG_OPCODES, name)) modes.set(FLAG_OPCODES[name]!, minus === "-" ? 0 : 1);
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
  bytes.writeUInt8(MODES_END, at);
  return bytes;
}
