/**
 * A line that is typed unseen, on a terminal in raw mode: with the keys that people correct themselves by.
 *
 * @module
 */

import { secretBytes, wipe } from "@alknet/vault/wipe";
import { Interrupted } from "./interrupted.ts";
import { inputTooLong, type SecretInput } from "./secret-input.ts";

/** Longest line, in bytes. */
export const MAX_LINE = 1_024;

/**
 * Read a line of keys: Backspace, Ctrl-U and Ctrl-W correct it, Enter and Ctrl-D end it; arrows and the like do
 * nothing. The caller wipes it.
 *
 * @throws {CommandError} `INPUT_TOO_LONG` above {@linkcode MAX_LINE}: what was cut off would be another passphrase.
 * @throws {Interrupted} on Ctrl-C, and where there is no more to read.
 */
export async function readHiddenLine(keys: SecretInput): Promise<Uint8Array> {
  const line = secretBytes(MAX_LINE);
  let length = 0;
  let tooLong = false;
  try {
    for (;;) {
      const key = await keys.byte();
      switch (key) {
        case undefined:
        case Key.CTRL_C:
          throw new Interrupted();
        case Key.CTRL_D:
        case Key.LINE_FEED:
        case Key.ENTER: {
          if (tooLong) throw inputTooLong(MAX_LINE);
          const result = secretBytes(length);
          result.set(line.subarray(0, length));
          return result;
        }
        case Key.BACKSPACE:
        case Key.DELETE:
          length = withoutCharacter(line, length);
          break;
        case Key.CTRL_U:
          length = 0;
          tooLong = false;
          break;
        case Key.CTRL_W:
          length = withoutWord(line, length);
          break;
        case Key.ESCAPE:
          await skipSequence(keys);
          break;
        default:
          if (key < 0x20) break;
          if (length < MAX_LINE) line[length++] = key;
          else tooLong = true;
      }
    }
  } finally {
    wipe(line);
  }
}

const Key = {
  CTRL_C: 0x03,
  CTRL_D: 0x04,
  BACKSPACE: 0x08,
  LINE_FEED: 0x0a,
  ENTER: 0x0d,
  CTRL_U: 0x15,
  CTRL_W: 0x17,
  ESCAPE: 0x1b,
  DELETE: 0x7f,
} as const;

/** Length without the last character, of UTF-8. */
function withoutCharacter(line: Uint8Array, length: number): number {
  let end = length;
  do end--;
  while (end > 0 && (line[end]! & 0xc0) === 0x80);
  return Math.max(0, end);
}

function withoutWord(line: Uint8Array, length: number): number {
  let end = length;
  while (end > 0 && line[end - 1] === 0x20) end--;
  while (end > 0 && line[end - 1] !== 0x20) end--;
  return end;
}

/** What follows an ESC: `[` and parameters up to a letter or `~` (ECMA-48 §5.4), `O` and a letter, or one byte. */
async function skipSequence(keys: SecretInput): Promise<void> {
  const first = await keys.byte();
  if (first === 0x4f) await keys.byte();
  if (first !== 0x5b) return;
  for (;;) {
    const next = await keys.byte();
    if (next === undefined || (next >= 0x40 && next <= 0x7e)) return;
  }
}
