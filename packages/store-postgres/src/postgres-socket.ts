/**
 * A socket to a PostgreSQL server, with TLS on it if it has to be.
 *
 * postgres.js would do this too, but it reaches for another socket by itself when one was lost, leaves Nagle's
 * algorithm on, checks the certificate of an IP address against "localhost", and goes on in TLS with a server that has
 * just said it knows none.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import * as net from "node:net";
import * as tls from "node:tls";
import type { PostgresHost, PostgresTls } from "./postgres-url.ts";

/** `SSLRequest` of the protocol (manual, 55.7): its length, and a number that is no version. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/** What the server answers if it is willing. */
const WILLING = 0x53;

/** TLS was wanted, and there is none to be had, or not with whom it should be. */
export class TlsRefused extends Error {
  override readonly name = "TlsRefused";
}

/**
 * Connect to `host`. Whoever gets the socket closes it.
 *
 * @throws what the socket says, {@linkcode TlsRefused}, or the reason of `signal`.
 */
export async function connectSocket(
  host: PostgresHost,
  protection: PostgresTls | tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<net.Socket> {
  signal.throwIfAborted();
  const address = host.kind === "unix" ? { path: host.path } : { host: host.host, port: host.port };
  const socket = net.connect({ ...address, noDelay: true, keepAlive: true });
  const abandon = (): void => void socket.destroy(signal.reason);
  signal.addEventListener("abort", abandon, { once: true });
  try {
    await happens(socket, "connect");
    if ("kind" in protection && protection.kind === "none") return socket;
    return await encrypt(socket, host, protection);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}

async function encrypt(
  socket: net.Socket,
  host: PostgresHost,
  protection: PostgresTls | tls.ConnectionOptions,
): Promise<net.Socket> {
  const options = await tlsOptions(host, protection);
  socket.write(SSL_REQUEST);
  await happens(socket, "readable");
  const answer = socket.read() as Buffer | null;
  // More than one byte, and somebody has put words into its mouth before the encryption began.
  if (answer?.length !== 1) throw new TlsRefused("the server speaks another protocol");
  if (answer[0] !== WILLING) throw new TlsRefused("the server does not speak TLS");
  const secured = tls.connect({ ...options, socket });
  try {
    await happens(secured, "secureConnect");
  } catch (error) {
    secured.destroy();
    throw error;
  }
  return secured;
}

async function tlsOptions(
  host: PostgresHost,
  protection: PostgresTls | tls.ConnectionOptions,
): Promise<tls.ConnectionOptions> {
  const name = host.kind === "unix" ? "localhost" : host.host;
  // Certificates are checked against `host`; an address may not be sent as a server's name (RFC 6066 §3).
  const named = { host: name, ...(net.isIP(name) === 0 ? { servername: name } : {}) };
  if (!("kind" in protection)) return { ...named, ...protection };
  if (protection.kind !== "verified") return { ...named, rejectUnauthorized: false };
  const { caFile } = protection;
  return caFile === undefined ? named : { ...named, ca: await readFile(caFile) };
}

/** @throws the error of the socket, if that comes first. */
function happens(socket: net.Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void): void => {
      socket.off(event, onevent).off("error", onerror).off("close", onclose);
      // Whoever destroys it now has said why.
      socket.on("error", () => {});
      done();
    };
    const onevent = (): void => settle(resolve);
    const onerror = (error: Error): void => settle(() => reject(error));
    const onclose = (): void => settle(() => reject(new Error("the server closed the connection")));
    socket.on(event, onevent).on("error", onerror).on("close", onclose);
  });
}
