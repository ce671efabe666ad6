/**
 * What ssh2 lacks, added to it at run time; nothing else of ours knows its insides (version 1.17).
 *
 * - **Key exchange** by {@linkcode ML_KEM_EXCHANGE}. ssh2 negotiates under the name of X25519, and the exchange that
 *   it makes is given other arithmetic, and the peer's true KEXINIT to hash.
 * - **`server-sig-algs`** (RFC 8308 §3.1) without SHA-1 and DSA. That of ssh2 lacks a comma too.
 * - **Flow control.** Receive windows that grow (`receive-window.ts`), and are enforced; writes that wait for the
 *   window *and* the transport (ssh2 buffers without end for a peer that grants windows and reads nothing), and
 *   of which stdout and stderr may wait at once; no reading while answers pile up.
 * - **A limit on channels**, and requests of a session after its stdin has ended.
 * - **Keys are changed** after a gibibyte or an hour (RFC 4253 §9).
 *
 * @module
 */

import { createRequire } from "node:module";
import process from "node:process";
import type { Duplex, Writable } from "node:stream";
import type { Clock } from "@alknet/core/clock";
import type { Connection as Client, ServerChannel } from "ssh2";
import { answerMlKem, ML_KEM_EXCHANGE } from "./ml-kem-exchange.ts";
import { type ReceiveWindow, receiveWindows } from "./receive-window.ts";

/** Signatures of users' keys that we verify, by preference. */
export const USER_SIGNATURES: readonly string[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
];

export interface ExtensionOptions {
  readonly clock: Clock;
  /** Channels that may be open at once. */
  readonly channels: number;
  /** Bytes in both directions after which the keys are changed. @default 2^30 */
  readonly rekeyAfter?: number | undefined;
}

/** Time after which the keys are changed, in milliseconds. */
const REKEY_TIME = 3_600_000;
/** Most that waits in the transport before channels hold back, in bytes. */
const SEND_QUEUE = 256 * 1024;
/** With so much of answers waiting, in bytes, nothing more is read. */
const ANSWER_QUEUE = 2 ** 20;
/** Messages that may wait for an exchange of keys to end. */
const REKEY_QUEUE = 4_096;
/** What every peer takes in one packet (RFC 4253 §6.1), in bytes. */
const MAX_PACKET = 32_768;
/** A peer that takes less in a packet makes more work than it is worth, in bytes. */
const MIN_PACKET = 256;
const MAX_UINT32 = 2 ** 32 - 1;

const MESSAGE = { EXT_INFO: 7, KEXINIT: 20 } as const;
const DISCONNECT_PROTOCOL_ERROR = 2;
const OPEN_RESOURCE_SHORTAGE = 4;
const STDERR = 1;

interface Exchange {
  remoteExtInfoEnabled: boolean;
  negotiated: { kex: string };
  _remoteKexinit: Buffer;
  convertPublicKey(key: Buffer): Buffer;
  computeSecret(key: Buffer): Buffer | Error;
  getPublicKey(): Buffer;
}

interface Protocol {
  _kex: Exchange | undefined;
  /** Set while keys are exchanged. */
  _kexinit: Buffer | undefined;
  _queue: Buffer[] | undefined;
  readonly _offer: { readonly lists: { readonly kex: { readonly array: readonly string[] } } };
  readonly _handlers: Record<string, ((...args: never[]) => void) | undefined>;
  readonly _decipher: { _onPayload: (payload: Buffer) => void };
  readonly _cipher: { encrypt(packet: Buffer): void };
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number;
      alloc(length: number): Buffer;
      finalize(packet: Buffer): Buffer;
    };
  };
  _onWrite: (data: Buffer) => void;
  ping(): void;
  disconnect(reason: number): void;
  channelData(channel: number, data: Buffer): void;
  channelExtData(channel: number, data: Buffer, type: number): void;
  channelWindowAdjust(channel: number, amount: number): void;
  channelOpenConfirm(remote: number, local: number, window: number, packet: number): void;
  channelOpenFail(remote: number, reason: number, text?: string): void;
}

interface Channel extends Duplex {
  readonly incoming: { readonly id: number; state: string };
  readonly outgoing: Outgoing;
  readonly stderr: Writable;
}

interface Outgoing {
  readonly id: number;
  readonly packetSize: number;
  window: number;
  state: string;
}

