/**
 * A flood: datagrams of random bytes, as fast as the socket takes them.
 *
 *     attack-flood.ts '{"port":7433,"seconds":10}'
 *
 * Says over IPC {@linkcode Flooded} when its time is over, and ends.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import os from "node:os";
import process from "node:process";
import { boundSocket } from "./captured.ts";

export interface FloodSettings {
  readonly port: number;
  readonly seconds: number;
}

export interface Flooded {
  readonly datagrams: number;
  readonly bytes: number;
  /** Bytes that came back. */
  readonly received: number;
}

/** As many addresses. */
const SOCKETS = 4;
/** Made before, and sent again and again: to make random bytes takes longer than to send them. */
const KINDS = 1_024;
const LONGEST = 1_452;

const { port, seconds } = JSON.parse(process.argv[2] ?? "{}") as FloodSettings;
os.setPriority(5);

/** One in two is random from its first bit; others begin as a packet of QUIC does (RFC 8999 §5). */
function datagram(index: number): Buffer {
  const bytes = randomBytes(1 + (randomBytes(2).readUInt16BE() % LONGEST));
  if (index % 4 === 0) return bytes;
  if (index % 4 === 1) {
    bytes[0]! &= 0x7f;
    bytes[0]! |= 0x40;
    return bytes;
  }
  if (index % 4 === 2) return bytes;
  // An Initial of version 1, long enough to be taken for one.
  const initial = randomBytes(1_200);
  Buffer.from([0xc3, 0, 0, 0, 1, 8]).copy(initial);
  return initial;
}

const datagrams = Array.from({ length: KINDS }, (_, index) => datagram(index));
const end = performance.now() + seconds * 1_000;
let sent = 0;
let bytes = 0;
let received = 0;

async function flood(address: string): Promise<void> {
  const socket = await boundSocket(address);
  socket.on("message", ({ length }) => (received += length));
  socket.on("error", () => {});
  await new Promise<void>((resolve) => {
    let next = randomBytes(2).readUInt16BE();
    const send = (): void => {
      if (performance.now() >= end) return resolve();
      const data = datagrams[next++ % KINDS]!;
      socket.send(data, port, "127.0.0.1", () => {
        sent++;
        bytes += data.length;
        send();
      });
    };
    // Some at once, so that the next does not wait for a turn of the loop.
    for (let i = 0; i < 16; i++) send();
  });
  socket.close();
}

await Promise.all(Array.from({ length: SOCKETS }, (_, i) => flood(`127.0.5.${i + 1}`)));
process.send?.({ datagrams: sent, bytes, received } satisfies Flooded);
process.disconnect?.();
