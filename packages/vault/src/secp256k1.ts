/**
 * secp256k1 keys from a seed: BIP-32, hardened and plain children.
 *
 * Points are OpenSSL's. The one sum of secrets (child = parent + tweak mod n) is made on bytes: a BigInt could
 * not be wiped.
 *
 * @module
 */

import { createECDH } from "node:crypto";
import { HARDENED } from "./derivation-path.ts";
import { type ExtendedKey, hmacHalves, masterKey, wipeExtendedKey } from "./extended-key.ts";
import { VaultError } from "./vault-error.ts";
import { secretBytes, wipe } from "./wipe.ts";

/** The order of the group, big-endian (SEC 2 §2.4.1). */
const ORDER: Uint8Array = Buffer.from(
  "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
  "hex",
);

/**
 * The 32-byte private key at a path, the caller's to wipe.
 *
 * @throws {VaultError} `DERIVATION_FAILED` for a bad seed, or where BIP-32 says that a path has no key (once in 2^127).
 */
export function deriveSecp256k1Key(seed: Uint8Array, path: readonly number[]): Uint8Array {
  let key = masterKey("Bitcoin seed", seed);
  try {
    if (!isScalar(key.privateKey)) throw noKey();
    for (const index of path) {
      const parent = key;
      key = child(parent, index);
      wipeExtendedKey(parent);
    }
  } catch (error) {
    wipeExtendedKey(key);
    throw error;
  }
  wipe(key.chainCode);
  return key.privateKey;
}

/** The public key of a private one, compressed: 33 bytes. */
export function secp256k1PublicKey(privateKey: Uint8Array): Uint8Array {
  const ecdh = createECDH("secp256k1");
  ecdh.setPrivateKey(privateKey);
  return new Uint8Array(ecdh.getPublicKey(null, "compressed"));
}

function child(parent: ExtendedKey, index: number): ExtendedKey {
  const data = secretBytes(37);
  // 0x00 and the private key, or the 33 bytes of the public one.
  if (index < HARDENED) data.set(secp256k1PublicKey(parent.privateKey));
  else data.set(parent.privateKey, 1);
  new DataView(data.buffer).setUint32(33, index);
  const tweak = hmacHalves(parent.chainCode, data);
  wipe(data);
  if (isBelowOrder(tweak.privateKey)) addModuloOrder(tweak.privateKey, parent.privateKey);
  if (isScalar(tweak.privateKey)) return tweak;
  wipeExtendedKey(tweak);
  throw noKey();
}

/** `target += other`, modulo the order; both below it. Takes the same steps whatever the bytes are. */
export function addModuloOrder(target: Uint8Array, other: Uint8Array): void {
  const reduced = secretBytes(32);
  let carry = 0;
  let borrow = 0;
  for (let at = 31; at >= 0; at -= 1) {
    const sum = target[at]! + other[at]! + carry;
    carry = sum >> 8;
    target[at] = sum;
    const difference = target[at]! - ORDER[at]! + borrow;
    borrow = difference >> 8;
    reduced[at] = difference;
  }
  // The sum was at or above the order if it left 256 bits, or if taking the order away borrowed nothing.
  const mask = -(carry | (borrow + 1));
  for (let at = 0; at < 32; at += 1) {
    target[at] = (target[at]! & ~mask) | (reduced[at]! & mask);
  }
  wipe(reduced);
}

function isScalar(bytes: Uint8Array): boolean {
  return isBelowOrder(bytes) && bytes.some((byte) => byte !== 0);
}

function isBelowOrder(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ORDER) < 0;
}

function noKey(): VaultError {
  return new VaultError(
    "DERIVATION_FAILED",
    "there is no secp256k1 key at this path: take another",
  );
}
