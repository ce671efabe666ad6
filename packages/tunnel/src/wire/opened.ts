/**
 * What the reply `open` tells beside that, by the kind of the request (see open.ts).
 *
 * ```text
 * UDP flow        flow u32: its number in datagrams (see udp.ts)
 * TCP listener    listener u32: its number in streams that carry its connections; port u16, host: what it has got
 * Unix listener   listener u32, path
 * ```
 *
 * For other kinds the body is empty. Numbers are big-endian.
 *
 * Pure: no I/O.
 *
 * @module
 */

import { parseHost } from "./host.ts";
import { OpenError } from "./open.ts";
import { parseUnixPath } from "./unix-path.ts";

/** Where a listener listens. */
export type ListeningPlace =
  /** The host as it was asked for; empty: all addresses. The port is 1 to 65,535. */
  { readonly host: string; readonly port: number } | { readonly path: string };

export interface Listening {
  /** Number of the listener on its connection. */
  readonly listener: number;
  readonly place: ListeningPlace;
}

/** Body for a UDP flow. `flow` is 0 to 2^32 - 1. */
export function encodeFlowNumber(flow: number): Uint8Array {
  const body = Buffer.alloc(4);
  body.writeUInt32BE(flow);
  return body;
}

/** @throws {OpenError} if `body` is none of a UDP flow. */
export function decodeFlowNumber(body: Uint8Array): number {
  return read(body, "UDP flow", (bytes) => {
    if (bytes.length !== 4) throw new RangeError(`${bytes.length} bytes, expected 4`);
    return bytes.readUInt32BE(0);
  });
}

/** Body for a listener. */
export function encodeListening({ listener, place }: Listening): Uint8Array {
  if ("path" in place) {
    return Buffer.concat([encodeFlowNumber(listener), Buffer.from(parseUnixPath(place.path))]);
  }
  const host = place.host === "" ? "" : parseHost(place.host);
  const body = Buffer.alloc(6 + host.length);
  body.writeUInt32BE(listener);
  body.writeUInt16BE(place.port, 4);
  body.write(host, 6, "latin1");
  return body;
}

/**
 * Read the body for a listener of kind `kind`.
 *
 * @throws {OpenError} if it is none.
 */
export function decodeListening(kind: "listen-tcp" | "listen-unix", body: Uint8Array): Listening {
  return read(body, "listener", (bytes) => {
    const listener = bytes.readUInt32BE(0);
    if (kind === "listen-unix") {
      return { listener, place: { path: parseUnixPath(utf8.decode(bytes.subarray(4))) } };
    }
    const port = bytes.readUInt16BE(4);
    if (port === 0) throw new RangeError("port 0");
    const host = bytes.toString("latin1", 6);
    return { listener, place: { host: host === "" ? "" : parseHost(host), port } };
  });
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function read<T>(body: Uint8Array, what: string, decode: (bytes: Buffer) => T): T {
  try {
    return decode(Buffer.from(body.buffer, body.byteOffset, body.length));
  } catch (cause) {
    throw new OpenError(`cannot read reply: its body is none of a ${what}`, { cause });
  }
}
