/**
 * AES-256-GCM (NIST SP 800-38D), the tag of 16 bytes at the end of the ciphertext.
 *
 * @module
 */

import { createCipheriv, createDecipheriv, randomFillSync, timingSafeEqual } from "node:crypto";
import { IV_LENGTH, TAG_LENGTH } from "./encrypted-data.ts";
import { secretBytes, wipe } from "./wipe.ts";

/**
 * Seal `plaintext`.
 *
 * @param key 32 bytes.
 * @param iv 12 bytes, never twice with one key.
 * @param additional what is not in the result, and without which it does not open.
 */
export function sealAesGcm(
  key: Uint8Array,
  iv: Uint8Array,
  plaintext: Uint8Array,
  additional?: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  if (additional !== undefined) cipher.setAAD(additional);
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  const sealed = new Uint8Array(plaintext.length + TAG_LENGTH);
  sealed.set(ciphertext);
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/**
 * Open what {@linkcode sealAesGcm} has sealed, and leave no trace of it.
 *
 * Node's deciphers copy what they have made, and free the first one as it is: it was found in memory (see
 * `interop/vault-memory.test.ts`). So what they are given is masked, and what they make is masked too. GCM is
 * counter mode, with counters from 2 on, and a tag; the tag is checked by sealing again, whose result is no secret.
 *
 * @returns the plaintext in secret bytes, the caller's to wipe; `undefined` if anything is not as it was.
 */
export function openAesGcm(
  key: Uint8Array,
  iv: Uint8Array,
  sealed: Uint8Array,
  additional?: Uint8Array,
): Uint8Array | undefined {
  const length = sealed.length - TAG_LENGTH;
  if (length < 0 || iv.length !== IV_LENGTH) return undefined;
  const counter = new Uint8Array(16);
  counter.set(iv);
  counter[15] = 2;
  const mask = randomFillSync(secretBytes(length));
  const masked = exclusiveOr(sealed, mask);
  const made = createDecipheriv("aes-256-ctr", key, counter).update(masked);
  const plaintext = exclusiveOr(made, mask);
  // With what was masked, the mask comes back from the sealed bytes, which are no secret.
  wipe(mask, masked, made);
  if (timingSafeEqual(sealAesGcm(key, iv, plaintext, additional), sealed)) return plaintext;
  wipe(plaintext);
  return undefined;
}

/** {@linkcode openAesGcm} at OpenSSL's full speed: a copy of the plaintext stays in freed memory. */
export function openBulkAesGcm(
  key: Uint8Array,
  iv: Uint8Array,
  sealed: Uint8Array,
  additional?: Uint8Array,
): Uint8Array | undefined {
  const end = sealed.length - TAG_LENGTH;
  if (end < 0 || iv.length !== IV_LENGTH) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, iv, { authTagLength: TAG_LENGTH });
  if (additional !== undefined) decipher.setAAD(additional);
  decipher.setAuthTag(sealed.subarray(end));
  const plaintext = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
  } catch {
    wipe(plaintext);
    return undefined;
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
}

/** As many bytes as `mask` has, in secret bytes. */
function exclusiveOr(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  const result = secretBytes(mask.length);
  for (let at = 0; at < mask.length; at += 1) result[at] = bytes[at]! ^ mask[at]!;
  return result;
}
