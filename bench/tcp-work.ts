/**
 * The work of the TCP benches, the same on bare `node:tls` and on our connections: any `Duplex` will do.
 *
 * The server begins with one byte: it has judged the client, and takes it. A bulk client then sends
 * nine: {@linkcode SINK}, and how much will follow (u64, little-endian). The answer is the count, u64.
 *
 * @module
 */

import type { Duplex } from "node:stream";

const CHUNK = 65_536;
const HEAD = 9;
const SINK = 1;
const WELCOME = Buffer.from([1]);

/** Serve one stream, until it ends. */
export function serveStream(stream: Duplex): void {
  stream.write(WELCOME);
  let expected: number | undefined;
  let head: Buffer = Buffer.alloc(0);
  let total = 0;
  stream.on("data", (data: Buffer) => {
    if (expected === undefined) {
      head = Buffer.concat([head, data]);
      if (head.length < HEAD) return;
      expected = Number(head.readBigUInt64LE(1));
      total = head.length - HEAD;
    } else {
      total += data.length;
    }
    if (total < expected) return;
    const answer = Buffer.alloc(8);
    answer.writeBigUInt64LE(BigInt(total));
    stream.write(answer);
  });
  // A client that goes has what it wanted, or says what it lacks.
  stream.on("error", () => stream.destroy());
  stream.on("end", () => stream.end());
}

/** Wait for the server's first byte. */
export function welcomed(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once("error", reject);
    stream.once("close", () => reject(new Error("the server closed without a byte")));
    stream.once("data", (data: Buffer) => {
      stream.pause();
      if (data.length === 1) resolve();
      else reject(new Error(`the server began with ${data.length} bytes, expected 1`));
    });
  });
}

/** Send `bytes` on a stream that was welcomed, until the server has counted them. */
export async function sendBulk(stream: Duplex, bytes: number): Promise<void> {
  const answered = new Promise<Buffer>((resolve, reject) => {
    let answer: Buffer = Buffer.alloc(0);
    stream.on("data", (data: Buffer) => {
      answer = Buffer.concat([answer, data]);
      if (answer.length >= 8) resolve(answer);
    });
    stream.once("error", reject);
  });
  // welcomed() has paused it, and a listener alone does not undo that.
  stream.resume();
  const head = Buffer.alloc(HEAD, SINK);
  head.writeBigUInt64LE(BigInt(bytes), 1);
  stream.write(head);
  const chunk = Buffer.alloc(CHUNK, 1);
  let left = bytes;
  await new Promise<void>((resolve) => {
    const fill = (): void => {
      while (left > 0) {
        const part = left < CHUNK ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!stream.write(part)) return;
      }
      stream.off("drain", fill);
      resolve();
    };
    stream.on("drain", fill);
    fill();
  });
  const counted = (await answered).readBigUInt64LE();
  if (counted !== BigInt(bytes)) throw new Error(`the server counted ${counted} of ${bytes} bytes`);
}
