/**
 * A server on loopback that passes connections on, as relays between a client and a node do.
 *
 * @module
 */

import { once } from "node:events";
import type net from "node:net";

/** A relay in use; disposing it cuts what goes through it. */
export interface Relay extends AsyncDisposable {
  readonly port: number;
}

/** @param sockets those of both sides, as they come: cut at the end. */
export async function serveRelay(
  server: net.Server,
  sockets: readonly net.Socket[],
): Promise<Relay> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}
