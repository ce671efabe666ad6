/**
 * A UDP relay between a client and a server on loopback, which sees, drops or delays what passes. Tests only.
 *
 * @module
 */

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { LOOPBACK } from "./test-identity.ts";

export type Way = "toServer" | "toClient";

export interface Relay extends AsyncDisposable {
  /** Where clients dial. */
  readonly port: number;
  /** False drops the datagram. Replace it at any time. */
  pass: (datagram: Buffer, way: Way) => boolean;
  /** From now on the server sees clients at new ports, as behind a router that has forgotten them. */
  rebind(): void;
}

/** Relay to the server on `serverPort`; every client has a socket of its own towards it. */
export async function relay(serverPort: number, pass: Relay["pass"] = () => true): Promise<Relay> {
  const front = createSocket("udp4");
  const backs = new Map<number, Socket>();
  front.bind(0, LOOPBACK);
  await once(front, "listening");
  const made: Relay = {
    port: front.address().port,
    pass,
    rebind() {
      for (const socket of backs.values()) socket.close();
      backs.clear();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [front, ...backs.values()]) socket.close();
    },
  };
  front.on("message", (datagram, from) => {
    if (!made.pass(datagram, "toServer")) return;
    let back = backs.get(from.port);
    if (back === undefined) {
      back = createSocket("udp4");
      backs.set(from.port, back);
      back.on("message", (answer) => {
        if (made.pass(answer, "toClient")) front.send(answer, from.port, from.address);
      });
    }
    back.send(datagram, serverPort, LOOPBACK);
  });
  return made;
}
