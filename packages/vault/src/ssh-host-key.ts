/**
 * Signatures of SSH host keys: `ssh-ed25519`, `ecdsa-sha2-nistp256/384/521`, `ssh-rsa` with SHA-2.
 *
 * @module
 */

import { createPublicKey, type KeyObject, verify, type webcrypto } from "node:crypto";
import { SshDataError, SshReader } from "./wire/ssh-data.ts";

/**
 * Whether `signature` is that of the host key over `data`.
 *
 * @param keyBlob RFC 4253 §6.6. Other kinds of keys, and certificates, never match.
 * @param signature `string` algorithm, `string` signature, as that algorithm writes it.
 */
export function isSignedByHost(
  keyBlob: Uint8Array,
  signature: Uint8Array,
  data: Uint8Array,
): boolean {
  try {
    const reader = new SshReader(signature);
    const algorithm = reader.text();
    const bytes = reader.string();
    reader.end();
    return verifies(keyBlob, algorithm, bytes, data);
  } catch (error) {
    if (error instanceof SshDataError || isOfCrypto(error)) return false;
    throw error;
  }
}

/** RFC 5656 §3.1, §6.2.1 */
const CURVES: Readonly<Record<string, { crv: string; length: number; hash: string }>> = {
  nistp256: { crv: "P-256", length: 32, hash: "sha256" },
  nistp384: { crv: "P-384", length: 48, hash: "sha384" },
  nistp521: { crv: "P-521", length: 66, hash: "sha512" },
};

/** RFC 8332 §3; `ssh-rsa` itself is SHA-1, and nobody's any more. */
const RSA_HASHES: Readonly<Record<string, string>> = {
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
};

function verifies(
  keyBlob: Uint8Array,
  algorithm: string,
  signature: Uint8Array,
  data: Uint8Array,
): boolean {
  const reader = new SshReader(keyBlob);
  const type = reader.text();
  if (type === "ssh-ed25519" && algorithm === type) {
    const key = publicKey(reader, (x) => ({ kty: "OKP", crv: "Ed25519", x: base64url(x) }));
    return verify(null, data, key, signature);
  }
  if (type === "ssh-rsa" && Object.hasOwn(RSA_HASHES, algorithm)) {
    const key = publicKey(reader, (e) => {
      return { kty: "RSA", e: base64url(e), n: base64url(reader.string()) };
    });
    return verify(RSA_HASHES[algorithm], data, key, signature);
  }
  const curve = /^ecdsa-sha2-(nistp(?:256|384|521))$/.exec(type)?.[1];
  if (curve === undefined || algorithm !== type || reader.text() !== curve) return false;
  const { crv, length, hash } = CURVES[curve]!;
  const key = publicKey(reader, (point) => {
    if (point.length !== 1 + 2 * length || point[0] !== 4) {
      throw new SshDataError("expected an uncompressed point");
    }
    const [x, y] = [point.subarray(1, 1 + length), point.subarray(1 + length)];
    return { kty: "EC", crv, x: base64url(x), y: base64url(y) };
  });
  const dsaEncoding = "ieee-p1363";
  return verify(hash, data, { key, dsaEncoding }, ecdsaNumbers(signature, length));
}

function publicKey(reader: SshReader, jwk: (first: Uint8Array) => webcrypto.JsonWebKey): KeyObject {
  const key = jwk(reader.string());
  reader.end();
  return createPublicKey({ key, format: "jwk" });
}

/** The two numbers (RFC 5656 §3.1.2), each filled up to `length` bytes. */
function ecdsaNumbers(signature: Uint8Array, length: number): Buffer {
  const reader = new SshReader(signature);
  const numbers = Buffer.alloc(2 * length);
  for (const end of [length, 2 * length]) {
    const bytes = reader.string();
    // A leading zero only says that the number is not negative.
    const digits = bytes[0] === 0 ? bytes.subarray(1) : bytes;
    if (digits.length > length) throw new SshDataError("number too long");
    numbers.set(digits, end - digits.length);
  }
  reader.end();
  return numbers;
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
}

/** A key that node:crypto does not take for one. */
function isOfCrypto(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code);
  return code.startsWith("ERR_CRYPTO_") || code.startsWith("ERR_OSSL_");
}
