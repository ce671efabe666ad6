/**
 * The vault file, `vault.json`: a seed, the words' entropy and the names of keys, sealed.
 *
 * A passphrase opens it, and so does each of its unlock keys, which machines keep where no person is. Whoever can
 * open it has everything in it. Its layout: `vault-file-format.ts`.
 *
 * Every change is made to the file as it is then, under a lock: two programs that change it at once both get what
 * they wanted, also where one has had it open for days.
 *
 * @module
 */

import { randomBytes, randomFillSync } from "node:crypto";
import * as fs from "node:fs";
import { openAesGcm, sealAesGcm } from "./aes-gcm.ts";
import { NAMED_KEY } from "./derivation-path.ts";
import { IV_LENGTH } from "./encrypted-data.ts";
import { REDACTED, redact } from "./redacted.ts";
import type { VaultError } from "./vault-error.ts";
import {
  decodeBody,
  encodeBody,
  type NamedKey,
  type NamedKeyKind,
  secretsProblem,
  type VaultSecrets,
} from "./vault-file-body.ts";
import { ofFile, readVaultFile, vaultFileError, writeVaultFile } from "./vault-file-disk.ts";
import {
  checkCost,
  damaged,
  DEFAULT_COST,
  headOf,
  KEY_LENGTH,
  MAX_UNLOCK_KEYS,
  type PassphraseCost,
  type SealedVaultFile,
  type VaultFileHead,
} from "./vault-file-format.ts";
import {
  openWithPassphrase,
  openWithUnlockKey,
  passphraseSealer,
  unlockKeySealer,
} from "./vault-file-keys.ts";
import { whileLocked } from "./vault-file-lock.ts";
import { secretBytes, secretCopy, wipe } from "./wipe.ts";

/** What can be seen of a vault file while it is locked. */
export interface VaultFileSummary {
  /** What a guess at the passphrase costs. */
  readonly cost: PassphraseCost;
  /** Labels of the unlock keys. */
  readonly unlockKeys: readonly string[];
}

/** One of the two; they stay the caller's, to wipe. */
export type VaultFileSecret =
  | { readonly passphrase: Uint8Array; readonly unlockKey?: undefined }
  | { readonly unlockKey: Uint8Array; readonly passphrase?: undefined };

/**
 * What can be said of the file at `path` without opening it.
 *
 * @throws {VaultError} as {@linkcode openVaultFile}, but for wrong secrets.
 */
export function inspectVaultFile(path: string): VaultFileSummary {
  return summaryOf(readVaultFile(path));
}

/**
 * Make a vault file, 0600, in a folder that is there.
 *
 * @param secrets stay the caller's, to wipe; as does `passphrase`, once the promise is settled.
 * @param passphrase 1 to 1,024 bytes, taken as they are: no Unicode normalisation.
 * @param cost @default DEFAULT_COST
 * @returns the file, open; the caller disposes of it.
 * @throws {VaultError} `VAULT_EXISTS`, which leaves the file alone; `VAULT_BUSY`, `VAULT_UNREADABLE`.
 * @throws {RangeError} for secrets, a passphrase or a cost outside of what is allowed.
 */
export async function createVaultFile(
  path: string,
  secrets: VaultSecrets,
  passphrase: Uint8Array,
  cost: PassphraseCost = DEFAULT_COST,
): Promise<OpenedVault> {
  checkCost(cost);
  const problem = secretsProblem(secrets);
  if (problem !== undefined) throw new RangeError(problem);
  using sealer = await passphraseSealer(passphrase, cost);
  const fileKey = randomFillSync(secretBytes(KEY_LENGTH));
  try {
    const file = sealFile({ passphrase: sealer.seal(fileKey), unlockKeys: [] }, secrets, fileKey);
    await whileLocked(path, () => {
      if (fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
        throw vaultFileError("VAULT_EXISTS", path, "it is there already", {
          hint: "open it (alknet vault unlock), or move it away first: without its words, what it sealed is lost",
        });
      }
      writeVaultFile(path, file);
    });
    const { entropy, seed } = secrets;
    const copies = { ...secrets, entropy: secretCopy(entropy), seed: secretCopy(seed) };
    return new OpenedVault(path, fileKey, file, copies);
  } catch (error) {
    wipe(fileKey);
    throw error;
  }
}

/**
 * Open the vault file at `path`: what argon2id takes for a passphrase, a millisecond for an unlock key.
 *
 * @returns the file, open; the caller disposes of it.
 * @throws {VaultError} `VAULT_PASSPHRASE_WRONG`, `UNLOCK_KEY_WRONG`, `VAULT_DAMAGED`, `VAULT_VERSION_UNKNOWN`,
 *   `VAULT_PERMISSIONS`, `VAULT_MISSING`, `VAULT_UNREADABLE` (a link, no regular file, above 64 KiB, or the system
 *   refuses).
 * @throws {RangeError} for a passphrase or an unlock key of a length that none has.
 */
