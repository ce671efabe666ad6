/**
 * HTTP CONNECT, the client's half: RFC 9110 §9.3.6, RFC 9112.
 *
 * Pure: bytes in, values out.
 *
 * @module
 */

import { formatTarget } from "./host.ts";
import type { Decoded } from "./open.ts";
import { ProxyError } from "./socks5-client.ts";

/** Longest head of an answer, with those of 1xx before it, in bytes. */
export const MAX_HEAD: number = 16_384;

/** Ask for a tunnel; with a user and password, by RFC 7617. */
export function encodeHttpConnect(
  target: { readonly host: string; readonly port: number },
  credentials?: { readonly user: string; readonly password: string },
): Uint8Array {
  const to = formatTarget(target);
  const lines = [`CONNECT ${to} HTTP/1.1`, `Host: ${to}`];
  if (credentials !== undefined) {
    const login = Buffer.from(`${credentials.user}:${credentials.password}`).toString("base64");
    lines.push(`Proxy-Authorization: Basic ${login}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}

/**
 * Take the answer off the front of `bytes`: its status, 200 to 599. Interim answers (1xx) are skipped. What
 * follows is the tunnel's after a 2xx, which has no body whatever it says.
 *
 * @returns `undefined` until the head is complete.
 * @throws {ProxyError} if it is no HTTP/1, or longer than {@linkcode MAX_HEAD}.
 */
export function decodeHttpAnswer(bytes: Uint8Array): Decoded<number> | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HEAD));
  for (let start = 0; ;) {
    const status = statusAt(view, start);
    const end = view.indexOf("\r\n\r\n", start, "latin1");
    if (end < 0) {
      if (bytes.length < MAX_HEAD) return undefined;
      throw new ProxyError(`the proxy answers with a head of more than ${MAX_HEAD} bytes`);
    }
    start = end + 4;
    if (status !== undefined && status >= 200) return { value: status, length: start };
  }
}

/** Status of the line at `start`; `undefined` while it is not complete. */
function statusAt(view: Buffer, start: number): number | undefined {
  const end = view.indexOf("\r\n", start, "latin1");
  if (end < 0) {
    const begun = view.toString("latin1", start, start + 5);
    if ("HTTP/".startsWith(begun)) return undefined;
    throw notHttp();
  }
  // The reason is optional, and says nothing: a status is its three digits, where they belong.
  const match = /^HTTP\/1\.[01] ([1-5][0-9][0-9])(?: .*)?$/.exec(
    view.toString("latin1", start, end),
  );
  // 101 would be another protocol, and nobody has asked for one.
  if (match === null || match[1] === "101") throw notHttp();
  return Number(match[1]);
}

function notHttp(): ProxyError {
  return new ProxyError("the proxy does not answer as HTTP/1 does");
}
