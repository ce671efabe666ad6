/**
 * TLS configurations of the TCP side: what a server shows and asks, for each kind of ALPN.
 *
 * @module
 */

import { constants, type KeyObject } from "node:crypto";
import tls from "node:tls";

/** A certificate and its key. */
export interface TlsIdentity {
  readonly privateKey: KeyObject;
  /** DER */
  readonly certificate: Uint8Array;
}

/**
 * What `alknet/*` shows: TLS 1.3 only, and no session is ever resumed, since a resumed one proves no key.
 */
export function nodeContext(identity: TlsIdentity): tls.SecureContext {
  // No CAs: a client is known by its key, and Node's own would be loaded for nothing.
  const options = {
    ...keyAndCertificate(identity),
    ca: [] as string[],
    minVersion: "TLSv1.3",
  } as const;
  return (
    withoutTickets(tls.createSecureContext(options)) ??
    // Sends two tickets that name sessions which are kept nowhere.
    tls.createSecureContext({ ...options, secureOptions: constants.SSL_OP_NO_TICKET })
  );
}

/** What web ALPNs show: TLS 1.2 or later, resumption as OpenSSL does it. */
export function webContext(identity: TlsIdentity): tls.SecureContext {
  return tls.createSecureContext({ ...keyAndCertificate(identity), minVersion: "TLSv1.2" });
}

/**
 * What a client shows, if it shows anything.
 *
 * @param roots CA certificates in PEM; none where the server is known by its key.
 */
export function clientContext(
  identity: TlsIdentity | undefined,
  roots: readonly string[],
): tls.SecureContext {
  return tls.createSecureContext({
    ...(identity === undefined ? {} : keyAndCertificate(identity)),
    ca: [...roots],
    minVersion: "TLSv1.3",
    ecdhCurve: CLIENT_GROUPS,
  });
}

/**
 * Groups of a client, in OpenSSL's order, with a key share for the first alone: every node has that. By itself
 * OpenSSL makes one of X25519 too, which takes 30 µs. Who has not the first asks for a share of another
 * (HelloRetryRequest, RFC 8446 §4.1.4).
 */
const CLIENT_GROUPS = "?X25519MLKEM768:?X25519:?secp256r1:?X448:?secp384r1:?secp521r1";

function keyAndCertificate(identity: TlsIdentity): { cert: string; key: string } {
  return {
    cert: pemOf(identity.certificate),
    key: identity.privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

/** A certificate in PEM (RFC 7468). */
export function pemOf(certificate: Uint8Array): string {
  const lines =
    Buffer.from(certificate)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

interface TicketCallback {
  enableTicketKeyCallback?: () => void;
  onticketkeycallback?: () => unknown[];
}

/**
 * Have the server send no NewSessionTicket at all, and honour none.
 *
 * OpenSSL's TLS 1.3 sends two whatever its options say (with SSL_OP_NO_TICKET, two that nobody honours),
 * and Node has no setting for their number. What Node has, for its own tests, is the callback that
 * OpenSSL asks for the key of a ticket: without SSL_OP_NO_TICKET, an answer of 0 means that there is none,
 * and then none is sent or read.
 *
 * @returns `undefined` where Node has that callback no more.
 */
function withoutTickets(context: tls.SecureContext): tls.SecureContext | undefined {
  const native = context.context as TicketCallback | undefined;
  if (typeof native?.enableTicketKeyCallback !== "function") return undefined;
  native.enableTicketKeyCallback();
  native.onticketkeycallback = () => NO_TICKET;
  return context;
}

/** Found, HMAC key, AES key, name, initial value: Node reads them all before it looks at the first. */
const NO_TICKET = [0, Buffer.alloc(32), Buffer.alloc(16), Buffer.alloc(16), Buffer.alloc(16)];