export async function openVaultFile(path: string, secret: VaultFileSecret): Promise<OpenedVault> {
  const file = readVaultFile(path);
  const fileKey =
    secret.passphrase === undefined
      ? openWithUnlockKey(file.unlockKeys, secret.unlockKey)
      : await openWithPassphrase(file.passphrase, secret.passphrase);
  if (fileKey === undefined) throw wrongSecret(path, file, secret);
  const secrets = openBody(file, fileKey);
  if (secrets !== undefined) return new OpenedVault(path, fileKey, file, secrets);
  wipe(fileKey);
  throw ofFile(path, damaged("some of it was changed, and its hash was made to fit"));
}

/**
 * A vault file that is open; made by {@linkcode openVaultFile} and {@linkcode createVaultFile}.
 *
 * It holds the file key until it is disposed of, and reads the file again for each change. `names`, `unlockKeys` and
 * `cost` are as of opening or of the last change made here.
 *
 * Changes reject with `VAULT_LOCKED` after dispose, `VAULT_CHANGED` if another vault is in the place of this one,
 * `VAULT_BUSY`, and what {@linkcode openVaultFile} throws of the file; what was there is then still there. Copies of
 * the file from before a change, backups too, open as they did.
 */
export class OpenedVault implements Disposable {
  readonly #path: string;
  #fileKey: Uint8Array | undefined;
  #secrets: VaultSecrets | undefined;
  #names: readonly NamedKey[];
  #summary: VaultFileSummary;

  /** Takes over `fileKey` and `secrets`. */
  constructor(path: string, fileKey: Uint8Array, file: VaultFileHead, secrets: VaultSecrets) {
    this.#path = path;
    this.#fileKey = fileKey;
    this.#secrets = secrets;
    this.#names = secrets.names;
    this.#summary = summaryOf(file);
  }

  get path(): string {
    return this.#path;
  }

  /** Not a copy: zeros after dispose. @throws {VaultError} `VAULT_LOCKED` once forgotten. */
  get entropy(): Uint8Array {
    return this.#held(this.#secrets).entropy;
  }

  /** Not a copy: zeros after dispose. @throws {VaultError} `VAULT_LOCKED` once forgotten. */
  get seed(): Uint8Array {
    return this.#held(this.#secrets).seed;
  }

  /** Whether the words alone do not give the seed. @throws {VaultError} `VAULT_LOCKED` once forgotten. */
  get passphraseUsed(): boolean {
    return this.#held(this.#secrets).passphraseUsed;
  }

  /** The named keys, in the order in which they came. */
  get names(): readonly NamedKey[] {
    return this.#names;
  }

  /** Labels of the unlock keys. */
  get unlockKeys(): readonly string[] {
    return this.#summary.unlockKeys;
  }

  get cost(): PassphraseCost {
    return this.#summary.cost;
  }

  /** Add a named key, or change whether it is confirmed. @throws {RangeError} for what is no name, or one above 256. */
  async addName(key: NamedKey): Promise<void> {
    await this.#change((now) => ({ ...now, names: [...without(now.names, key), { ...key }] }));
  }

