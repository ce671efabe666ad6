/**
 * Certificates for peers that pin keys: a key pair, and the X.509 around it that TLS wants to see.
 *
 * RFC 5280, and RFC 8410 for Ed25519. Enough for pinned keys and for a small CA of one's own; names that
 * browsers trust come from a public CA.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { isIP } from "node:net";

/** A key and its certificate, all DER: what {@linkcode TlsServerConfig} and {@linkcode TlsClientConfig} take. */
export interface SelfSigned {
  /** X.509 */
  certificate: Buffer;
  /** PKCS #8 */
  privateKey: Buffer;
  /** SubjectPublicKeyInfo, for `verify: { publicKeys }` */
  publicKey: Buffer;
}

export interface SelfSignedOptions {
  /** Host names and IP addresses that the certificate is for. @default none: for pinning only */
  names?: readonly string[] | undefined;
  /** PKCS #8, DER: an Ed25519, ECDSA P-256 or RSA key. @default a new Ed25519 key */
  privateKey?: Uint8Array | undefined;
}

/**
 * Make a certificate that its own key signed, without an end.
 *
 * @example
 * const { certificate, privateKey, publicKey } = selfSigned();
 * new TlsServerConfig({ certificates: [certificate], privateKey });
 */
export function selfSigned(options: SelfSignedOptions = {}): SelfSigned {
  const key =
    options.privateKey === undefined
      ? generateKeyPairSync("ed25519").privateKey
      : createPrivateKey({
          key: Buffer.from(options.privateKey),
          format: "der",
          type: "pkcs8",
        });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    certificate: issueCertificate({
      publicKey,
      issuerKey: key,
      subject: options.names?.[0] ?? "self-signed",
      names: options.names,
    }),
    privateKey: key.export({ format: "der", type: "pkcs8" }),
    publicKey,
  };
}

export interface IssueOptions {
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Uint8Array;
  /** Ed25519, ECDSA P-256 or RSA. */
  issuerKey: KeyObject;
  /** Common name. */
  subject: string;
  /** Common name of the issuer. @default the subject: self-signed */
  issuer?: string | undefined;
  /** Host names and IP addresses. */
  names?: readonly string[] | undefined;
  /** It may sign others. @default false */
  ca?: boolean | undefined;
  /** @default 1970 */
  notBefore?: Date | undefined;
  /** @default 9999, which RFC 5280 has for "no end" */
  notAfter?: Date | undefined;
  /** DER of further extensions. */
  extensions?: readonly Uint8Array[] | undefined;
}

/** Sign a certificate for `publicKey`. */
export function issueCertificate(options: IssueOptions): Buffer {
  const { issuerKey, subject, issuer = subject, names = [], ca = false } = options;
  const notBefore = options.notBefore ?? new Date(0);
  const notAfter = options.notAfter ?? new Date("9999-12-31T23:59:59Z");
  const algorithm = signatureAlgorithm(issuerKey);
  const extensions = [...(options.extensions ?? [])];
  if (ca) extensions.push(extension("551d13", true, sequence(Buffer.from("0101ff", "hex"))));
  if (names.length > 0)
    extensions.push(extension("551d11", false, sequence(...names.map(altName))));
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    algorithm,
    commonName(issuer),
    sequence(time(notBefore), time(notAfter)),
    commonName(subject),
    options.publicKey,
    ...(extensions.length > 0 ? [tagged(0xa3, sequence(...extensions))] : []),
  );
  const hash = issuerKey.asymmetricKeyType === "ed25519" ? null : "sha256";
  return sequence(body, algorithm, bitString(sign(hash, body, issuerKey)));
}

/** An extension (RFC 5280 §4.1.2.9). @param oid hex of the DER without tag and length */
export function extension(oid: string, critical: boolean, value: Uint8Array): Buffer {
  const flag = critical ? [Buffer.from("0101ff", "hex")] : [];
  return sequence(tagged(0x06, Buffer.from(oid, "hex")), ...flag, tagged(0x04, value));
}

/** AlgorithmIdentifier by the type of the key that signs. */
const SIGNATURES: Readonly<Record<string, string>> = {
  ed25519: "300506032b6570", // RFC 8410 §3
  ec: "300a06082a8648ce3d040302", // ecdsa-with-SHA256, RFC 5758 §3.2
  rsa: "300d06092a864886f70d01010b0500", // sha256WithRSAEncryption, RFC 4055 §5
};

function signatureAlgorithm(key: KeyObject): Buffer {
  const der = SIGNATURES[key.asymmetricKeyType ?? ""];
  if (der !== undefined) return Buffer.from(der, "hex");
  throw new TypeError(
    `cannot sign with a key of type ${JSON.stringify(key.asymmetricKeyType)}: expected ed25519, ec or rsa`,
  );
}

function altName(name: string): Buffer {
  switch (isIP(name)) {
    case 4:
      return tagged(0x87, Buffer.from(name.split(".").map(Number)));
    case 6:
      return tagged(0x87, ipv6Bytes(name));
    default:
      return tagged(0x82, Buffer.from(name, "latin1"));
  }
}

function ipv6Bytes(address: string): Buffer {
  // URL writes every address in one form, IPv4 tails in hex included.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (text: string | undefined): number[] =>
    text ? text.split(":").map((group) => Number.parseInt(group, 16)) : [];
  const [front, back] = [groups(head), groups(tail)];
  const all = [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function commonName(text: string): Buffer {
  const name = sequence(Buffer.from("0603550403", "hex"), tagged(0x0c, Buffer.from(text)));
  return sequence(tagged(0x31, name));
}

/** RFC 5280 §4.1.2.5: two digits of year up to 2049, four after. */
function time(date: Date): Buffer {
  const digits = `${date.toISOString().replaceAll(/[-:T]/g, "").slice(0, 14)}Z`;
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050
    ? tagged(0x17, Buffer.from(digits.slice(2)))
    : tagged(0x18, Buffer.from(digits));
}

function bitString(bytes: Uint8Array): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([0]), bytes]));
}

function sequence(...parts: Uint8Array[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, body: Uint8Array): Buffer {
  const { length } = body;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : length < 0x10000
          ? [tag, 0x82, length >> 8, length & 0xff]
          : [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}
