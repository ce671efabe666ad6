/**
 * TCP sockets that are read in large pieces, all into the same memory.
 *
 * Node reads 64 KiB at a time. Every such read makes the kernel send an ACK, and on loopback carry the next
 * segment from the sender within the same call: two fifths of a forwarder's time. Half a megabyte at a time
 * costs half of that.
 *
 * @module
 */

import { connect, type Socket, type TcpNetConnectOpts } from "node:net";
import type { Duplex } from "node:stream";
import { MAX_DATA } from "./wire/record.ts";

/** Most that one read brings, in bytes. With the headers of its records it fills TLS records of 16 KiB. */
export const MAX_READ: number = 8 * MAX_DATA;

/**
 * Takes what was read. The bytes are there during the call only.
 *
 * @returns false: no more until `resume()`.
 */
export type Take = (bytes: Buffer) => boolean;

const takers = new WeakMap<Duplex, { take: Take | undefined }>();

/** One for all: between the system's read and the return of the callback nothing else is read. */
let memory: Buffer | undefined;

/** `net.connect`. To who reads it as a stream, the socket is one like any other. */
export function connectLarge(options: TcpNetConnectOpts): Socket {
  memory ??= Buffer.allocUnsafeSlow(MAX_READ);
  const bytes = memory;
  const taker: { take: Take | undefined } = { take: undefined };
  const socket: Socket = connect({
    ...options,
    onread: {
      buffer: bytes,
      callback(length): boolean {
        const read = bytes.subarray(0, length);
        return taker.take === undefined ? socket.push(Buffer.from(read)) : taker.take(read);
      },
    },
  });
  takers.set(socket, taker);
  return socket;
}

/**
 * Have `take` get what is read from `socket` from now on; what was read before is still in the stream.
 *
 * @returns false: it is none of {@linkcode connectLarge}, read it as a stream.
 */
export function takeReads(socket: Duplex, take: Take): boolean {
  const taker = takers.get(socket);
  if (taker === undefined) return false;
  taker.take = take;
  return true;
}