  /** Forget a name; its key comes back with it. @returns false if it is not there. */
  async removeName(kind: NamedKeyKind, name: string): Promise<boolean> {
    let found = false;
    await this.#change((now) => {
      const names = without(now.names, { kind, name });
      found = names.length < now.names.length;
      return found ? { ...now, names } : undefined;
    });
    return found;
  }

  /**
   * Open with `passphrase` from now on, and no longer with the one before.
   *
   * @param passphrase as for {@linkcode createVaultFile}.
   * @param cost @default the one of the file
   * @throws {RangeError} for a passphrase or a cost outside of what is allowed.
   */
  async changePassphrase(passphrase: Uint8Array, cost: PassphraseCost = this.cost): Promise<void> {
    checkCost(cost);
    using sealer = await passphraseSealer(passphrase, cost);
    await this.#change((now, fileKey) => ({ ...now, passphrase: sealer.seal(fileKey) }));
  }

  /**
   * Make an unlock key.
   *
   * @param label what it is called, by the rule of named keys: `boot`.
   * @returns 32 secret bytes, the caller's to store where only its machine can read them, and to wipe.
   * @throws {RangeError} for a label that is taken or no name, or a seventeenth key.
   */
  async addUnlockKey(label: string): Promise<Uint8Array> {
    const unlockKey = randomFillSync(secretBytes(KEY_LENGTH));
    using sealer = unlockKeySealer(unlockKey, label);
    try {
      await this.#change((now, fileKey) => {
        refuseLabel(label, now.unlockKeys);
        return { ...now, unlockKeys: [...now.unlockKeys, sealer.seal(fileKey)] };
      });
    } catch (error) {
      wipe(unlockKey);
      throw error;
    }
    return unlockKey;
  }

  /** Open with this unlock key no longer. @returns false if there is none of that label. */
  async removeUnlockKey(label: string): Promise<boolean> {
    let found = false;
    await this.#change((now) => {
      const unlockKeys = now.unlockKeys.filter((slot) => slot.label !== label);
      found = unlockKeys.length < now.unlockKeys.length;
      return found ? { ...now, unlockKeys } : undefined;
    });
    return found;
  }

  /** Wipe entropy and seed; changes can still be made. For who has taken the seed and stays: the agent. */
  forgetSecrets(): void {
    wipe(this.#secrets?.entropy, this.#secrets?.seed);
    this.#secrets = undefined;
  }

  /** Wipe all. */
  [Symbol.dispose](): void {
    this.forgetSecrets();
    wipe(this.#fileKey);
    this.#fileKey = undefined;
  }

  /** @param change returns what is to be, or `undefined` to leave the file as it is. */
  async #change(
    change: (now: Changeable, fileKey: Uint8Array) => Changeable | undefined,
  ): Promise<void> {
    await whileLocked(this.#path, () => {
      // Only now: it may have been disposed of while we waited.
      const fileKey = this.#held(this.#fileKey);
      const file = readVaultFile(this.#path);
      const secrets = openBody(file, fileKey);
      if (secrets === undefined) {
        throw vaultFileError("VAULT_CHANGED", this.#path, "it is not the one that was opened", {
          hint: "lock the vault and unlock it again: alknet vault lock; alknet vault unlock",
        });
      }
      try {
        const now = { ...file, names: secrets.names };
        const next = change(now, fileKey) ?? now;
        const changed = { ...secrets, names: next.names };
        const problem = secretsProblem(changed);
        if (problem !== undefined) throw new RangeError(problem);
        if (next !== now) writeVaultFile(this.#path, sealFile(next, changed, fileKey));
        this.#names = next.names;
        this.#summary = summaryOf(next);
      } finally {
        wipe(secrets.entropy, secrets.seed);
      }
    });
  }

  #held<T>(secret: T | undefined): T {
    if (secret !== undefined) return secret;
    throw vaultFileError("VAULT_LOCKED", this.#path, "it was locked", {
      hint: "alknet vault unlock",
    });
  }
}

redact(OpenedVault.prototype, ({ path, names, unlockKeys, cost }) => ({
  ...{ path, names, unlockKeys, cost },
  ...{ entropy: REDACTED, seed: REDACTED },
}));

/** What of a file can be changed. */
type Changeable = VaultFileHead & Pick<VaultSecrets, "names">;

function sealFile(
  head: VaultFileHead,
  secrets: VaultSecrets,
  fileKey: Uint8Array,
): SealedVaultFile {
  const { passphrase, unlockKeys } = head;
  const iv = randomBytes(IV_LENGTH);
  const plain = encodeBody(secrets);
  try {
    return { passphrase, unlockKeys, iv, body: sealAesGcm(fileKey, iv, plain, headOf(head)) };
  } finally {
    wipe(plain);
  }
}

/** @returns secrets that the caller wipes; `undefined` if the file is not of this key, or was changed. */
function openBody(file: SealedVaultFile, fileKey: Uint8Array): VaultSecrets | undefined {
  const plain = openAesGcm(fileKey, file.iv, file.body, headOf(file));
  try {
    return plain && decodeBody(plain);
  } finally {
    wipe(plain);
  }
}

function wrongSecret(
  path: string,
  { unlockKeys }: VaultFileHead,
  secret: VaultFileSecret,
): VaultError {
  if (secret.passphrase !== undefined) {
    return vaultFileError("VAULT_PASSPHRASE_WRONG", path, "the passphrase is wrong", {
      hint: "try again; lost, the words give everything back: alknet vault import",
    });
  }
  const labels = unlockKeys.map(({ label }) => `"${label}"`).join(", ") || "none";
  const found = `the unlock key does not open it: the file's are ${labels}`;
  return vaultFileError("UNLOCK_KEY_WRONG", path, found, {
    hint: "unlock with the passphrase, and make another: alknet vault unlock-key add",
  });
}

function refuseLabel(label: string, taken: VaultFileHead["unlockKeys"]): void {
  if (!NAMED_KEY.test(label)) {
    throw new RangeError(
      `cannot use label ${JSON.stringify(label.slice(0, 80))}: expected up to 63 of a-z, 0-9, ".", "_" and "-"`,
    );
  }
  if (taken.some((slot) => slot.label === label)) {
    throw new RangeError(`there is an unlock key "${label}" already`);
  }
  if (taken.length >= MAX_UNLOCK_KEYS) {
    throw new RangeError(`there are ${MAX_UNLOCK_KEYS} unlock keys already; remove one first`);
  }
}

function without(
  names: readonly NamedKey[],
  { kind, name }: Pick<NamedKey, "kind" | "name">,
): NamedKey[] {
  return names.filter((each) => each.kind !== kind || each.name !== name);
}

function summaryOf({ passphrase, unlockKeys }: VaultFileHead): VaultFileSummary {
  return { cost: passphrase.cost, unlockKeys: unlockKeys.map(({ label }) => label) };
}
