/**
 * A local UDP socket that many send to.
 *
 * @module
 */

import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { BoundLocal } from "./bind-local.ts";

export interface BoundUdp extends BoundLocal {
  /** @returns false: dropped. */
  send(packet: Uint8Array, to: { readonly address: string; readonly port: number }): boolean;
}

/** Bytes that may wait for the system to take them. */
const MAX_QUEUED = 1024 * 1024;

/** What the system is asked to keep of a burst, in bytes; it gives what it allows. */
export const UDP_SOCKET_BUFFER: number = 1024 * 1024;

/**
 * Listen at an address, and have `listener` get what comes. With port 0 the system picks one.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`).
 */
export async function bindUdp(
  host: string,
  port: number,
  listener: (packet: Uint8Array, from: RemoteInfo) => void,
): Promise<BoundUdp> {
  const socket = createSocket({
    type: isIPv6(host) ? "udp6" : "udp4",
    recvBufferSize: UDP_SOCKET_BUFFER,
    sendBufferSize: UDP_SOCKET_BUFFER,
  });
  try {
    socket.bind({ address: host, port });
    await once(socket, "listening");
  } catch (error) {
    socket.close();
    throw error;
  }
  // What one client does not take comes back as an error of the socket that all of them share.
  socket.on("error", () => {});
  socket.on("message", listener);
  const { address, port: bound } = socket.address();
  let closed: Promise<unknown> | undefined;
  return {
    address: { address, port: bound },
    send(packet, to) {
      if (closed !== undefined || socket.getSendQueueSize() > MAX_QUEUED) return false;
      // With a callback a failure is no event.
      socket.send(packet, to.port, to.address, () => {});
      return true;
    },
    async close() {
      if (closed === undefined) {
        closed = once(socket, "close");
        socket.close();
      }
      await closed;
    },
  };
}