interface OpenSession {
  _ending: boolean;
  readonly _chanInfo: { readonly outgoing: Outgoing };
  readonly _channel: Channel | undefined;
}

interface ClientInsides {
  readonly _protocol: Protocol;
  readonly _sock: Duplex;
  readonly _chanMgr: {
    _count: number;
    add(value?: unknown): number;
    get(id: number): OpenSession | Channel | boolean | undefined;
    remove(id: number): void;
  };
}

type Handle = (protocol: Protocol, payload: Buffer) => void;

const require = createRequire(import.meta.url);
const handlers = require("ssh2/lib/protocol/handlers.js") as Handle[];
const { SUPPORTED_KEX } = require("ssh2/lib/protocol/constants.js") as { SUPPORTED_KEX: string[] };
const handleKexInit = handlers[MESSAGE.KEXINIT] as Handle;

SUPPORTED_KEX.push(ML_KEM_EXCHANGE);
handlers[MESSAGE.KEXINIT] = (protocol, payload) =>
  negotiate(protocol, payload, (seen) => handleKexInit(protocol, seen));

/** The transport under a client. */
export function transportOf(client: Client): Duplex {
  return insidesOf(client)._sock;
}

/**
 * Have what is written in one turn leave together, after it: ssh2 writes in the middle of making a packet, and must not
 * be given the answer to that there, as a transport in memory would.
 */
export function batchWrites(transport: Duplex): void {
  const write = transport.write.bind(transport) as (...args: unknown[]) => boolean;
  transport.write = (...args: unknown[]) => {
    if (transport.writableCorked === 0) {
      transport.cork();
      process.nextTick(() => transport.uncork());
    }
    return write(...args);
  };
}

function insidesOf(client: Client): ClientInsides {
  return client as unknown as ClientInsides;
}

/** Have `handle` see an offer of X25519 where we agree on ML-KEM, then change the exchange that came of it. */
function negotiate(protocol: Protocol, payload: Buffer, handle: (seen: Buffer) => void): void {
  const before = protocol._kex;
  const isHybrid = agreedExchange(protocol, payload) === ML_KEM_EXCHANGE;
  handle(isHybrid ? withName(payload, ML_KEM_EXCHANGE, "curve25519-sha256") : payload);
  const exchange = protocol._kex;
  // It failed, and the connection with it.
  if (exchange === undefined || exchange === before) return;
  if (!isHybrid) return;
  exchange._remoteKexinit = payload;
  exchange.negotiated.kex = ML_KEM_EXCHANGE;
  exchange.convertPublicKey = (key) => key;
  exchange.computeSecret = (init) => {
    try {
      const { reply, secret } = answerMlKem(init);
      exchange.getPublicKey = () => reply;
      return secret;
    } catch (error) {
      // As ssh2 wants it: the connection ends with KEY_EXCHANGE_FAILED.
      return error as Error;
    }
  };
}

/** RFC 4253 §7.1: the first of the client's names that the server has. A list that is malformed agrees on none. */
function agreedExchange(protocol: Protocol, payload: Buffer): string | undefined {
  const ours = protocol._offer.lists.kex.array;
  return exchangeNames(payload)?.find((name) => ours.includes(name));
}

/** Message number, cookie of 16 bytes, then the list of key exchanges behind its length. */
function exchangeNames(payload: Buffer): string[] | undefined {
  if (payload.length < 21) return undefined;
  const end = 21 + payload.readUInt32BE(17);
  return end > payload.length ? undefined : payload.toString("latin1", 21, end).split(",");
}

function withName(payload: Buffer, name: string, other: string): Buffer {
  const names = exchangeNames(payload) ?? [];
  const end = 21 + payload.readUInt32BE(17);
  const list = Buffer.from(names.map((each) => (each === name ? other : each)).join(","));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(list.length);
  return Buffer.concat([payload.subarray(0, 17), length, list, payload.subarray(end)]);
}

/**
 * Extend a connection that a server has just accepted: in its `connection` event, before keys are exchanged.
 *
 * @returns how to take a channel into use: its windows and writes are ours then.
 */
