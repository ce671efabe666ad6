/**
 * A relay on loopback that keeps back what a client sends once the server has answered: a handshake that is
 * under way for as long as a test likes. For one connection.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import type { Target } from "@alknet/core/target";
import type { Transport } from "./attack.ts";
import { type Relay, serveRelay } from "./tcp-relay.ts";

export interface HeldHandshake extends AsyncDisposable {
  /** The same node, behind the relay. */
  readonly node: Target;
  /** The client has answered the server, and that is kept back. */
  readonly waiting: Promise<void>;
  /** Let through what was kept back, and all that comes. */
  release(): void;
}

/** @param node of the form `{ address, fingerprint }` */
export async function heldHandshake(transport: Transport, node: Target): Promise<HeldHandshake> {
  const { address, fingerprint } = node as { address: string; fingerprint: string };
  const to = Number(address.slice(address.lastIndexOf(":") + 1));
  const { promise: waiting, resolve: onwaiting } = Promise.withResolvers<void>();
  const kept: (() => void)[] = [];
  let open = false;
  const pass = (keep: boolean, send: () => void): void => {
    if (open || !keep) return send();
    kept.push(send);
    onwaiting();
  };
  const relay = transport === "quic" ? await overUdp(to, pass) : await overTcp(to, pass);
  return {
    node: { address: `127.0.0.1:${relay.port}`, fingerprint },
    waiting,
    release() {
      open = true;
      for (const send of kept.splice(0)) send();
    },
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  };
}

type Pass = (keep: boolean, send: () => void) => void;

async function overTcp(to: number, pass: Pass): Promise<Relay> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((near) => {
    const far = net.connect(to, "127.0.0.1");
    let answered = false;
    sockets.push(near, far);
    near.on("error", () => far.destroy()).on("close", () => far.destroy());
    far.on("error", () => near.destroy()).on("end", () => near.end());
    far.on("data", (bytes: Buffer) => {
      answered = true;
      near.write(bytes);
    });
    near.on("data", (bytes: Buffer) => pass(answered, () => far.write(bytes)));
  });
  return await serveRelay(server, sockets);
}

async function overUdp(to: number, pass: Pass): Promise<Relay> {
  const socket = createSocket("udp4");
  let client = 0;
  socket.on("message", (message, { port }) => {
    if (port === to) return socket.send(message, client, "127.0.0.1");
    client = port;
    pass(hasHandshake(message), () => socket.send(message, to, "127.0.0.1"));
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: socket.address().port,
    async [Symbol.asyncDispose]() {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    },
  };
}

/** Whether a datagram has a packet that is no Initial (RFC 9000 §17.2): the certificate goes in those. */
function hasHandshake(datagram: Buffer): boolean {
  let at = 0;
  while (at + 7 < datagram.length) {
    const first = datagram[at]!;
    // Padding behind the last packet, which is part of none.
    if (first === 0) return false;
    if ((first & 0x80) === 0 || (first & 0x30) !== 0) return true;
    let next = at + 5;
    next += 1 + datagram[next]!;
    next += 1 + datagram[next]!;
    const [token, afterToken] = varint(datagram, next);
    const [length, afterLength] = varint(datagram, afterToken + token);
    at = afterLength + length;
  }
  return false;
}

/** RFC 9000 §16; no length in a datagram needs more than four bytes. */
function varint(bytes: Buffer, at: number): [value: number, next: number] {
  const first = bytes[at]!;
  const size = 1 << (first >> 6);
  let value = first & 0x3f;
  for (let index = 1; index < size; index++) value = value * 256 + bytes[at + index]!;
  return [value, at + size];
}
