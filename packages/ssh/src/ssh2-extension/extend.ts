/**
 * What ssh2 lacks, added to it at run time, at the server's end and at the client's. Nothing outside this
 * folder knows its insides (version 1.17); `npm run layers` sees to that.
 *
 * - **Exchanges of keys** (`keys.ts`): ML-KEM, `server-sig-algs`, keys that are changed in time.
 * - **Flow control** (`channels.ts`): windows that grow and are enforced, writes that wait.
 * - **Malformed messages** are the end (`malformed.ts`).
 * - **Reading by turns** while somebody types, and not while answers pile up (`read-turns.ts`).
 * - **A limit on channels**, requests of a session after its stdin has ended.
 *
 * @module
 */

import { Socket } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import type { Clock } from "@alknet/core/clock";
import type { Algorithms, Client, Connection, ServerChannel } from "ssh2";
import { ML_KEM_EXCHANGE } from "../ml-kem-exchange.ts";
import { free, freeRead } from "../packet-cipher.ts";
import { extendChannels } from "./channels.ts";
import { isOurs } from "./ciphers.ts";
import { type Channel, type Insides, insidesOf } from "./insides.ts";
import { extendKeys } from "./keys.ts";
import { holdBehindLogin } from "./login.ts";
import "./malformed.ts";
import { readByTurns } from "./read-turns.ts";

export { USER_SIGNATURES } from "./keys.ts";

/** What both ends offer, by preference. */
export const ALGORITHMS: Readonly<Required<Omit<Algorithms, "serverHostKey">>> = Object.freeze({
  kex: [
    ML_KEM_EXCHANGE as "curve25519-sha256",
    ...(["curve25519-sha256", "curve25519-sha256@libssh.org"] as const),
    ...(["ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"] as const),
  ],
  cipher: [
    ...(["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"] as const),
    ...(["aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"] as const),
  ],
  hmac: [
    ...(["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"] as const),
    ...(["hmac-sha2-256", "hmac-sha2-512"] as const),
  ],
  compress: ["none"],
});

export interface ExtensionOptions {
  readonly clock: Clock;
  /** Channels that may be open at once. */
  readonly channels: number;
  /** As that of `ChannelOptions`. */
  readonly countChannel?: (() => (() => void) | undefined) | undefined;
  /** Bytes in both directions after which the keys are changed. @default 2^30 */
  readonly rekeyAfter?: number | undefined;
}

export interface ExtendedClient {
  /** Take a session's channel into use: its windows and writes are ours from then on. Other channels are already. */
  adopt<AnyChannel extends ServerChannel>(channel: AnyChannel): AnyChannel;
  /** Open a channel to the agent that the client has forwarded. Rejects if it refuses. */
  openAgent(): Promise<Duplex>;
  /** Somebody has a terminal on this connection, until this is disposed of: what is typed waits behind little. */
  typing(): Disposable;
}

/** Round trips that are measured: the first of a connection is of programs that have just begun. */
const ROUND_TRIPS = 4;

/** The transport under a client. */
export function transportOf(client: Connection): Duplex {
  return insidesOf(client)._sock;
}

/**
 * Have what is written in one turn leave together, after it: ssh2 writes in the middle of making a packet, and must not
 * be given the answer to that there, as a transport in memory would.
 */
export function batchWrites(transport: Duplex): void {
  const write = transport.write.bind(transport) as (...args: unknown[]) => boolean;
  // A socket is done with what the system has; others may still hand it on.
  const isSocket = transport instanceof Socket;
  transport.write = (...args: unknown[]) => {
    if (transport.writableCorked === 0) {
      transport.cork();
      process.nextTick(() => transport.uncork());
    }
    const [data] = args;
    if (!isSocket || args.length > 1 || !(data instanceof Uint8Array)) return write(...args);
    return write(data, () => free(data));
  };
}

/**
 * Extend a connection that a server has just accepted: in its `connection` event, before keys are exchanged. Its
 * transport is one of {@linkcode batchWrites}.
 */
export function extendSshServer(client: Connection, options: ExtensionOptions): ExtendedClient {
  const insides = insidesOf(client);
  const extended = extend(insides, options);
  holdBehindLogin(insides._protocol);
  return extended;
}

/**
 * Extend a client: at once after its `connect()`, in the same turn, which was given {@linkcode ALGORITHMS}. All its
 * channels are taken into use by themselves, those that the server opens too.
 */
export function extendSshClient(client: Client, options: ExtensionOptions): void {
  const insides = insidesOf(client);
  batchWrites(insides._sock);
  extend(insides, options);
}

function extend(insides: Insides, options: ExtensionOptions): ExtendedClient {
  const { _protocol: protocol, _sock: transport } = insides;
  const { clock, rekeyAfter = 2 ** 30 } = options;
  const channels = extendChannels(insides, options);
  const keys = extendKeys(protocol, { clock, rekeyAfter, onexchanged: () => channels.resume() });

  const write = protocol._onWrite;
  protocol._onWrite = (data) => {
    write(data);
    keys.count(data.length);
  };
  const isSocket = transport instanceof Socket;
  const hasRead = readByTurns(transport);
  const parse = protocol.parse.bind(protocol);
  protocol.parse = (data, from, to) => {
    const { _decipher: decipher } = protocol;
    parse(data, from, to);
    const isRead = isOurs(decipher) && protocol._decipher === decipher;
    if (isRead && isSocket && transport.listenerCount("data") === 1) freeRead(data);
    keys.count(to - from);
    keys.watch();
    hasRead(to - from);
  };
  transport.on("drain", () => channels.resume());
  transport.once("close", () => keys.release());
  insides.once("ready", () => measure(insides, clock, (time) => channels.setRoundTrip(time)));
  return {
    adopt(channel) {
      channels.adopt(channel as unknown as Channel);
      return channel;
    },
    openAgent: () => channels.openAgent(),
    typing: () => channels.typing(),
  };
}

/** Tell the shortest of some round trips, one after the other. */
function measure(insides: Insides, clock: Clock, tell: (time: number) => void): void {
  const { _protocol: protocol, _callbacks: callbacks } = insides;
  let left = ROUND_TRIPS;
  let shortest = Number.POSITIVE_INFINITY;
  let asked = 0;
  const ask = (): void => {
    asked = clock.now();
    callbacks?.push(answered);
    protocol.ping();
  };
  const answered = (): void => {
    if (left === 0) return;
    shortest = Math.min(shortest, clock.now() - asked);
    tell(shortest);
    if (--left > 0) ask();
  };
  // Replies come in the order of the requests; a server makes no others.
  if (callbacks === undefined) {
    protocol._handlers["REQUEST_SUCCESS"] = answered;
    protocol._handlers["REQUEST_FAILURE"] = answered;
  }
  ask();
}
