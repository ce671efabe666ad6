/**
 * The text of a vault file: JSON in the one spelling that {@linkcode formatVaultFile} gives it.
 *
 *     { "format": "alknet-vault", "version": 1,
 *       "passphrase": { "kdf": "argon2id", "memory_kib", "passes", "lanes", "salt", "iv", "key" },
 *       "unlock_keys": [ { "label", "salt", "iv", "key" }, … ],
 *       "iv", "body", "sha256" }
 *
 * A random file key of 32 bytes seals the body; `key` is that file key, sealed with a key that comes from the
 * passphrase or from an unlock key. All sealing is AES-256-GCM. What is additional data to the body is the text of
 * all that stands before it ({@linkcode headOf}), so nothing of the file can be changed or left out.
 *
 * `sha256` is of all that stands before it. It proves nothing: it tells a damaged file from a wrong passphrase.
 *
 * Pure: no I/O, no clock, no random number.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { NAMED_KEY } from "./derivation-path.ts";
import { IV_LENGTH, SALT_LENGTH, TAG_LENGTH } from "./encrypted-data.ts";
import { VaultError } from "./vault-error.ts";

/** Longest file, in bytes. */
export const MAX_VAULT_FILE: number = 64 * 1024;
/** Most unlock keys that a file has. */
export const MAX_UNLOCK_KEYS = 16;
/** Of the file key and of unlock keys, in bytes. */
export const KEY_LENGTH = 32;

const FORMAT = "alknet-vault";
const VERSION = 1;

/** What argon2id (RFC 9106) costs whoever guesses, and us at each unlock. */
export interface PassphraseCost {
  /** In KiB, 65,536 (64 MiB) to 4,194,304 (4 GiB). */
  readonly memory: number;
  /** 3 to 100. */
  readonly passes: number;
  /** 1 to 64. */
  readonly lanes: number;
}

/** RFC 9106 §4, the second recommended option: 64 MiB, 3 passes, 4 lanes; about 0.2 s. */
export const DEFAULT_COST: PassphraseCost = { memory: 65_536, passes: 3, lanes: 4 };

const COST_LIMITS: Record<keyof PassphraseCost, readonly [least: number, most: number]> = {
  memory: [65_536, 4_194_304],
  passes: [3, 100],
  lanes: [1, 64],
};

/** The file key, sealed with a key that comes from another secret and `salt`. */
export interface SealedFileKey {
  /** 32 bytes. */
  readonly salt: Uint8Array;
  /** 12 bytes. */
  readonly iv: Uint8Array;
  /** 48 bytes: the file key and the tag. */
  readonly key: Uint8Array;
}

export interface PassphraseSlot extends SealedFileKey {
  readonly cost: PassphraseCost;
}

export interface UnlockKeySlot extends SealedFileKey {
  /** Which of the unlock keys, as {@linkcode NAMED_KEY} allows it; each once. */
  readonly label: string;
}

/** All of a file but its body. */
export interface VaultFileHead {
  readonly passphrase: PassphraseSlot;
  /** At most {@linkcode MAX_UNLOCK_KEYS}. */
  readonly unlockKeys: readonly UnlockKeySlot[];
}

export interface SealedVaultFile extends VaultFileHead {
  /** 12 bytes. */
  readonly iv: Uint8Array;
  /** Ciphertext and tag. */
  readonly body: Uint8Array;
}

/** The additional data of the body. */
export function headOf(file: VaultFileHead): Uint8Array {
  return Buffer.from(JSON.stringify(headJson(file)));
}

/** The file's text, ASCII. */
export function formatVaultFile(file: SealedVaultFile): string {
  const json = { ...headJson(file), iv: base64(file.iv), body: base64(file.body) };
  const sha256 = createHash("sha256").update(JSON.stringify(json)).digest("base64");
  return `${JSON.stringify({ ...json, sha256 }, undefined, 2)}\n`;
}

/**
 * Read a file's text.
 *
 * Strict: only the very text that {@linkcode formatVaultFile} writes, so one changed bit, a space, a key too many
 * or twice are refused.
 *
 * @throws {VaultError} `VAULT_DAMAGED`, `VAULT_VERSION_UNKNOWN`. The text does not quote the file.
 */
