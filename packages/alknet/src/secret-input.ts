/**
 * What is piped in or typed, as bytes that can be wiped: by the byte, by the line, or all of it.
 *
 * @module
 */

import { secretBytes, wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "./command-error.ts";

/** A source of secrets. What was read of it once is gone. */
export interface SecretInput {
  /** The next byte; `undefined` at the end. */
  byte(): Promise<number | undefined>;
  /**
   * Up to the next end of line, which is not part of it (`\n` or `\r\n`); `undefined` at the end. The caller wipes it.
   *
   * @throws {CommandError} `INPUT_TOO_LONG` above `most` bytes.
   */
  line(most: number): Promise<Uint8Array | undefined>;
  /**
   * All that is left. The caller wipes it.
   *
   * @throws {CommandError} `INPUT_TOO_LONG` above `most` bytes.
   */
  rest(most: number): Promise<Uint8Array>;
}

/** Read `source`, of whose chunks is wiped what was read: the rest may be asked for late, or never. */
export function secretInput(source: AsyncIterable<Uint8Array>): SecretInput {
  const chunks = source[Symbol.asyncIterator]();
  let chunk: Uint8Array = secretBytes(0);
  let at = 0;

  /** See that there is something at `at`; `false` at the end. */
  async function more(): Promise<boolean> {
    while (at === chunk.length) {
      const { done, value } = await chunks.next();
      if (done === true) return false;
      chunk = value;
      at = 0;
    }
    return true;
  }

  /** Up to `end`, or to the end. */
  async function until(end: number | undefined, most: number): Promise<Uint8Array> {
    let read = secretBytes(Math.min(most, 1_024));
    let length = 0;
    while (await more()) {
      const found = end === undefined ? -1 : chunk.indexOf(end, at);
      const part = chunk.subarray(at, found < 0 ? chunk.length : found);
      if (length + part.length > most) {
        wipe(read, chunk);
        throw inputTooLong(most);
      }
      if (length + part.length > read.length) {
        const larger = secretBytes(Math.min(most, 2 * (length + part.length)));
        larger.set(read.subarray(0, length));
        wipe(read);
        read = larger;
      }
      read.set(part, length);
      wipe(part);
      length += part.length;
      at += part.length;
      if (found < 0) continue;
      at++;
      break;
    }
    return exactly(read, length);
  }

  return {
    async byte() {
      if (!(await more())) return undefined;
      const byte = chunk[at];
      chunk[at++] = 0;
      return byte;
    },
    async line(most) {
      if (!(await more())) return undefined;
      const line = await until(LINE_FEED, most);
      return line.at(-1) === CARRIAGE_RETURN ? exactly(line, line.length - 1) : line;
    },
    rest: (most) => until(undefined, most),
  };
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** The first `length` bytes by themselves; the others are wiped. */
function exactly(bytes: Uint8Array, length: number): Uint8Array {
  if (length === bytes.length) return bytes;
  const result = secretBytes(length);
  result.set(bytes.subarray(0, length));
  wipe(bytes);
  return result;
}

/** More than `most` bytes came. */
export function inputTooLong(most: number): CommandError {
  return new CommandError(`cannot read that: expected at most ${most} bytes`, {
    code: "INPUT_TOO_LONG",
    exitCode: ExitCode.USAGE,
  });
}
