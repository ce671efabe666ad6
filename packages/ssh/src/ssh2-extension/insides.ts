/**
 * The insides of ssh2 1.17 that `ssh2-extension*.ts` reach into: their shapes, and those of its parts that it does
 * not export.
 *
 * @module
 */

import { createRequire } from "node:module";
import type { Duplex, Readable, Writable } from "node:stream";
import type { Client, Connection, ServerChannel } from "ssh2";

/** Message numbers (RFC 4250 §4.1.2). */
export const MESSAGE = { EXT_INFO: 7, KEXINIT: 20 } as const;

/** One exchange of keys. */
export interface Exchange {
  remoteExtInfoEnabled: boolean;
  negotiated: { kex: string };
  _remoteKexinit: Buffer;
  convertPublicKey(key: Buffer): Buffer;
  computeSecret(key: Buffer): Buffer | Error;
  getPublicKey(): Buffer;
}

export interface Protocol {
  readonly _server: boolean;
  _kex: Exchange | undefined;
  /** Set while keys are exchanged. */
  _kexinit: Buffer | undefined;
  /** Messages that wait for the end of an exchange. */
  _queue: Buffer[] | undefined;
  /** Have the next packet thrown away. */
  _skipNextInboundPacket: boolean;
  readonly _offer: { readonly lists: Readonly<Record<"kex" | "serverHostKey", Names>> };
  readonly _handlers: Record<string, ((...args: never[]) => void) | undefined>;
  _decipher: Decipher;
  _cipher: Cipher;
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number;
      alloc(length: number): Buffer;
      finalize(packet: Buffer): Buffer;
    };
  };
  _onWrite: (data: Buffer) => void;
  /** Called when the peer's identification has come, and the first decipher is there. */
  _onHeader: (header: unknown) => void;
  /** Called when both directions have their new keys, before what has waited is sent. */
  _onHandshakeComplete: (negotiated: unknown) => void;
  /** `undefined` once the connection has failed. */
  readonly _destruct: (() => void) | undefined;
  /** Reads a piece of what has come. @throws {Error} if it makes no sense. */
  parse: (data: Buffer, from: number, to: number) => void;
  ping(): void;
  rekey: () => void;
  channelData(channel: number, data: Buffer): void;
  channelExtData(channel: number, data: Buffer, type: number): void;
  channelWindowAdjust(channel: number, amount: number): void;
  channelSuccess(channel: number): void;
  channelFailure(channel: number): void;
  channelOpenConfirm(remote: number, local: number, window: number, packet: number): void;
  channelOpenFail(remote: number, reason: number, text?: string): void;
  openssh_authAgent(local: number, window: number, packet: number): void;
}

interface Names {
  readonly array: readonly string[];
}

/** Of one direction, under one set of keys. Those with an underscore are what ssh2's own have, by kind. */
export interface Decipher {
  inSeqno: number;
  /** @returns where to go on in the bytes; `Infinity` ends the connection's reading, `false` is here. */
  _onPayload: (payload: Buffer) => unknown;
  /** @returns where another decipher is to go on, if not all was read. */
  decrypt(data: Buffer, from: number, to: number): number | undefined;
  free(): void;
  readonly _decKeyMain?: Buffer;
  readonly _decKeyPktLen?: Buffer;
  readonly _decipherSSLName?: string;
  readonly _decipherKey?: Buffer;
  readonly _decipherIV?: Buffer;
  /** Bytes of a packet's length that have come. */
  readonly _lenPos?: number;
  readonly _lenBytes?: number;
}

export interface Cipher {
  outSeqno: number;
  /** @returns a packet but for its payload, which begins at 5. */
  allocPacket(length: number): Buffer;
  encrypt(packet: Buffer): void;
  free(): void;
  readonly _encKeyMain?: Buffer;
  readonly _encKeyPktLen?: Buffer;
  readonly _encSSLName?: string;
  readonly _encKey?: Buffer;
  readonly _encIV?: Buffer;
}

/** A channel, at the server's end or at the client's. */
export interface Channel extends Duplex {
  readonly server: boolean;
  readonly incoming: { readonly id: number; state: string };
  readonly outgoing: Outgoing;
  /** The server writes it, the client reads it. */
  readonly stderr: Writable | Readable;
}

export interface Outgoing {
  readonly id: number;
  readonly packetSize: number;
  window: number;
  state: string;
}

/** A session at the server's end. Its channel comes with its program. */
export interface OpenSession {
  _ending: boolean;
  readonly _chanInfo: { readonly outgoing: Outgoing };
  readonly _channel: Channel | undefined;
}

/** What a channel's number stands for: `true` is reserved, a function waits for the peer's answer. */
export type Numbered = OpenSession | Channel | Opened | true | undefined;

/** Hears how the peer has answered to a channel that was opened from here. */
export interface Opened {
  (error: Error | undefined, channel?: ServerChannel): void;
  type?: string;
}

export interface Insides {
  once(event: "ready", listener: () => void): unknown;
  readonly _protocol: Protocol;
  readonly _sock: Duplex;
  /** Answers to global requests that are awaited, in order; the client's alone. */
  readonly _callbacks?: (() => void)[];
  readonly _chanMgr: {
    _count: number;
    add(value?: unknown): number;
    update(id: number, value: unknown): void;
    get(id: number): Numbered;
    remove(id: number): void;
  };
}

export function insidesOf(connection: Client | Connection): Insides {
  return connection as unknown as Insides;
}

export function isChannel(it: Numbered): it is Channel {
  return typeof it === "object" && "incoming" in it;
}

export function isSession(it: Numbered): it is OpenSession {
  return typeof it === "object" && "_chanInfo" in it;
}

type Handle = (protocol: Protocol, payload: Buffer) => void;

const require = createRequire(import.meta.url);

/** By message number, for all connections. */
export const messageHandlers = require("ssh2/lib/protocol/handlers.js") as Handle[];

const { SUPPORTED_KEX } = require("ssh2/lib/protocol/constants.js") as { SUPPORTED_KEX: string[] };
/** What `algorithms.kex` may name. */
export const supportedExchanges: string[] = SUPPORTED_KEX;

interface Utils {
  doFatalError(this: void, protocol: Protocol, reason: string): void;
  /** @param always during an exchange of keys, too; else it waits for its end. */
  sendPacket(this: void, protocol: Protocol, packet: Buffer, always?: boolean): void;
}

const utils = require("ssh2/lib/protocol/utils.js") as Utils;
export const sendPacket: Utils["sendPacket"] = utils.sendPacket;

/** End a connection whose peer has broken the protocol. What it has sent beyond that is not looked at. */
export function fail(protocol: Protocol, reason: string): void {
  if (protocol._destruct === undefined) return;
  // Behind the packet in hand there may be others in the same piece.
  protocol._decipher._onPayload = () => Number.POSITIVE_INFINITY;
  utils.doFatalError(protocol, reason);
}
