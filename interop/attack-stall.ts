/**
 * Attackers: 2,000 connections from 50 addresses, each of which stalls in one phase of its handshake.
 *
 *     attack-stall.ts '{"port":7433,"network":"127.0.1","rate":500}'
 *
 * What the node ends is begun again, `rate` of them a second. Over IPC it says "standing" once all have begun.
 *
 * QUIC's clients are real: between each and the node is a relay in here that has the address of the attack, lets
 * through what proves that address (Retry), and then only so many datagrams.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import net from "node:net";
import os from "node:os";
import process from "node:process";
import { bind } from "@alknet/quic/endpoint";
import { TlsClientConfig } from "@alknet/quic/tls";
import { captureHello } from "./captured.ts";

export interface StallSettings {
  readonly port: number;
  /** The first three parts of the addresses; the last is 1 to 50. */
  readonly network: string;
  /** Handshakes begun a second. */
  readonly rate: number;
}

const ADDRESSES = 50;
const CONNECTIONS = 2_000;

/** Milliseconds after which a QUIC handshake, whose end nobody tells, is begun anew. */
const RENEWED = 3_000;

const settings = JSON.parse(process.argv[2] ?? "{}") as StallSettings;

// Attackers have machines of their own: what they do shall cost the node, not its processor. Not the lowest
// priority either, at which they get nowhere on a machine that has much to do.
os.setPriority(5);

/** Begins one; `ended` is to be called when it is over. */
type Begin = (address: string, ended: () => void) => void;

const hello = await captureHello();
const quic = bind({ address: "127.0.0.1" });
const anyServer = new TlsClientConfig({
  alpn: ["alknet/ping"],
  verify: { dangerouslyAcceptAny: true },
});

/** In turn. */
const phases: readonly Begin[] = [
  overTcp(Buffer.alloc(0)),
  overTcp(hello.subarray(0, hello.length / 2)),
  overTcp(hello),
  // A ClientHello with a post-quantum share fills two.
  overQuic(1),
  overQuic(3),
];

const begun: (number | undefined)[] = [];
let next = 0;
const perTick = Math.max(1, Math.round(settings.rate / 50));
setInterval(() => {
  for (let i = 0; i < perTick; i++) {
    const slot = next++ % CONNECTIONS;
    if (next === CONNECTIONS) process.send?.("standing");
    if (begun[slot] !== undefined) continue;
    const address = `${settings.network}.${(slot % ADDRESSES) + 1}`;
    begun[slot] = performance.now();
    phases[Math.floor(slot / ADDRESSES) % phases.length]!(address, () => (begun[slot] = undefined));
  }
}, 20);
process.once("disconnect", () => process.exit());

function overTcp(bytes: Buffer): Begin {
  return (localAddress, ended) => {
    const socket = net.connect({ host: "127.0.0.1", port: settings.port, localAddress });
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.once("close", ended);
    socket.once("connect", () => socket.write(bytes));
    socket.resume();
  };
}

function overQuic(datagrams: number): Begin {
  return (address, ended) => {
    let left = datagrams;
    const relay = createSocket("udp4");
    const renew = new AbortController();
    relay.on("error", () => {});
    relay.on("message", (message, from) => {
      if (from.port === settings.port) {
        const RETRY = 0xf0;
        if ((message[0]! & 0xf0) !== RETRY) return;
        left = datagrams;
        relay.send(message, quic.address.port, "127.0.0.1");
      } else if (left-- > 0) {
        relay.send(message, settings.port, "127.0.0.1");
      }
    });
    relay.bind(0, address, () => {
      const { port } = relay.address();
      const { signal } = renew;
      quic.connect({ address, port, tls: anyServer, signal }).catch(() => {});
    });
    setTimeout(() => {
      relay.close();
      renew.abort();
      ended();
    }, RENEWED);
  };
}
