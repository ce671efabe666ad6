/**
 * HTTP CONNECT, the proxy's half: RFC 9110 §9.3.6, the head of a request by RFC 9112, Basic logins by RFC 7617.
 *
 * Pure: bytes in, values out.
 *
 * @module
 */

import { parseHost } from "./host.ts";
import type { Refusal } from "./open.ts";

/** Longest head of a request, in bytes. */
export const MAX_HTTP_HEAD: number = 16_384;

export interface ConnectRequest {
  /** A name in lower case, or an address; IPv6 without brackets. */
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
  /** User and password as `user:password`, if it has a login. */
  readonly login: Uint8Array | undefined;
  /** Bytes it took off the front. */
  readonly length: number;
}

/** The request is none that is served. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly code = "HTTP_REQUEST";
  /** Status code that says so. */
  readonly status: 400 | 405 | 431 | 505;

  constructor(status: 400 | 405 | 431 | 505, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/**
 * Take a request off the front of `bytes`.
 *
 * @returns `undefined` until its head is complete.
 * @throws {HttpError} if it is longer than {@linkcode MAX_HTTP_HEAD}, malformed, or no CONNECT.
 */
export function decodeConnectRequest(bytes: Uint8Array): ConnectRequest | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HTTP_HEAD));
  const end = view.indexOf("\r\n\r\n", 0, "latin1");
  if (end < 0) {
    if (bytes.length < MAX_HTTP_HEAD) return undefined;
    throw new HttpError(431, `a head of more than ${MAX_HTTP_HEAD} bytes`);
  }
  const [line = "", ...fields] = view.toString("latin1", 0, end).split("\r\n");
  const [, method, target, major] =
    /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S+) HTTP\/([0-9])\.[0-9]$/.exec(line) ?? [];
  if (method === undefined || target === undefined)
    throw new HttpError(400, "no HTTP request line");
  if (major !== "1") throw new HttpError(505, "only HTTP/1 is spoken here");
  if (method !== "CONNECT") {
    throw new HttpError(
      405,
      "this proxy carries connections, not requests: use it by CONNECT (curl -p) or as socks5h://",
    );
  }
  return { ...authorityOf(target), login: loginOf(fields), length: end + 4 };
}

/** `host:port`, the port never left out: RFC 9110 §9.3.6. */
function authorityOf(target: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] =
    /^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(target) ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  if (host === undefined || port < 1 || port > 65_535) {
    throw new HttpError(400, "expected CONNECT host:port, IPv6 in brackets");
  }
  try {
    return { host: parseHost(host), port };
  } catch (cause) {
    throw new HttpError(400, "its host is neither a name nor an address", { cause });
  }
}

function loginOf(fields: readonly string[]): Uint8Array | undefined {
  let login: Uint8Array | undefined;
  for (const field of fields) {
    const [, name, value = ""] =
      /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(field) ?? [];
    // A line that is folded or no field at all is how one proxy is made to read what another did not.
    if (name === undefined) throw new HttpError(400, "a line of its head is no field");
    if (name.toLowerCase() !== "proxy-authorization") continue;
    if (login !== undefined) throw new HttpError(400, "more than one Proxy-Authorization");
    const [, base64] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(value) ?? [];
    // Of another scheme: it is no login here, and hears which one would be.
    if (base64 !== undefined) login = Buffer.from(base64, "base64");
  }
  return login;
}

/** The answer that it is connected: what follows is the tunnel's. */
export const CONNECTED: Uint8Array = Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n");

/** The answer to who has to log in first. */
export function encodeLoginRequired(): Uint8Array {
  return encodeAnswer(407, "this proxy wants a user and password", [
    'Proxy-Authenticate: Basic realm="alknet", charset="UTF-8"',
  ]);
}

/** The answer to a request that is none. */
export function encodeHttpError({ status, message }: HttpError): Uint8Array {
  return encodeAnswer(status, message, status === 405 ? ["Allow: CONNECT"] : []);
}

/** The answer that says why the far side refused; with RFC 9209 for programs. */
export function encodeHttpRefusal(refusal: Refusal | undefined): Uint8Array {
  const [status, error] = statusOf(refusal);
  const text = `the far side did not connect: ${refusal ?? "no way there"}`;
  return encodeAnswer(status, text, [`Proxy-Status: alknet; error=${error}`]);
}

type Status = 400 | 403 | 405 | 407 | 431 | 501 | 502 | 503 | 504 | 505;

/** Status code, and type of error by RFC 9209 §2.3. */
function statusOf(refusal: Refusal | undefined): readonly [Status, string] {
  switch (refusal) {
    case "not-allowed":
      return [403, "destination_ip_prohibited"];
    case "host-not-found":
      return [502, "dns_error"];
    case "refused":
      return [502, "connection_refused"];
    case "host-unreachable":
    case "network-unreachable":
      return [502, "destination_ip_unroutable"];
    case "timed-out":
      return [504, "connection_timeout"];
    case "limit":
      return [503, "connection_limit_reached"];
    case "draining":
    case undefined:
      return [503, "destination_unavailable"];
    case "unsupported":
      return [501, "proxy_internal_error"];
    case "failed":
    case "in-use":
      return [502, "proxy_internal_error"];
  }
}

const reasons: Readonly<Record<Status, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  405: "Method Not Allowed",
  407: "Proxy Authentication Required",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

function encodeAnswer(status: Status, text: string, fields: readonly string[]): Uint8Array {
  const body = `alknet: ${text}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status]}`,
    ...fields,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ];
  return Buffer.from(lines.join("\r\n"));
}
