/**
 * The vault: one seed in memory, the keys that come from it, and what is sealed with them.
 *
 * It is locked or unlocked, and unlocked exactly while it has the seed. All is synchronous and on this thread: no
 * file, no socket, no clock but the one that is handed in.
 *
 * @module
 */

import { randomFillSync } from "node:crypto";
import { openAesGcm, openBulkAesGcm, sealAesGcm } from "./aes-gcm.ts";
import { encryptionKeyPath, ETHEREUM_PATH, formatPath, parsePath } from "./derivation-path.ts";
import { DerivedKey, ed25519PublicKey } from "./derived-key.ts";
import {
  checkEncryptedData,
  CURRENT_KEY_VERSION,
  type EncryptedData,
  IV_LENGTH,
  MAX_PLAINTEXT,
  SALT_LENGTH,
} from "./encrypted-data.ts";
import { type CachedKey, KeyCache } from "./key-cache.ts";
import { formatMnemonic, newEntropy, seedFromMnemonic, type WordCount } from "./mnemonic.ts";
import { REDACTED, redact } from "./redacted.ts";
import { deriveSecp256k1Key, secp256k1PublicKey } from "./secp256k1.ts";
import { deriveEd25519Seed } from "./slip10.ts";
import { VaultError } from "./vault-error.ts";
import { secretCopy, wipe } from "./wipe.ts";

/** Keys, tokens and passwords are smaller than this, in bytes. What is larger is opened faster, with less care. */
const MAX_TRACELESS = 4_096;

export interface VaultOptions {
  /** How long a derived key is kept, in milliseconds. @default 3_600_000 (an hour) */
  cacheTtl?: number | undefined;
  /** How many derived keys are kept. @default 64 */
  cacheSize?: number | undefined;
  /** Milliseconds that never go back. @default performance.now */
  now?: (() => number) | undefined;
}

export interface EncryptOptions {
  /** Which key, from 2 up. @default CURRENT_KEY_VERSION */
  version?: number | undefined;
  /** What the bytes belong to, `credential:github`: sealed data opens with the same context only, or with none if none was given. */
  context?: string | undefined;
}

export interface DecryptOptions {
  /** The context that was given to `encrypt`. */
  context?: string | undefined;
}

/** A locked vault. `using` locks it at the end. */
export function createVault(options: VaultOptions = {}): Vault {
  const { cacheTtl = 3_600_000, cacheSize = 64, now = () => performance.now() } = options;
  if (!(cacheTtl >= 0)) throw new RangeError(`cacheTtl must be 0 or more, got ${cacheTtl}`);
  if (!(Number.isInteger(cacheSize) && cacheSize > 0)) {
    throw new RangeError(`cacheSize must be a whole number from 1, got ${cacheSize}`);
  }
  return new Vault(new KeyCache({ ttl: cacheTtl, size: cacheSize, now }));
}

/** Made by {@linkcode createVault}. Every method that needs the seed throws `VAULT_LOCKED` without it. */
export class Vault implements Disposable {
  readonly #cache: KeyCache;
  readonly #listeners = new Set<() => void>();
  #seed: Uint8Array | undefined;

  constructor(cache: KeyCache) {
    this.#cache = cache;
  }

  get unlocked(): boolean {
    return this.#seed !== undefined;
  }

  /**
   * Unlock with a BIP39 phrase, about a millisecond. `phrase` and `passphrase` stay the caller's, to wipe.
   *
   * @throws {VaultError} `ALREADY_UNLOCKED`, `MNEMONIC_INVALID`.
   */
  unlock(phrase: Uint8Array, passphrase?: Uint8Array): void {
    this.#refuseUnlocked();
    this.#seed = seedFromMnemonic(phrase, passphrase);
  }

  /**
   * Unlock with a seed, of which a copy is taken.
   *
   * @param seed the 64 bytes of `seedFromMnemonic`.
   * @throws {VaultError} `ALREADY_UNLOCKED`, `DERIVATION_FAILED` for another length.
   */
  unlockSeed(seed: Uint8Array): void {
    this.#refuseUnlocked();
    if (seed.length !== 64) {
      throw new VaultError("DERIVATION_FAILED", `a BIP39 seed has 64 bytes, got ${seed.length}`);
    }
    this.#seed = secretCopy(seed);
  }

  /**
   * Unlock with a phrase that is made here.
   *
   * @returns the phrase, the caller's to show once and wipe. Nobody else has it: lost, it is lost.
   * @throws {VaultError} `ALREADY_UNLOCKED`.
   */
  unlockNew(words: WordCount): Uint8Array {
    this.#refuseUnlocked();
    const entropy = newEntropy(words);
    const phrase = formatMnemonic(entropy);
    wipe(entropy);
    this.unlock(phrase);
    return phrase;
  }

