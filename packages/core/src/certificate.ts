/**
 * Certificates that we make: the node's leaf around its Ed25519 key, and a web certificate for a start.
 *
 * X.509 v3 as in RFC 5280, in DER. The leaf is a template with two holes, the key and the signature: the
 * same key always gives the same bytes. Its names and dates mean nothing to anyone, the key does.
 *
 * @module
 */

import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { type Clock, systemClock } from "./clock.ts";
import { Tag, writeElement } from "./der.ts";
import { formatHost, parseHost } from "./host.ts";
import { ipToBytes } from "./ip-address.ts";

/**
 * Wrap an Ed25519 key in a self-signed leaf, valid from 1970 until 99991231235959Z ("no well-defined
 * expiration date", RFC 5280 §4.1.2.5). Deterministic.
 *
 * @throws {TypeError} if the key is not an Ed25519 private key.
 */
export function selfSignedCertificate(privateKey: KeyObject): { readonly certificate: Uint8Array } {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ed25519") {
    throw new TypeError(
      `cannot make certificate for a ${privateKey.asymmetricKeyType ?? privateKey.type} key: expected an Ed25519 private key`,
    );
  }
  const publicKey = spkiOf(privateKey);
  const serial = createHash("sha256").update(publicKey).digest().subarray(0, 16);
  const template = {
    algorithm: ED25519,
    serial,
    name: commonName("alknet"),
    validity: sequence(time(0), time(Date.UTC(9999, 11, 31, 23, 59, 59))),
    publicKey,
    // No key usage: one without certificate signing keeps OpenSSL from seeing that it signed itself.
    extensions: [
      extension(BASIC_CONSTRAINTS, true, sequence()),
      extension(EXTENDED_KEY_USAGE, false, sequence(SERVER_AUTH, CLIENT_AUTH)),
    ],
  };
  return { certificate: signed(template, (body) => sign(null, body, privateKey)) };
}

export interface WebCertificate {
  readonly certificate: Uint8Array;
  readonly privateKey: KeyObject;
  /** PKCS #8 */
  readonly privateKeyDer: Uint8Array;
}

/**
 * Make a key and a self-signed certificate for browsers and `curl -k`, until there is a real one:
 * P-256, because browsers refuse Ed25519; valid from a day ago for 825 days, the most that all of them
 * take. Made anew at each start.
 *
 * @param names host names and IP addresses it is for, at least one.
 * @throws {TypeError} if a name is not one.
 */
export function webCertificate(
  names: readonly string[],
  options: { clock?: Clock | undefined } = {},
): WebCertificate {
  const hosts = names.map((name) => {
    const host = parseHost(name);
    if (host === undefined) {
      throw new TypeError(`cannot make certificate for ${JSON.stringify(name)}: expected a host`);
    }
    return host;
  });
  const [first] = hosts;
  if (first === undefined)
    throw new TypeError("cannot make certificate: expected at least one name");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = (options.clock ?? systemClock).wallTime();
  const template = {
    algorithm: ECDSA_WITH_SHA256,
    serial: randomBytes(16),
    // 64 characters is the bound (RFC 5280, ub-common-name), and clients read the alternative names.
    name: commonName(formatHost(first).slice(0, 64)),
    validity: sequence(time(now - DAY), time(now + 825 * DAY - DAY)),
    publicKey: spkiOf(privateKey),
    extensions: [
      extension(BASIC_CONSTRAINTS, true, sequence()),
      extension(EXTENDED_KEY_USAGE, false, sequence(SERVER_AUTH)),
      extension(
        SUBJECT_ALT_NAME,
        false,
        sequence(
          ...hosts.map(
            (host) =>
              host.kind === "name"
                ? writeElement(0x82, Buffer.from(host.name)) // dNSName
                : writeElement(0x87, ipToBytes(host.address)), // iPAddress
          ),
        ),
      ),
    ],
  };
  return {
    certificate: signed(template, (body) => sign("sha256", body, privateKey)),
    privateKey,
    privateKeyDer: privateKey.export({ format: "der", type: "pkcs8" }),
  };
}

interface Template {
  readonly algorithm: Uint8Array;
  /** 16 bytes; made positive. */
  readonly serial: Uint8Array;
  readonly name: Uint8Array;
  readonly validity: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

/** RFC 5280 §4.1 */
function signed(template: Template, signBody: (body: Uint8Array) => Uint8Array): Uint8Array {
  const { algorithm, name, validity, publicKey, extensions } = template;
  // Positive, and never with a leading zero byte: 01xxxxxx.
  const serial = Uint8Array.from(template.serial, (byte, at) =>
    at === 0 ? (byte & 0x3f) | 0x40 : byte,
  );
  const body = sequence(
    writeElement(0xa0, writeElement(Tag.INTEGER, Uint8Array.of(2))), // v3
    writeElement(Tag.INTEGER, serial),
    algorithm,
    name, // the issuer: itself
    validity,
    name,
    publicKey,
    writeElement(0xa3, sequence(...extensions)),
  );
  return sequence(body, algorithm, bitString(0, signBody(body)));
}

const DAY = 86_400_000;

const ED25519 = sequence(oid("2b6570")); // 1.3.101.112, no parameters (RFC 8410 §3)
const ECDSA_WITH_SHA256 = sequence(oid("2a8648ce3d040302"));
const BASIC_CONSTRAINTS = oid("551d13");
const EXTENDED_KEY_USAGE = oid("551d25");
const SUBJECT_ALT_NAME = oid("551d11");
const SERVER_AUTH = oid("2b06010505070301");
const CLIENT_AUTH = oid("2b06010505070302");

function spkiOf(privateKey: KeyObject): Uint8Array {
  return createPublicKey(privateKey).export({ format: "der", type: "spki" });
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return writeElement(Tag.SEQUENCE, ...parts);
}

function oid(hex: string): Uint8Array {
  return writeElement(Tag.OBJECT_IDENTIFIER, Buffer.from(hex, "hex"));
}

function bitString(unused: number, bits: Uint8Array): Uint8Array {
  return writeElement(Tag.BIT_STRING, Uint8Array.of(unused), bits);
}

function commonName(text: string): Uint8Array {
  const value = writeElement(Tag.UTF8_STRING, Buffer.from(text));
  return sequence(writeElement(Tag.SET, sequence(oid("550403"), value)));
}

function extension(id: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  // FALSE is the default, and DER leaves defaults out.
  const flag = critical ? [writeElement(Tag.BOOLEAN, Uint8Array.of(0xff))] : [];
  return sequence(id, ...flag, writeElement(Tag.OCTET_STRING, value));
}

/** Seconds, in UTC; two digits of the year until 2049, four after (RFC 5280 §4.1.2.5). */
function time(milliseconds: number): Uint8Array {
  const digits = new Date(milliseconds)
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replace(/\D/g, "");
  const short = Number(digits.slice(0, 4)) < 2050;
  const tag = short ? Tag.UTC_TIME : Tag.GENERALIZED_TIME;
  return writeElement(tag, Buffer.from(`${short ? digits.slice(2) : digits}Z`));
}