export function extendClient(client: Client, options: ExtensionOptions): ExtendedClient {
  const insides = insidesOf(client);
  const { _protocol: protocol, _sock: transport, _chanMgr: channels } = insides;
  const { clock, rekeyAfter = 2 ** 30 } = options;
  const windows = receiveWindows();
  const windowOf = new Map<number, ReceiveWindow>();
  /** Writes that wait, by channel: one of stdout and one of stderr at most. */
  const waiting = new Map<Channel, Write[]>();
  let roundTrip: number | undefined;
  let moved = 0;
  let rekeyed = clock.now();

  function fail(): void {
    protocol.disconnect(DISCONNECT_PROTOCOL_ERROR);
    transport.end();
  }

  // Keys.
  const { _decipher: first } = protocol;
  const onPayload = first._onPayload;
  let wantsExtensions = false;
  first._onPayload = (payload) => {
    if (payload[0] !== MESSAGE.KEXINIT) return onPayload(payload);
    negotiate(protocol, payload, onPayload);
    wantsExtensions = protocol._kex?.remoteExtInfoEnabled ?? false;
    if (protocol._kex !== undefined) protocol._kex.remoteExtInfoEnabled = false;
  };
  client.once("handshake", () => {
    if (wantsExtensions) sendExtensions(protocol);
  });
  client.on("handshake", () => {
    moved = 0;
    rekeyed = clock.now();
    resume();
  });
  function count(length: number): void {
    moved += length;
    if (moved < rekeyAfter && clock.now() - rekeyed < REKEY_TIME) return;
    // An exchange that is under way is not begun again.
    moved = 0;
    rekeyed = clock.now();
    // Not in the middle of a packet, which is where this is called from.
    if (protocol._kex !== undefined) queueMicrotask(() => client.rekey());
  }
  const write = protocol._onWrite;
  protocol._onWrite = (data) => {
    write(data);
    count(data.length);
  };
  transport.on("data", (data: Buffer) => {
    count(data.length);
    if ((protocol._queue?.length ?? 0) > REKEY_QUEUE) fail();
    if (transport.writableLength > ANSWER_QUEUE) transport.pause();
  });
  transport.on("drain", () => {
    transport.resume();
    resume();
  });

  // The time of a round trip, once: replies come in the order of the requests.
  client.once("ready", () => {
    const sent = clock.now();
    protocol.ping();
    const answered = (): void => void (roundTrip ??= clock.now() - sent);
    protocol._handlers["REQUEST_SUCCESS"] = answered;
    protocol._handlers["REQUEST_FAILURE"] = answered;
  });

  // Channels.
  const add = channels.add.bind(channels);
  const remove = channels.remove.bind(channels);
  channels.add = (value) => (channels._count < options.channels ? add(value) : -1);
  channels.remove = (id) => {
    windowOf.get(id)?.release();
    windowOf.delete(id);
    remove(id);
  };
  const open = protocol._handlers["CHANNEL_OPEN"] as (of: Protocol, asked: Opening) => void;
  handle("CHANNEL_OPEN", (asked: Opening) => {
    if (asked.packetSize >= MIN_PACKET) open(protocol, asked);
    else protocol.channelOpenFail(asked.sender, OPEN_RESOURCE_SHORTAGE, "packets are too small");
  });
  const channelOpenConfirm = protocol.channelOpenConfirm.bind(protocol);
  protocol.channelOpenConfirm = (remote, local, _window, packet) => {
    const window = windows.open(clock.now());
    windowOf.set(local, window);
    channelOpenConfirm(remote, local, window.size, packet);
  };
  const eof = protocol._handlers["CHANNEL_EOF"] as (of: Protocol, recipient: number) => void;
  handle("CHANNEL_EOF", (recipient: number) => {
    eof(protocol, recipient);
    // Signals and changes of the window still come.
    const it = channels.get(recipient);
    if (typeof it === "object" && "_chanInfo" in it) it._ending = false;
  });
  handle("CHANNEL_DATA", (recipient: number, data: Buffer) => {
    const window = windowOf.get(recipient);
    if (window === undefined) return;
    const it = channels.get(recipient);
    const channel = typeof it !== "object" ? undefined : "_chanInfo" in it ? it._channel : it;
    const mayCome = channel === undefined || channel.incoming.state === "open";
    if (!mayCome || !window.received(data.length)) return fail();
    // Ahead of a program that was refused: there is nobody to read it, and it is not granted again.
    if (channel === undefined) return;
    channel.push(data);
    grant(channel);
  });
  handle("CHANNEL_WINDOW_ADJUST", (recipient: number, amount: number) => {
    const it = channels.get(recipient);
    if (typeof it !== "object") return;
    const { outgoing } = "_chanInfo" in it ? it._chanInfo : it;
    outgoing.window += amount;
    if (outgoing.window > MAX_UINT32) return fail();
    const channel = "_chanInfo" in it ? it._channel : it;
    if (channel !== undefined) resumeChannel(channel);
  });

  function handle(name: string, handler: (...args: never[]) => void): void {
    protocol._handlers[name] = (_protocol: never, ...args: never[]) => handler(...args);
  }

  function grant(channel: Channel): void {
    if (channel.incoming.state !== "open") return;
    const window = windowOf.get(channel.incoming.id);
    const amount = window?.grant(channel.readableLength, clock.now(), roundTrip) ?? 0;
    if (amount > 0) protocol.channelWindowAdjust(channel.outgoing.id, amount);
  }

  function isCongested(): boolean {
    const full = transport.writableNeedDrain && transport.writableLength >= SEND_QUEUE;
    return full || protocol._kexinit !== undefined;
  }

  function send(channel: Channel, data: Buffer, isError: boolean, done: () => void): void {
    sendOrWait(channel, { data, isError, done });
  }

  function sendOrWait(channel: Channel, it: Write): void {
    if (pump(channel, it)) return;
    const others = waiting.get(channel);
    if (others === undefined) waiting.set(channel, [it]);
    else others.push(it);
  }

  /** Send what may be sent. @returns whether that was all. */
  function pump({ outgoing }: Channel, it: Write): boolean {
    // Who has closed its end is sent no more; the rest is read from the program, and goes nowhere.
    while (it.data.length > 0 && outgoing.state === "open") {
      if (outgoing.window === 0 || isCongested()) return false;
      const length = Math.min(it.data.length, outgoing.window, outgoing.packetSize, MAX_PACKET);
      const part = it.data.subarray(0, length);
      if (it.isError) protocol.channelExtData(outgoing.id, part, STDERR);
      else protocol.channelData(outgoing.id, part);
      outgoing.window -= length;
      it.data = it.data.subarray(length);
    }
    it.done();
    return true;
  }

  function resumeChannel(channel: Channel): void {
    const writes = waiting.get(channel);
    if (writes === undefined) return;
    // Behind the others, so that they take turns; what is written next waits anew.
    waiting.delete(channel);
    for (const it of writes) sendOrWait(channel, it);
  }

  function resume(): void {
    for (const channel of [...waiting.keys()]) resumeChannel(channel);
  }

  return {
    adopt(given) {
      const channel = given as unknown as Channel;
      const writeAs =
        (isError: boolean): Writable["_write"] =>
        (data: Buffer, _encoding, done) =>
          send(channel, data, isError, done);
      channel._write = writeAs(false);
      channel.stderr._write = writeAs(true);
      const read = channel.read.bind(channel);
      channel.read = (size) => {
        const data: unknown = read(size);
        if (data !== null) grant(channel);
        return data;
      };
      // An error of a channel is its end, which is heard of by itself.
      channel.on("error", () => {});
      channel.stderr.on("error", () => {});
      channel.once("close", () => resumeChannel(channel));
      return given;
    },
  };
}

export interface ExtendedClient {
  /** Take a channel into use: its windows and writes are ours from then on. */
  adopt(channel: ServerChannel): ServerChannel;
}

interface Write {
  data: Buffer;
  readonly isError: boolean;
  readonly done: () => void;
}

interface Opening {
  readonly sender: number;
  readonly packetSize: number;
}

/** RFC 8308 §2.3: the first message under the new keys. */
function sendExtensions(protocol: Protocol): void {
  const name = "server-sig-algs";
  const value = USER_SIGNATURES.join(",");
  const { write } = protocol._packetRW;
  let at = write.allocStart;
  const packet = write.alloc(1 + 4 + 4 + name.length + 4 + value.length);
  at = packet.writeUInt8(MESSAGE.EXT_INFO, at);
  at = packet.writeUInt32BE(1, at);
  for (const text of [name, value]) {
    at = packet.writeUInt32BE(text.length, at);
    at += packet.write(text, at, "latin1");
  }
  protocol._cipher.encrypt(write.finalize(packet));
}