export function parseVaultFile(text: string): SealedVaultFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw damaged("it is not JSON");
  }
  const { format, version, passphrase, unlock_keys: unlockKeys, iv, body } = fields(json);
  if (format !== FORMAT) throw damaged(`"format" is not "${FORMAT}"`);
  if (!Number.isSafeInteger(version)) throw damaged(`"version" is not a whole number`);
  if (version !== VERSION) throw unknownVersion(version as number);
  const file = {
    passphrase: passphraseSlot(fields(passphrase)),
    unlockKeys: unlockKeySlots(unlockKeys),
    iv: bytes("iv", iv, IV_LENGTH),
    body: bytes("body", body),
  };
  // One comparison for all that is not looked at above: spaces, spelling, other keys, the hash.
  if (formatVaultFile(file) === text) return file;
  throw damaged("it is not as it was written");
}

/** @throws {RangeError} for a cost outside of what {@linkcode PassphraseCost} says. */
export function checkCost(cost: PassphraseCost): void {
  for (const [name, [least, most]] of Object.entries(COST_LIMITS)) {
    const value = cost[name as keyof PassphraseCost];
    if (Number.isInteger(value) && value >= least && value <= most) continue;
    throw new RangeError(`expected ${name} of argon2id to be ${least} to ${most}, got ${value}`);
  }
}

function headJson({ passphrase, unlockKeys }: VaultFileHead): object {
  const { memory, passes, lanes } = passphrase.cost;
  return {
    format: FORMAT,
    version: VERSION,
    passphrase: {
      ...{ kdf: "argon2id", memory_kib: memory, passes, lanes },
      ...sealedKeyJson(passphrase),
    },
    unlock_keys: unlockKeys.map((slot) => ({ label: slot.label, ...sealedKeyJson(slot) })),
  };
}

function sealedKeyJson({ salt, iv, key }: SealedFileKey): object {
  return { salt: base64(salt), iv: base64(iv), key: base64(key) };
}

function passphraseSlot(json: Record<string, unknown>): PassphraseSlot {
  const { memory_kib: memory, passes, lanes } = json;
  if (typeof memory !== "number" || typeof passes !== "number" || typeof lanes !== "number") {
    throw damaged("a cost of argon2id is not a number");
  }
  const cost = { memory, passes, lanes };
  try {
    // Before a passphrase is tried: a file must not make us take any memory or time it likes.
    checkCost(cost);
  } catch (error) {
    throw damaged((error as RangeError).message);
  }
  return { cost, ...sealedFileKey(json) };
}

function unlockKeySlots(json: unknown): UnlockKeySlot[] {
  if (!Array.isArray(json) || json.length > MAX_UNLOCK_KEYS) {
    throw damaged(`"unlock_keys" is not a list of at most ${MAX_UNLOCK_KEYS}`);
  }
  const slots = json.map((each: unknown) => {
    const slot = fields(each);
    if (typeof slot["label"] !== "string" || !NAMED_KEY.test(slot["label"])) {
      throw damaged("an unlock key has no good label");
    }
    return { label: slot["label"], ...sealedFileKey(slot) };
  });
  if (new Set(slots.map((slot) => slot.label)).size === slots.length) return slots;
  throw damaged("two unlock keys have one label");
}

function sealedFileKey({ salt, iv, key }: Record<string, unknown>): SealedFileKey {
  return {
    salt: bytes("salt", salt, SALT_LENGTH),
    iv: bytes("iv", iv, IV_LENGTH),
    key: bytes("key", key, KEY_LENGTH + TAG_LENGTH),
  };
}

function fields(json: unknown): Record<string, unknown> {
  if (typeof json === "object" && json !== null) return json as Record<string, unknown>;
  throw damaged("an object is missing");
}

/** Any base64; that it is spelt as we spell it shows when the whole is compared. */
function bytes(name: string, text: unknown, length?: number): Uint8Array {
  if (typeof text !== "string") throw damaged(`"${name}" is not text`);
  const found = Buffer.from(text, "base64");
  if (length === undefined || found.length === length) return found;
  throw damaged(`"${name}" has ${found.length} bytes; expected ${length}`);
}

function base64(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.length).toString("base64");
}

/** The text is one that {@linkcode formatVaultFile} has not written; to be completed with the file's path. */
export function damaged(reason: string): VaultError {
  return new VaultError("VAULT_DAMAGED", `it is damaged: ${reason}`, {
    hint: "restore it from a backup, or move it away and make it anew from its words: alknet vault import",
  });
}

function unknownVersion(version: number): VaultError {
  const text = `it is of version ${version}; this Alknet knows version ${VERSION}`;
  const hint = "use the version of Alknet that wrote it, or a newer one";
  return new VaultError("VAULT_VERSION_UNKNOWN", text, { hint });
}
