/**
 * Modes of a terminal, as a client has asked for them, in words for `stty`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { CHARACTER_OPCODES, DISABLED, FLAG_OPCODES, MODES_END } from "./terminal-opcodes.ts";

/** By opcode (RFC 4254 §8). */
export type TerminalModes = ReadonlyMap<number, number>;

/** Opcodes from here on have no meaning yet, and end the list. */
const UNDEFINED = 160;

/** Not on every system, where `stty` would then do nothing at all; and nobody has needed them for thirty years. */
const PASSED_OVER: readonly string[] = [
  ...["dsusp", "reprint", "swtch", "status", "discard"],
  ...["iuclc", "xcase", "olcuc", "pendin"],
  // Of lines of wire: a pseudoterminal has eight bits, and no parity.
  ...["cs7", "cs8", "parenb", "parodd"],
];

/** Read the modes of `pty-req`: `( opcode: u8, value: u32, big-endian )* 0`. What is cut off is left out. */
export function decodeTerminalModes(bytes: Uint8Array): TerminalModes {
  const modes = new Map<number, number>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 5 <= bytes.length; at += 5) {
    const opcode = view.getUint8(at);
    if (opcode === MODES_END || opcode >= UNDEFINED) break;
    modes.set(opcode, view.getUint32(at + 1));
  }
  return modes;
}

/** What to give to `stty` for them, on any system. */
export function sttyWords(modes: TerminalModes): string[] {
  const words: string[] = [];
  for (const [name, opcode] of Object.entries(CHARACTER_OPCODES)) {
    const character = characterOf(modes.get(opcode));
    if (character !== undefined && !PASSED_OVER.includes(name)) words.push(name, character);
  }
  for (const [name, opcode] of Object.entries(FLAG_OPCODES)) {
    const value = modes.get(opcode);
    if (value === undefined || PASSED_OVER.includes(name)) continue;
    words.push(value === 0 ? `-${name}` : name);
  }
  return words;
}

/** What ends the input; `undefined`: no character does. */
export function endOfInput(modes: TerminalModes): number | undefined {
  const code = modes.get(CHARACTER_OPCODES["eof"]!) ?? 4;
  return code > 0 && code < DISABLED ? code : undefined;
}

/** As `stty` reads it: `^C`, `^?`, a character, or `undef`. */
function characterOf(code: number | undefined): string | undefined {
  if (code === undefined) return undefined;
  if (code === DISABLED || code === 0) return "undef";
  if (code === 127) return "^?";
  if (code < 32) return `^${String.fromCharCode(code + 64)}`;
  // A blank would be two words, and what is not ASCII is not read alike by all.
  return code > 32 && code < 127 ? String.fromCharCode(code) : undefined;
}
