/**
 * Exchanges of keys: ML-KEM, `server-sig-algs`, and when keys are changed.
 *
 * ssh2 negotiates {@linkcode ML_KEM_EXCHANGE} under the name of X25519, and the exchange that it makes is given other
 * arithmetic, and the peer's true KEXINIT to hash.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import { answerMlKem, ML_KEM_EXCHANGE, offerMlKem } from "../ml-kem-exchange.ts";
import { replaceCiphers } from "./ciphers.ts";
import { TOKEN_KEYS } from "../security-token.ts";
import {
  type Exchange,
  fail,
  MESSAGE,
  messageHandlers,
  type Protocol,
  supportedExchanges,
} from "./insides.ts";

/** Signatures of users' keys that we verify, by preference. */
export const USER_SIGNATURES: readonly string[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
  ...TOKEN_KEYS,
];

/** Time after which the keys are changed, in milliseconds. */
const REKEY_TIME = 3_600_000;
/** How long a change of keys may take, in milliseconds. */
const EXCHANGE_TIME = 30_000;
/** Messages that may wait for an exchange of keys to end. */
const REKEY_QUEUE = 4_096;
/** Fewer bytes than this between two exchanges make a change that nobody needs. */
const WORTH_REKEY = 64 * 1024;
/** Such changes that a peer has, one more each second. */
const IDLE_REKEYS = 16;

/** The exchange that ssh2 is told of instead. */
const PLAIN_EXCHANGE = "curve25519-sha256";

const kexInit = messageHandlers[MESSAGE.KEXINIT] as (of: Protocol, payload: Buffer) => void;

supportedExchanges.push(ML_KEM_EXCHANGE);
/**
 * Within a *change* of keys other messages are taken as ever: RFC 4253 §7.1 lets IGNORE and the like come, and asyncssh sends
 * these with each piece of data, and that one piece too late. ssh2 does as strict key exchange asks of the first alone
 * (OpenSSH's PROTOCOL §1.9).
 */
messageHandlers[MESSAGE.KEXINIT] = (protocol, payload) => {
  const { _decipher: decipher } = protocol;
  const takeOther = decipher._onPayload;
  negotiate(protocol, payload, (seen) => kexInit(protocol, seen));
  if (protocol._destruct === undefined) return;
  const takeKeys = decipher._onPayload;
  decipher._onPayload = (next) => (isOfExchange(next) ? takeKeys(next) : takeOther(next));
};

/** Messages of key exchange have the numbers 20 to 49 (RFC 4250 §4.1.1). */
function isOfExchange([number = 0]: Buffer): boolean {
  return number >= MESSAGE.KEXINIT && number < 50;
}

/** Have `handle` see X25519 where we agree on ML-KEM, and change the exchange that comes of it. */
function negotiate(protocol: Protocol, payload: Buffer, handle: (seen: Buffer) => void): void {
  agree(protocol, payload, handle);
  // ssh2 takes every guess for a wrong one.
  protocol._skipNextInboundPacket = isGuessed(payload) && !isGuessRight(protocol, payload);
}

function agree(protocol: Protocol, payload: Buffer, handle: (seen: Buffer) => void): void {
  if (agreedExchange(protocol, payload) !== ML_KEM_EXCHANGE) return handle(payload);
  let exchange = protocol._kex;
  // A client sends its key as soon as the exchange is there, so that it is changed on its way in.
  Object.defineProperty(protocol, "_kex", {
    configurable: true,
    enumerable: true,
    get: () => exchange,
    set: (made: Exchange) => {
      makeHybrid(made, protocol._server, payload);
      exchange = made;
    },
  });
  try {
    handle(withName(payload, ML_KEM_EXCHANGE, PLAIN_EXCHANGE));
  } finally {
    const plain = { value: exchange, writable: true, configurable: true, enumerable: true };
    Object.defineProperty(protocol, "_kex", plain);
  }
}

function makeHybrid(exchange: Exchange, isServer: boolean, payload: Buffer): void {
  exchange._remoteKexinit = payload;
  exchange.negotiated.kex = ML_KEM_EXCHANGE;
  exchange.convertPublicKey = (key) => key;
  if (isServer) {
    exchange.computeSecret = (init) =>
      orError(() => {
        const { reply, secret } = answerMlKem(init);
        exchange.getPublicKey = () => reply;
        return secret;
      });
  } else {
    const offer = offerMlKem();
    exchange.getPublicKey = () => offer.init;
    exchange.computeSecret = (reply) => orError(() => offer.accept(reply));
  }
}

/** As ssh2 wants it: the connection ends with KEY_EXCHANGE_FAILED. */
function orError(compute: () => Buffer): Buffer | Error {
  try {
    return compute();
  } catch (error) {
    return error as Error;
  }
}

/** RFC 4253 §7.1: the first of the client's names that the server has. A list that is malformed agrees on none. */
function agreedExchange(protocol: Protocol, payload: Buffer): string | undefined {
  const ours = protocol._offer.lists.kex.array;
  const theirs = exchangeNames(payload) ?? [];
  const [client, server] = protocol._server ? [theirs, ours] : [ours, theirs];
  return client.find((name) => server.includes(name));
}

