/**
 * TLS for QUIC: what a side shows, what it asks for, how it judges the other's key.
 *
 * TLS 1.3 only, X25519MLKEM768 preferred, no resumption and no 0-RTT: every handshake proves the key anew.
 * Keys and certificates are DER; they are copied in, and freed when the object is collected.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import { native } from "./native.ts";

export interface TlsServerOptions {
  /** X.509, DER, leaf first. */
  certificates: readonly Uint8Array[];
  /** PKCS #8, DER. */
  privateKey: Uint8Array;
  /**
   * Ask for the client's certificate. Any leaf of at most 16 KiB that parses and whose signature over
   * the handshake holds is accepted by TLS, whoever signed it: the caller judges it.
   * @default "none"
   */
  clientCertificate?: "none" | "request" | "require" | undefined;
  /** Speak raw public keys (RFC 7250) with clients that ask for them. @default false */
  rawPublicKeys?: boolean | undefined;
  /**
   * Append session secrets to this file (NSS format), for debugging with Wireshark.
   * @default the environment's `SSLKEYLOGFILE`, as with curl; else none are written
   */
  keyLogFile?: string | undefined;
}

const CLIENT_CERTIFICATE: Readonly<Record<string, 0 | 1 | 2>> = { none: 0, request: 1, require: 2 };
const forgottenServers = new FinalizationRegistry<number>((id) => native.forgetServerTls(id));
const forgottenClients = new FinalizationRegistry<number>((id) => native.forgetClientTls(id));
// Two of them: the engine numbers servers' and clients' apart.
const serverIds = new WeakMap<object, number>();
const clientIds = new WeakMap<object, number>();

/** Whoever sets a process's environment can read its memory, too. */
function keyLogOfEnvironment(): string | undefined {
  return process.env["SSLKEYLOGFILE"] || undefined;
}

/** The engine's number for a configuration. */
export function serverTlsId(config: TlsServerConfig): number {
  const id = serverIds.get(config);
  if (id === undefined) throw new TypeError("cannot serve: tls must be a TlsServerConfig");
  return id;
}

/** The engine's number for a configuration. */
export function clientTlsId(config: TlsClientConfig): number {
  const id = clientIds.get(config);
  if (id === undefined) throw new TypeError("cannot connect: tls must be a TlsClientConfig");
  return id;
}

/** A server's TLS settings: immutable, for any number of endpoints of this thread. */
export class TlsServerConfig {
  /** @throws {Error} if a key or certificate cannot be used; the message says which. */
  constructor(options: TlsServerOptions) {
    const { clientCertificate = "none" } = options;
    const asked = CLIENT_CERTIFICATE[clientCertificate];
    if (asked === undefined) {
      throw new TypeError(
        `cannot serve: clientCertificate must be none, request or require, got ${JSON.stringify(clientCertificate)}`,
      );
    }
    const id = native.serverTls({
      certificates: [...options.certificates],
      privateKey: options.privateKey,
      clientCertificate: asked,
      rawPublicKeys: options.rawPublicKeys ?? false,
      keyLogFile: options.keyLogFile ?? keyLogOfEnvironment(),
    });
    serverIds.set(this, id);
    forgottenServers.register(this, id);
  }
}

/** Why a client trusts a server. Its signature over the handshake is verified in every case. */
export type ServerVerification =
  /** Pinned keys: raw Ed25519 (32 bytes) or SubjectPublicKeyInfo (DER). Names, dates and CAs are ignored. */
  | { publicKeys: readonly Uint8Array[] }
  /** Pinned leaves: SHA-256 of the DER, 32 bytes. */
  | { certificateSha256: readonly Uint8Array[] }
  /** CA certificates, DER: host name and dates are checked. */
  | { roots: readonly Uint8Array[] }
  /** Whoever it is. */
  | { dangerouslyAcceptAny: true };

export interface TlsClientOptions {
  /** Names offered, in order of preference. */
  alpn: readonly string[];
  verify: ServerVerification;
  /** X.509 of the client, DER, leaf first; ignored with `rawPublicKeys`. */
  certificates?: readonly Uint8Array[] | undefined;
  /** PKCS #8, DER. Absent: the client shows no key. */
  privateKey?: Uint8Array | undefined;
  /** Show and want raw public keys (RFC 7250) only. @default false */
  rawPublicKeys?: boolean | undefined;
  keyLogFile?: string | undefined;
}

/** A client's TLS settings: immutable, for any number of dials on this thread. */
export class TlsClientConfig {
  /** @throws {Error} if a key, certificate or pin cannot be used. */
  constructor(options: TlsClientOptions) {
    const { verify } = options;
    const [trust, trusted] =
      "publicKeys" in verify
        ? ([0, verify.publicKeys] as const)
        : "certificateSha256" in verify
          ? ([1, verify.certificateSha256] as const)
          : "roots" in verify
            ? ([2, verify.roots] as const)
            : ([3, []] as const);
    if (trust === 3 && !("dangerouslyAcceptAny" in verify && verify.dangerouslyAcceptAny)) {
      throw new TypeError("cannot verify servers: expected publicKeys, certificateSha256 or roots");
    }
    const id = native.clientTls({
      alpn: options.alpn.map((name) => Buffer.from(name, "latin1")),
      trust,
      trusted: [...trusted],
      certificates: options.certificates === undefined ? undefined : [...options.certificates],
      privateKey: options.privateKey,
      rawPublicKeys: options.rawPublicKeys ?? false,
      keyLogFile: options.keyLogFile ?? keyLogOfEnvironment(),
    });
    clientIds.set(this, id);
    forgottenClients.register(this, id);
  }
}
