/**
 * What a client of a local proxy wants, in whichever protocol: SOCKS 5, SOCKS 4 and 4a, HTTP CONNECT, told apart by
 * their first byte.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { ProxyGate } from "./proxy-gate.ts";
import { readHead } from "./read-head.ts";
import {
  CONNECTED,
  decodeConnectRequest,
  encodeHttpError,
  encodeHttpRefusal,
  encodeLoginRequired,
  HttpError,
} from "./wire/http-connect.ts";
import type { Refusal } from "./wire/open.ts";
import { decodeSocks4Request, encodeSocks4Reply, Socks4Code, Socks4Error } from "./wire/socks4.ts";
import {
  decodeGreeting,
  decodeLogin,
  decodeSocksRequest,
  encodeLoginReply,
  encodeMethod,
  encodeSocksReply,
  Method,
  ReplyCode,
  replyCodeOf,
  SocksError,
} from "./wire/socks5.ts";

export interface ProxyRequest {
  readonly command: "connect" | "udp-associate";
  /** A name in lower case, or an address; IPv6 without brackets. */
  readonly host: string;
  /** 1 to 65,535 for `connect`. */
  readonly port: number;
  /** The answer that it is connected. */
  readonly accepted: Uint8Array;
  /** The answer that it is not, and why. @param refusal `undefined`: there was no way to the far side. */
  refused(refusal: Refusal | undefined): Uint8Array;
}

/** A client is not served: it speaks none of our protocols, or wants what we do not have. */
export class ClientRefused extends Error {
  override readonly name = "ClientRefused";
  readonly code = "PROXY_REQUEST";
  /** What to tell it before closing; `undefined`: nothing that it would understand. */
  readonly answer: Uint8Array | undefined;

  constructor(message: string, answer: Uint8Array | undefined, options?: ErrorOptions) {
    super(`cannot serve client of the proxy: ${message}`, options);
    this.answer = answer;
  }
}

/**
 * Read what a client wants, and have it log in if that is wanted. What it sent beyond that stays in `stream`.
 *
 * @throws {ClientRefused}
 * @throws what `readHead` does.
 */
export async function readProxyRequest(
  stream: Duplex,
  gate: ProxyGate,
  signal: AbortSignal,
): Promise<ProxyRequest> {
  const { value: first } = await readHead(stream, firstByte, signal);
  if (first === 5) return await readSocks5(stream, gate, signal);
  if (first === 4) return await readSocks4(stream, gate, signal);
  // The name of a method.
  if (first >= 0x41 && first <= 0x5a) return await readHttp(stream, gate, signal);
  throw new ClientRefused(`expected SOCKS or HTTP, got a first byte of ${first}`, undefined);
}

function firstByte(bytes: Uint8Array): { readonly value: number; readonly length: 0 } | undefined {
  const [value] = bytes;
  return value === undefined ? undefined : { value, length: 0 };
}

async function readSocks5(
  stream: Duplex,
  gate: ProxyGate,
  signal: AbortSignal,
): Promise<ProxyRequest> {
  try {
    const { methods } = await readHead(stream, decodeGreeting, signal);
    const method = gate.isClosed ? Method.PASSWORD : Method.NONE;
    if (!methods.includes(method)) {
      const wants = gate.isClosed ? "it offers no password" : "it offers no way without a password";
      throw new ClientRefused(wants, encodeMethod(Method.UNACCEPTABLE));
    }
    stream.write(encodeMethod(method));
    if (gate.isClosed) {
      const { user, password } = await readHead(stream, decodeLogin, signal);
      const isLetIn = await gate.check(Buffer.concat([user, Buffer.of(COLON), password]));
      if (!isLetIn) throw new ClientRefused("wrong user or password", encodeLoginReply(false));
      stream.write(encodeLoginReply(true));
    }
    const { command, host, port } = await readHead(stream, decodeSocksRequest, signal);
    if (command === "bind") {
      throw new SocksError("command bind is not supported", ReplyCode.COMMAND_NOT_SUPPORTED);
    }
    if (command === "connect" && port === 0) {
      throw new SocksError("it asks for port 0", ReplyCode.FAILURE);
    }
    return {
      command,
      host,
      port,
      accepted: encodeSocksReply(ReplyCode.SUCCEEDED),
      refused: (refusal) =>
        encodeSocksReply(refusal === undefined ? ReplyCode.FAILURE : replyCodeOf(refusal)),
    };
  } catch (error) {
    if (!(error instanceof SocksError)) throw error;
    const answer = error.reply === undefined ? undefined : encodeSocksReply(error.reply);
    throw new ClientRefused(error.message, answer, { cause: error });
  }
}

async function readSocks4(
  stream: Duplex,
  gate: ProxyGate,
  signal: AbortSignal,
): Promise<ProxyRequest> {
  const rejected = encodeSocks4Reply(Socks4Code.REJECTED);
  try {
    const { command, host, port } = await readHead(stream, decodeSocks4Request, signal);
    if (gate.isClosed) throw new Socks4Error("SOCKS 4 has no password, and one is wanted");
    if (command === "bind") throw new Socks4Error("command bind is not supported");
    if (port === 0) throw new Socks4Error("it asks for port 0");
    const accepted = encodeSocks4Reply(Socks4Code.GRANTED);
    return { command, host, port, accepted, refused: () => rejected };
  } catch (error) {
    if (!(error instanceof Socks4Error)) throw error;
    throw new ClientRefused(error.message, rejected, { cause: error });
  }
}

async function readHttp(
  stream: Duplex,
  gate: ProxyGate,
  signal: AbortSignal,
): Promise<ProxyRequest> {
  try {
    const { host, port, login } = await readHead(stream, decodeConnectRequest, signal);
    // Browsers ask without a login first: that is no guess.
    if (gate.isClosed && (login === undefined || !(await gate.check(login)))) {
      const why = login === undefined ? "it has not logged in" : "wrong user or password";
      throw new ClientRefused(why, encodeLoginRequired());
    }
    return { command: "connect", host, port, accepted: CONNECTED, refused: encodeHttpRefusal };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw new ClientRefused(error.message, encodeHttpError(error), { cause: error });
  }
}

const COLON = 0x3a;
