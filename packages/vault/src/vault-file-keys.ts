/**
 * What opens a vault file: a passphrase through argon2id (RFC 9106), or an unlock key of 32 random bytes through
 * HKDF-SHA256 (RFC 5869). Either gives a key that seals the file key.
 *
 * @module
 */

import { argon2, hkdfSync, randomBytes } from "node:crypto";
import { openAesGcm, sealAesGcm } from "./aes-gcm.ts";
import { IV_LENGTH, SALT_LENGTH } from "./encrypted-data.ts";
import {
  KEY_LENGTH,
  type PassphraseCost,
  type PassphraseSlot,
  type SealedFileKey,
  type UnlockKeySlot,
} from "./vault-file-format.ts";
import { wipe } from "./wipe.ts";

/** Longest passphrase, in bytes. */
export const MAX_PASSPHRASE = 1_024;

/** Puts the file key into a slot. Use it once, and wipe it then: `using` does. */
export interface SlotSealer<Slot> extends Disposable {
  seal(fileKey: Uint8Array): Slot;
}

/**
 * A slot for a passphrase, a new one each time.
 *
 * @throws {RangeError} for a passphrase without a byte, or above {@linkcode MAX_PASSPHRASE}.
 * @throws {Error} if the system has not the memory.
 */
export async function passphraseSealer(
  passphrase: Uint8Array,
  cost: PassphraseCost,
): Promise<SlotSealer<PassphraseSlot>> {
  const salt = randomBytes(SALT_LENGTH);
  return sealer(await passphraseKey(passphrase, salt, cost), { cost, salt });
}

/**
 * A slot for an unlock key, a new one each time.
 *
 * @throws {RangeError} unless the key has 32 bytes.
 */
export function unlockKeySealer(unlockKey: Uint8Array, label: string): SlotSealer<UnlockKeySlot> {
  const salt = randomBytes(SALT_LENGTH);
  return sealer(unlockKeyKey(unlockKey, salt), { label, salt });
}

/** The file key, the caller's to wipe; `undefined` if this is not the passphrase. Errors as {@linkcode passphraseSealer}. */
export async function openWithPassphrase(
  slot: PassphraseSlot,
  passphrase: Uint8Array,
): Promise<Uint8Array | undefined> {
  return openSlot(slot, await passphraseKey(passphrase, slot.salt, slot.cost));
}

/** The file key, the caller's to wipe; `undefined` if no slot is this key's. Errors as {@linkcode unlockKeySealer}. */
export function openWithUnlockKey(
  slots: readonly UnlockKeySlot[],
  unlockKey: Uint8Array,
): Uint8Array | undefined {
  for (const slot of slots) {
    const fileKey = openSlot(slot, unlockKeyKey(unlockKey, slot.salt));
    if (fileKey !== undefined) return fileKey;
  }
  return undefined;
}

/** Takes `key` over. */
function sealer<Rest extends { readonly salt: Uint8Array }>(
  key: Uint8Array,
  rest: Rest,
): SlotSealer<Rest & SealedFileKey> {
  return {
    seal(fileKey) {
      const iv = randomBytes(IV_LENGTH);
      return { ...rest, iv, key: sealAesGcm(key, iv, fileKey) };
    },
    [Symbol.dispose]: () => wipe(key),
  };
}

/** Takes `key` over. */
function openSlot(slot: SealedFileKey, key: Uint8Array): Uint8Array | undefined {
  try {
    return openAesGcm(key, slot.iv, slot.key);
  } finally {
    wipe(key);
  }
}

function passphraseKey(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { memory, passes, lanes }: PassphraseCost,
): Promise<Uint8Array> {
  if (passphrase.length === 0 || passphrase.length > MAX_PASSPHRASE) {
    throw new RangeError(
      `expected a passphrase of 1 to ${MAX_PASSPHRASE} bytes, got ${passphrase.length}`,
    );
  }
  const parameters = { message: passphrase, nonce: salt, memory, passes, parallelism: lanes };
  return new Promise((resolve, reject) => {
    argon2("argon2id", { ...parameters, tagLength: KEY_LENGTH }, (error, key) => {
      if (error === null) return resolve(key);
      const text = `cannot derive a key with argon2id in ${memory} KiB: ${error.message}`;
      return reject(new Error(text, { cause: error }));
    });
  });
}

function unlockKeyKey(unlockKey: Uint8Array, salt: Uint8Array): Uint8Array {
  if (unlockKey.length !== KEY_LENGTH) {
    throw new RangeError(`expected an unlock key of ${KEY_LENGTH} bytes, got ${unlockKey.length}`);
  }
  return new Uint8Array(hkdfSync("sha256", unlockKey, salt, "alknet-vault unlock key", KEY_LENGTH));
}
