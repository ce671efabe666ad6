/**
 * A private key and the chain code beside it: what SLIP-0010 and BIP-32 derive children from.
 *
 * @module
 */

import { createHmac } from "node:crypto";
import { secretCopy, wipe } from "./wipe.ts";
import { VaultError } from "./vault-error.ts";

/** Both are 32 secret bytes, and the holder's to wipe. */
export interface ExtendedKey {
  readonly privateKey: Uint8Array;
  readonly chainCode: Uint8Array;
}

/**
 * The key of path `m`. `label` is the curve's: `ed25519 seed` or `Bitcoin seed`.
 *
 * @param seed 16 to 64 bytes (BIP-32); BIP39 gives 64.
 * @throws {VaultError} `DERIVATION_FAILED` if the seed has another length.
 */
export function masterKey(label: string, seed: Uint8Array): ExtendedKey {
  if (seed.length < 16 || seed.length > 64) {
    throw new VaultError(
      "DERIVATION_FAILED",
      `cannot derive from a seed of ${seed.length} bytes: expected 16 to 64`,
    );
  }
  return hmacHalves(Buffer.from(label), seed);
}

/** HMAC-SHA512, its left half as key and its right half as chain code. */
export function hmacHalves(key: Uint8Array, data: Uint8Array): ExtendedKey {
  const digest = createHmac("sha512", key).update(data).digest();
  try {
    return {
      privateKey: secretCopy(digest.subarray(0, 32)),
      chainCode: secretCopy(digest.subarray(32)),
    };
  } finally {
    wipe(digest);
  }
}

export function wipeExtendedKey({ privateKey, chainCode }: ExtendedKey): void {
  wipe(privateKey, chainCode);
}
