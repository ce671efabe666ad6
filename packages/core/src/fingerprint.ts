/**
 * Fingerprints: the text that names a key, `ed25519:` or `SHA256:` and 64 hex digits.
 *
 * An Ed25519 key is named by its 32 raw bytes (RFC 8410 §4), not by the certificate around
 * it: renewing one changes no name. Other keys go by the SHA-256 of the whole certificate.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type Element, readElement, readElements, Tag } from "./der.ts";
import { invalidText } from "./invalid-text.ts";

declare const brand: unique symbol;

/** Text that {@linkcode parseFingerprint} has accepted. */
export type Fingerprint = string & { readonly [brand]: "Fingerprint" };

/** Longest certificate that is looked at, in bytes. */
export const MAX_CERTIFICATE: number = 16 * 1_024;

/** A peer's certificate is not one, or is too long. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
  readonly code = "CERTIFICATE_INVALID";
}

/**
 * Parse a fingerprint as people write it in a config file.
 *
 * Strict on purpose: let upper case or a stray space through, and one key has many names.
 *
 * @throws {SyntaxError} `FINGERPRINT_INVALID`, if `text` is anything else; the message quotes it.
 */
export function parseFingerprint(text: string): Fingerprint {
  if (/^(ed25519|SHA256):[0-9a-f]{64}$/.test(text)) return text as Fingerprint;
  const expected = `expected "ed25519:" or "SHA256:" and 64 lower-case hex digits`;
  throw invalidText("FINGERPRINT_INVALID", "fingerprint", text, expected);
}

/** What a fingerprint stands for: a raw Ed25519 public key, or the SHA-256 of a certificate; 32 bytes. */
export function fingerprintBytes(fingerprint: Fingerprint): {
  readonly kind: "ed25519" | "SHA256";
  readonly bytes: Uint8Array;
} {
  const [kind, hex] = fingerprint.split(":") as ["ed25519" | "SHA256", string];
  return { kind, bytes: Uint8Array.from(Buffer.from(hex, "hex")) };
}

/** The fingerprint of a raw Ed25519 public key. @throws {RangeError} unless it has 32 bytes. */
export function fingerprintOfPublicKey(raw: Uint8Array): Fingerprint {
  if (raw.length !== 32) {
    throw new RangeError(`cannot name public key of ${raw.length} bytes: expected 32 (Ed25519)`);
  }
  return `ed25519:${Buffer.from(raw).toString("hex")}` as Fingerprint;
}

/**
 * The fingerprint of a bare SubjectPublicKeyInfo, as a raw public key in TLS brings it (RFC 7250).
 * A key that is not Ed25519 goes by the SHA-256 of this DER.
 *
 * @throws {CertificateError} if `spki` is malformed.
 */
export function fingerprintOfSpki(spki: Uint8Array): Fingerprint {
  return strictly(spki, () => {
    const element = only(spki, Tag.SEQUENCE);
    return ed25519Key(element) ?? sha256(spki);
  });
}

/**
 * The fingerprint of a certificate's key. Names, dates, extensions and the signature are not looked
 * at: the handshake has proved that the peer holds the key, and nothing else here is trusted.
 *
 * @param der one X.509 certificate, no more than {@linkcode MAX_CERTIFICATE} bytes.
 * @throws {CertificateError} if it is longer or malformed.
 */
export function fingerprintOfCertificate(der: Uint8Array): Fingerprint {
  return strictly(der, () => ed25519Key(subjectPublicKeyInfo(der)) ?? sha256(der));
}

/** RFC 5280 §4.1: walk to the key, by position, and account for every byte on the way. */
function subjectPublicKeyInfo(der: Uint8Array): Element {
  const [tbs, algorithm, signature, ...more] = readElements(only(der, Tag.SEQUENCE).content, 3);
  if (
    tbs?.tag !== Tag.SEQUENCE ||
    algorithm?.tag !== Tag.SEQUENCE ||
    signature?.tag !== Tag.BIT_STRING ||
    more.length > 0
  ) {
    throw new RangeError("expected a body, an algorithm and a signature");
  }
  const fields = readElements(tbs.content, 10);
  if (fields[0]?.tag === VERSION) {
    const version = only(fields[0].content, Tag.INTEGER).content;
    // v2 and v3; v1 is the default, and DER leaves defaults out.
    if (version.length !== 1 || (version[0] !== 1 && version[0] !== 2)) {
      throw new RangeError("expected version 1 to 3");
    }
    fields.shift();
  }
  const tags = fields.map((field) => field.tag);
  // serial, signature algorithm, issuer, validity, subject, key
  const required = [Tag.INTEGER, ...Array.from({ length: 5 }, () => Tag.SEQUENCE)];
  if (!required.every((tag, index) => tags[index] === tag)) {
    throw new RangeError("expected serial, algorithm, issuer, validity, subject and key");
  }
  // issuerUniqueID [1], subjectUniqueID [2], extensions [3]: each at most once, in this order.
  const rest = tags.slice(required.length).map((tag) => OPTIONAL.indexOf(tag));
  if (!rest.every((at, index) => at >= 0 && (index === 0 || at > rest[index - 1]!))) {
    throw new RangeError("expected nothing but unique ids and extensions after the key");
  }
  return fields[5]!;
}

const VERSION = 0xa0;
const OPTIONAL: readonly number[] = [0x81, 0x82, 0xa3];

/** SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING of 33 bytes, the first 0 }: 44 bytes (RFC 8410 §4). */
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");
const ED25519_OID = Buffer.from("2b6570", "hex");

function ed25519Key(spki: Element): Fingerprint | undefined {
  const [algorithm, key, ...more] = readElements(spki.content, 2);
  if (algorithm?.tag !== Tag.SEQUENCE || key?.tag !== Tag.BIT_STRING || more.length > 0) {
    throw new RangeError("expected an algorithm and a key");
  }
  const oid = readElement(algorithm.content, 0);
  if (oid.tag !== Tag.OBJECT_IDENTIFIER) throw new RangeError("expected an algorithm's identifier");
  if (!ED25519_OID.equals(oid.content)) return undefined;
  const prefix = spki.whole.subarray(0, ED25519_SPKI.length);
  // An Ed25519 key in any other wrapping would be one key with two names.
  if (spki.whole.length !== 44 || !ED25519_SPKI.equals(prefix)) {
    throw new RangeError("expected an Ed25519 key of exactly 44 bytes, without parameters");
  }
  return fingerprintOfPublicKey(spki.whole.subarray(ED25519_SPKI.length));
}

/** The one element that `bytes` consists of. */
function only(bytes: Uint8Array, tag: number): Element {
  const element = readElement(bytes, 0);
  if (element.tag !== tag || element.whole.length !== bytes.length) {
    throw new RangeError(`expected one element with tag ${tag}, and nothing after it`);
  }
  return element;
}

function sha256(der: Uint8Array): Fingerprint {
  return `SHA256:${createHash("sha256").update(der).digest("hex")}` as Fingerprint;
}

function strictly(der: Uint8Array, read: () => Fingerprint): Fingerprint {
  if (der.length > MAX_CERTIFICATE) {
    const expected = `expected at most ${MAX_CERTIFICATE}`;
    throw new CertificateError(`cannot read certificate of ${der.length} bytes: ${expected}`);
  }
  try {
    return read();
  } catch (error) {
    const { message } = error as Error;
    throw new CertificateError(`cannot read certificate: ${message}`, { cause: error });
  }
}
