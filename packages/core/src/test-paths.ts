/**
 * For tests of this package: ways to an endpoint on loopback that hold back, lose or forget what goes over them.
 *
 * @module
 */

import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { freePort } from "./testing-port.ts";

export const LOOPBACK = "127.0.0.1";
/** Loopback too, where no other test listens: a port that is taken for UDP only is refused over TCP. */
export const ELSEWHERE = "127.77.31.5";

/** A UDP port that takes everything and answers nothing, and a TCP port of the same number that leads to `to`. */
export async function withoutUdp(
  to: number,
): Promise<
  AsyncDisposable & { port: number; datagrams: () => number; nextDatagram: () => Promise<void> }
> {
  const sockets = new Set<net.Socket>();
  const relay = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: to, host: LOOPBACK, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket.setNoDelay(true));
      socket.on("error", () => {});
      socket.once("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  const port = await freePort();
  relay.listen(port, LOOPBACK);
  await once(relay, "listening");
  const udp = dgram.createSocket("udp4");
  udp.bind(port, LOOPBACK);
  await once(udp, "listening");
  let datagrams = 0;
  udp.on("message", () => datagrams++);
  return {
    port,
    datagrams: () => datagrams,
    async nextDatagram() {
      await once(udp, "message");
    },
    async [Symbol.asyncDispose]() {
      udp.close();
      relay.close();
      for (const socket of sockets) socket.destroy();
      await once(relay, "close");
    },
  };
}

/** A UDP port that holds back what comes until the test lets it through to `to`; nothing listens on TCP. */
export async function udpOnly(
  to: number,
): Promise<AsyncDisposable & { port: number; held: () => number; letThrough: () => void }> {
  const near = dgram.createSocket("udp4");
  const far = dgram.createSocket("udp4");
  near.bind(0, ELSEWHERE);
  far.bind(0, LOOPBACK);
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  const held: Buffer[] = [];
  let open = false;
  let client = 0;
  near.on("message", (message, { port }) => {
    client = port;
    if (open) far.send(message, to, LOOPBACK);
    else held.push(message);
  });
  far.on("message", (message) => near.send(message, client, LOOPBACK));
  return {
    port: near.address().port,
    held: () => held.length,
    letThrough() {
      open = true;
      for (const message of held.splice(0)) far.send(message, to, LOOPBACK);
    },
    async [Symbol.asyncDispose]() {
      const closed = [once(near, "close"), once(far, "close")];
      near.close();
      far.close();
      await Promise.all(closed);
    },
  };
}

/**
 * A UDP relay to `to`. From `forget` on, packets of the connections it has seen are swallowed, as by a router
 * that has lost its table; those of new ones pass, unless `cut`.
 */
export async function forgetfulPath(to: number): Promise<
  AsyncDisposable & {
    readonly port: number;
    readonly swallowed: () => number;
    forget(): void;
    remember(): void;
    cut: boolean;
    /** Lets nothing through to the client; nothing from it. */
    deaf: boolean;
    mute: boolean;
    /** The first packet to the client comes along. */
    onanswer: () => void;
  }
> {
  const near = dgram.createSocket("udp4");
  const far = dgram.createSocket("udp4");
  near.bind(0, ELSEWHERE);
  far.bind(0, LOOPBACK);
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  const seen = new Set<string>();
  const forgotten = new Set<string>();
  let swallowed = 0;
  let client = 0;
  const passes = (message: Buffer): boolean => {
    if (path.cut) return false;
    // Handshakes have the long header (RFC 9000 §17.2); all others begin with the connection's ID.
    if ((message[0]! & 0x80) !== 0) return true;
    const id = message.toString("hex", 1, 5);
    seen.add(id);
    if (!forgotten.has(id)) return true;
    swallowed++;
    return false;
  };
  near.on("message", (message, { port }) => {
    client = port;
    if (!path.mute && passes(message)) far.send(message, to, LOOPBACK);
  });
  far.on("message", (message) => {
    path.onanswer();
    if (!path.deaf && passes(message)) near.send(message, client, LOOPBACK);
  });
  const path = {
    port: near.address().port,
    cut: false,
    deaf: false,
    mute: false,
    onanswer: () => {},
    swallowed: () => swallowed,
    forget() {
      for (const id of seen) forgotten.add(id);
    },
    remember: () => forgotten.clear(),
    async [Symbol.asyncDispose]() {
      const over = [once(near, "close"), once(far, "close")];
      near.close();
      far.close();
      await Promise.all(over);
    },
  };
  return path;
}
