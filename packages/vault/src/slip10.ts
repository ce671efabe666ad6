/**
 * Ed25519 keys from a seed: SLIP-0010, which knows hardened children only.
 *
 * What comes out is the 32-byte *seed* of RFC 8032 §5.1.5, and serves as it is for AES-256 and X25519 too.
 *
 * @module
 */

import { HARDENED } from "./derivation-path.ts";
import { type ExtendedKey, hmacHalves, masterKey, wipeExtendedKey } from "./extended-key.ts";
import { VaultError } from "./vault-error.ts";
import { secretBytes, wipe } from "./wipe.ts";

/**
 * The 32-byte private key at a path, the caller's to wipe.
 *
 * @throws {VaultError} `INVALID_PATH` if an index is not hardened, `DERIVATION_FAILED` for a bad seed.
 */
export function deriveEd25519Seed(seed: Uint8Array, path: readonly number[]): Uint8Array {
  if (path.some((index) => index < HARDENED)) {
    throw new VaultError(
      "INVALID_PATH",
      "cannot derive an Ed25519 key: each index must be hardened (SLIP-0010)",
      { hint: "for example m/74'/0'/0'/1'" },
    );
  }
  let key = masterKey("ed25519 seed", seed);
  for (const index of path) {
    const parent = key;
    key = child(parent, index);
    wipeExtendedKey(parent);
  }
  wipe(key.chainCode);
  return key.privateKey;
}

function child({ privateKey, chainCode }: ExtendedKey, index: number): ExtendedKey {
  const data = secretBytes(37);
  data.set(privateKey, 1);
  new DataView(data.buffer).setUint32(33, index);
  try {
    return hmacHalves(chainCode, data);
  } finally {
    wipe(data);
  }
}
