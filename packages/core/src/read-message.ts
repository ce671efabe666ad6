/**
 * One message off a stream, whose decoder says when it is whole.
 *
 * @module
 */

import type { Duplex } from "node:stream";

/**
 * Read until `decode` has a message. What follows it stays unread or is thrown away; the stream lives on.
 *
 * @param decode is given all that has come, and throws before it would need more than its own bound.
 * @returns `undefined` if the stream ends before.
 * @throws what `decode` throws; the stream's error.
 */
export async function readMessage<T>(
  stream: Duplex,
  decode: (bytes: Uint8Array) => { readonly value: T } | undefined,
): Promise<T | undefined> {
  let bytes: Buffer = Buffer.alloc(0);
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    bytes = bytes.length === 0 ? (chunk as Buffer) : Buffer.concat([bytes, chunk as Buffer]);
    const decoded = decode(bytes);
    if (decoded !== undefined) return decoded.value;
  }
  return undefined;
}
