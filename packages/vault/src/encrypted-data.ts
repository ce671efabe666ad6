/**
 * Sealed bytes: four fields, of which the shape is frozen.
 *
 *     key_version  2 and up: which key (`encryptionKeyPath`); 1 was another program's, and is only told apart
 *     salt         32 random bytes; without a role, kept as they are
 *     iv           12 bytes, fresh for each encryption
 *     data         AES-256-GCM ciphertext and, at its end, the tag of 16 bytes
 *
 * In JSON, bytes are base64 (RFC 4648 §4, with padding); in a database they are bytes.
 *
 * @module
 */

import { refuseRedacted } from "./redacted.ts";
import { VaultError } from "./vault-error.ts";

/** The version that is sealed with where none is named. */
export const CURRENT_KEY_VERSION = 2;
/** Of {@linkcode EncryptedData.salt}, in bytes. */
export const SALT_LENGTH = 32;
/** Of {@linkcode EncryptedData.iv}, in bytes. */
export const IV_LENGTH = 12;
/** Of the tag at the end of {@linkcode EncryptedData.data}, in bytes. */
export const TAG_LENGTH = 16;
/** The most that is sealed at once, in bytes. */
export const MAX_PLAINTEXT: number = 16 * 2 ** 20;
/** Versions end where hardened indices do. */
export const MAX_KEY_VERSION: number = 2 ** 31 + 1;

/** Bytes sealed by a vault; see this file's head. */
export interface EncryptedData {
  readonly key_version: number;
  readonly salt: Uint8Array;
  readonly iv: Uint8Array;
  readonly data: Uint8Array;
}

/** {@linkcode EncryptedData} as JSON has it. */
export interface EncryptedDataJson {
  readonly key_version: number;
  readonly salt: string;
  readonly iv: string;
  readonly data: string;
}

/** For `JSON.stringify`; {@linkcode parseEncryptedData} reads it back. */
export function encryptedDataToJson(sealed: EncryptedData): EncryptedDataJson {
  return {
    key_version: sealed.key_version,
    salt: base64(sealed.salt),
    iv: base64(sealed.iv),
    data: base64(sealed.data),
  };
}

/**
 * Read what {@linkcode encryptedDataToJson} has made and `JSON.parse` has parsed.
 *
 * Strict: these four keys and no other, lengths as above, base64 in its one canonical form.
 *
 * @throws {VaultError} `ENCRYPTED_DATA_INVALID`, `REDACTED_INPUT`.
 */
export function parseEncryptedData(json: unknown): EncryptedData {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw invalid("expected an object");
  }
  const { key_version: version, salt, iv, data, ...others } = json as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw invalid(`unknown key ${JSON.stringify(unknown.slice(0, 40))}`);
  }
  const sealed = {
    key_version: version as number,
    salt: bytesOf("salt", salt),
    iv: bytesOf("iv", iv),
    data: bytesOf("data", data),
  };
  checkEncryptedData(sealed);
  return sealed;
}

/**
 * Check versions and lengths, as of rows from a database.
 *
 * @throws {VaultError} `ENCRYPTED_DATA_INVALID`.
 */
export function checkEncryptedData({ key_version: version, salt, iv, data }: EncryptedData): void {
  if (!Number.isInteger(version) || version < 1 || version > MAX_KEY_VERSION) {
    throw invalid("key_version must be a whole number from 1");
  }
  if (salt.length !== SALT_LENGTH) {
    throw invalid(`salt must have ${SALT_LENGTH} bytes, got ${salt.length}`);
  }
  if (iv.length !== IV_LENGTH) throw invalid(`iv must have ${IV_LENGTH} bytes, got ${iv.length}`);
  if (data.length < TAG_LENGTH || data.length > MAX_PLAINTEXT + TAG_LENGTH) {
    throw invalid(
      `data must have ${TAG_LENGTH} to ${MAX_PLAINTEXT + TAG_LENGTH} bytes, got ${data.length}`,
    );
  }
}

function bytesOf(key: string, text: unknown): Uint8Array {
  if (typeof text !== "string") throw invalid(`${key} must be base64 text`);
  refuseRedacted(text, `${key} of sealed data`);
  // Before decoding: the longest that could still be good.
  if (text.length > Math.ceil((MAX_PLAINTEXT + TAG_LENGTH) / 3) * 4) {
    throw invalid(`${key} is too long`);
  }
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  // Node skips what is no base64: only what encodes to the same text was base64 all through.
  if (base64(bytes) !== text) throw invalid(`${key} must be base64 with padding`);
  return bytes;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

function invalid(reason: string): VaultError {
  return new VaultError("ENCRYPTED_DATA_INVALID", `cannot read sealed data: ${reason}`);
}