/** Whether the peer's key comes behind its KEXINIT, without waiting for ours: a flag before the last 4 bytes. */
function isGuessed(payload: Buffer): boolean {
  return payload.at(-5) === 1;
}

/** RFC 4253 §7: a guess is right where both sides like the same exchange best, and the same key of the host. */
export function isGuessRight(protocol: Protocol, payload: Buffer): boolean {
  const { kex, serverHostKey } = protocol._offer.lists;
  const hostKeys = namesAt(payload, endOfNames(payload, LISTS));
  return exchangeNames(payload)?.[0] === kex.array[0] && hostKeys?.[0] === serverHostKey.array[0];
}

/** Of KEXINIT: message number, a cookie of 16 bytes, then lists of names behind their lengths. */
const LISTS = 17;

function exchangeNames(payload: Buffer): string[] | undefined {
  return namesAt(payload, LISTS);
}

function namesAt(payload: Buffer, at: number): string[] | undefined {
  if (at + 4 > payload.length) return undefined;
  const end = endOfNames(payload, at);
  return end > payload.length ? undefined : payload.toString("latin1", at + 4, end).split(",");
}

function endOfNames(payload: Buffer, at: number): number {
  return at + 4 > payload.length ? payload.length : at + 4 + payload.readUInt32BE(at);
}

function withName(payload: Buffer, name: string, other: string): Buffer {
  const names = exchangeNames(payload) ?? [];
  const end = 21 + payload.readUInt32BE(17);
  const list = Buffer.from(names.map((each) => (each === name ? other : each)).join(","));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(list.length);
  return Buffer.concat([payload.subarray(0, 17), length, list, payload.subarray(end)]);
}

export interface KeyOptions {
  readonly clock: Clock;
  /** Bytes in both directions after which the keys are changed. */
  readonly rekeyAfter: number;
  /** Called at the end of each exchange. */
  readonly onexchanged: () => void;
}

/** Follows the exchanges of one connection. */
export interface Keys {
  /** Bytes have been sent, or have come. */
  count(length: number): void;
  /** Look after what is under way; called when a piece that came has been read. */
  watch(): void;
  /** The connection is over. */
  release(): void;
}

/** Extend a connection whose first KEXINIT has not come yet. */
export function extendKeys(protocol: Protocol, options: KeyOptions): Keys {
  const { clock, rekeyAfter, onexchanged } = options;
  let moved = 0;
  let exchanged = clock.now();
  let exchanges = 0;
  let idle = 0;
  let late: (() => void) | undefined;
  let wantsExtensions = false;

  if (protocol._decipher === undefined) {
    const onHeader = protocol._onHeader;
    protocol._onHeader = (header) => {
      followFirst();
      onHeader(header);
    };
  } else {
    followFirst();
  }

  /** The first KEXINIT does not come by way of the handlers. */
  function followFirst(): void {
    const { _decipher: first } = protocol;
    const onPayload = first._onPayload;
    first._onPayload = (payload) => {
      if (payload[0] !== MESSAGE.KEXINIT) return onPayload(payload);
      let result: unknown;
      negotiate(protocol, payload, (seen) => (result = onPayload(seen)));
      if (protocol._kex === undefined || !protocol._server) return result;
      // That of ssh2 lacks a comma, and names SHA-1 and DSA.
      wantsExtensions = protocol._kex.remoteExtInfoEnabled;
      protocol._kex.remoteExtInfoEnabled = false;
      return result;
    };
  }

  const complete = protocol._onHandshakeComplete;
  protocol._onHandshakeComplete = (negotiated) => {
    late?.();
    late = undefined;
    const now = clock.now();
    idle = Math.max(0, idle - (now - exchanged) / 1_000);
    if (exchanges++ > 0 && moved < WORTH_REKEY) idle++;
    moved = 0;
    exchanged = now;
    replaceCiphers(protocol);
    complete(negotiated);
    if (exchanges === 1 && wantsExtensions) sendExtensions(protocol);
    if (idle > IDLE_REKEYS) return fail(protocol, "keys are changed again and again");
    onexchanged();
  };

  const rekey = protocol.rekey.bind(protocol);
  protocol.rekey = () => {
    rekey();
    watch();
  };

  function watch(): void {
    if (protocol._kexinit === undefined || exchanges === 0) return;
    late ??= deadlines(EXCHANGE_TIME, clock).add(() => fail(protocol, "keys were not exchanged"));
    if ((protocol._queue?.length ?? 0) > REKEY_QUEUE) fail(protocol, "too much waits for new keys");
  }

  return {
    watch,
    count(length) {
      moved += length;
      if (moved < rekeyAfter && clock.now() - exchanged < REKEY_TIME) return;
      if (protocol._kex === undefined || protocol._kexinit !== undefined) return;
      // Not in the middle of a packet, which is where this is called from.
      queueMicrotask(() => {
        if (protocol._destruct !== undefined) protocol.rekey();
      });
    },
    release() {
      late?.();
    },
  };
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