  /** Wipe the seed and every key in the cache. Keys that were handed out are their holders'. Twice does no harm. */
  lock(): void {
    if (this.#seed === undefined) return;
    wipe(this.#seed);
    this.#seed = undefined;
    this.#cache.clear();
    for (const listener of this.#listeners) listener();
  }

  /** Hear of each lock, after it. */
  onlock(listener: () => void): Disposable {
    // A function of its own, so that one listener may be here twice.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return { [Symbol.dispose]: () => this.#listeners.delete(entry) };
  }

  /**
   * An Ed25519 key pair (SLIP-0010).
   *
   * @throws {VaultError} `VAULT_LOCKED`, `INVALID_PATH` (each index must be hardened).
   */
  deriveEd25519(path: string): DerivedKey {
    const key = this.#ed25519(path);
    return new DerivedKey("ed25519", canonical(path), secretCopy(key.privateKey), publicKeyOf(key));
  }

  /** The 32-byte Ed25519 public key at a path. Errors as {@linkcode Vault.deriveEd25519}. */
  publicKey(path: string): Uint8Array {
    return publicKeyOf(this.#ed25519(path));
  }

  /** 32 secret bytes at a path, for AES-256 or X25519; the caller's to wipe. Errors as {@linkcode Vault.deriveEd25519}. */
  derivePrivate32(path: string): Uint8Array {
    return secretCopy(this.#ed25519(path).privateKey);
  }

  /**
   * A secp256k1 key pair (BIP-32).
   *
   * @throws {VaultError} `VAULT_LOCKED`, `INVALID_PATH`, `DERIVATION_FAILED`.
   */
  deriveEthereum(path: string = ETHEREUM_PATH): DerivedKey {
    const seed = this.#unlockedSeed();
    const key = this.#cache.use(`secp256k1 ${path}`, () =>
      deriveSecp256k1Key(seed, parsePath(path)),
    );
    key.publicKey ??= secp256k1PublicKey(key.privateKey);
    const publicKey = key.publicKey.slice();
    return new DerivedKey("secp256k1", canonical(path), secretCopy(key.privateKey), publicKey);
  }

  /**
   * Seal bytes with AES-256-GCM.
   *
   * @throws {VaultError} `VAULT_LOCKED`, `INVALID_PATH` for a version below 2.
   * @throws {RangeError} above {@linkcode MAX_PLAINTEXT}, or for an empty context.
   */
  encrypt(plaintext: Uint8Array, options: EncryptOptions = {}): EncryptedData {
    const { version = CURRENT_KEY_VERSION, context } = options;
    if (plaintext.length > MAX_PLAINTEXT) {
      throw new RangeError(`cannot seal ${plaintext.length} bytes: at most ${MAX_PLAINTEXT}`);
    }
    const key = this.#encryptionKey(version);
    const random = randomFillSync(new Uint8Array(SALT_LENGTH + IV_LENGTH));
    const salt = random.subarray(0, SALT_LENGTH);
    const iv = random.subarray(SALT_LENGTH);
    const data = sealAesGcm(key, iv, plaintext, contextBytes(context));
    return { key_version: version, salt, iv, data };
  }

  /**
   * Open what {@linkcode Vault.encrypt} has sealed.
   *
   * @returns the plaintext, in memory of its own; the caller's to wipe. Above 4 KiB, Node leaves a copy behind.
   * @throws {VaultError} `VAULT_LOCKED`, `ENCRYPTED_DATA_INVALID`, `INVALID_PATH` for version 1, `DECRYPTION_FAILED`.
   */
  decrypt(sealed: EncryptedData, { context }: DecryptOptions = {}): Uint8Array {
    checkEncryptedData(sealed);
    const key = this.#encryptionKey(sealed.key_version);
    const open = sealed.data.length > MAX_TRACELESS ? openBulkAesGcm : openAesGcm;
    const plaintext = open(key, sealed.iv, sealed.data, contextBytes(context));
    if (plaintext !== undefined) return plaintext;
    throw new VaultError(
      "DECRYPTION_FAILED",
      "cannot open sealed data: another key, another context, or changed bytes",
    );
  }

  /**
   * Seal anew with the key of another version. The old one still opens; the caller stores the new one.
   *
   * Errors as {@linkcode Vault.decrypt} and {@linkcode Vault.encrypt}.
   */
  rotate(sealed: EncryptedData, toVersion: number, options: DecryptOptions = {}): EncryptedData {
    const plaintext = this.decrypt(sealed, options);
    try {
      return this.encrypt(plaintext, { version: toVersion, context: options.context });
    } finally {
      wipe(plaintext);
    }
  }

  /** {@linkcode Vault.lock}, and its listeners go. */
  [Symbol.dispose](): void {
    this.lock();
    this.#listeners.clear();
  }

  #encryptionKey(version: number): Uint8Array {
    return this.#ed25519(encryptionKeyPath(version)).privateKey;
  }

  #ed25519(path: string): CachedKey {
    const seed = this.#unlockedSeed();
    return this.#cache.use(`ed25519 ${path}`, () => deriveEd25519Seed(seed, parsePath(path)));
  }

  #unlockedSeed(): Uint8Array {
    if (this.#seed !== undefined) return this.#seed;
    throw new VaultError("VAULT_LOCKED", "the vault is locked", {
      hint: "unlock it with its words or its file",
    });
  }

  #refuseUnlocked(): void {
    if (this.#seed === undefined) return;
    throw new VaultError("ALREADY_UNLOCKED", "the vault is unlocked already: lock it first");
  }
}

redact(Vault.prototype, ({ unlocked }) => ({ unlocked, seed: REDACTED }));

function canonical(path: string): string {
  return formatPath(parsePath(path));
}

function publicKeyOf(key: CachedKey): Uint8Array {
  key.publicKey ??= ed25519PublicKey(key.privateKey);
  return key.publicKey.slice();
}

/** Two contexts must not have the same bytes, and "none" must not be one of them. */
function contextBytes(context: string | undefined): Uint8Array | undefined {
  if (context === undefined) return undefined;
  if (context !== "" && context.isWellFormed()) return Buffer.from(context);
  throw new RangeError("a context must be well-formed text that is not empty");
}
