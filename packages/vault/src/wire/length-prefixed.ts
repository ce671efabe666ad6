/**
 * Messages out of the chunks in which they come, each behind its length: u32, big-endian. They may be secret, so that
 * nothing of them stays where it was.
 *
 * @module
 */

/** The length of a message is out of bounds. There is no way back into step: drop whoever sent it. */
export class LengthError extends Error {
  override readonly name = "LengthError";
  readonly code = "MESSAGE_LENGTH";

  constructor(length: number, max: number) {
    super(`cannot read a message of ${length} bytes: expected 1 to ${max}`);
  }
}

export interface Messages {
  /** Take over a chunk, which will be overwritten. */
  push(chunk: Uint8Array): void;
  /**
   * The next whole message, without its length; overwrite it when it was used.
   *
   * @throws {LengthError} before memory is taken for it.
   */
  take(): Uint8Array | undefined;
  /** Whether bytes are there that were not looked at. */
  readonly waiting: boolean;
  /** Whether a message has begun, and not come in full. */
  readonly begun: boolean;
  /** Overwrite all that is kept. */
  wipe(): void;
}

/** @param max longest message without its length, in bytes. */
export function createMessages(max: number): Messages {
  const head = new Uint8Array(4);
  let headLength = 0;
  let body: Uint8Array | undefined;
  let bodyLength = 0;
  let chunks: Uint8Array[] = [];

  /** Move as much as fits, and overwrite it where it was. @returns how much. */
  function move(into: Uint8Array, at: number): number {
    const chunk = chunks[0]!;
    const part = chunk.subarray(0, into.length - at);
    into.set(part, at);
    const { length } = part;
    part.fill(0);
    if (length === chunk.length) chunks.shift();
    else chunks[0] = chunk.subarray(length);
    return length;
  }

  return {
    push(chunk) {
      if (chunk.length > 0) chunks.push(chunk);
    },
    take() {
      while (chunks.length > 0) {
        if (body === undefined) {
          headLength += move(head, headLength);
          if (headLength < head.length) continue;
          const length = new DataView(head.buffer).getUint32(0);
          if (length === 0 || length > max) throw new LengthError(length, max);
          body = new Uint8Array(new ArrayBuffer(length));
        }
        if (chunks.length > 0) bodyLength += move(body, bodyLength);
        if (bodyLength < body.length) continue;
        const whole = body;
        body = undefined;
        headLength = bodyLength = 0;
        return whole;
      }
      return undefined;
    },
    get waiting() {
      return chunks.length > 0;
    },
    get begun() {
      return headLength > 0;
    },
    wipe() {
      for (const chunk of chunks) chunk.fill(0);
      body?.fill(0);
      chunks = [];
      body = undefined;
      headLength = bodyLength = 0;
    },
  };
}
