/**
 * A vault file that this process has open: its operations, until it is locked, by request or for want of use.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import { ageRecipient } from "@alknet/vault/age-identity";
import {
  ageKeyPath,
  IDENTITY_PATH,
  SSH_HOST_PATH,
  sshKeyPath,
} from "@alknet/vault/derivation-path";
import type { DerivedKey } from "@alknet/vault/derived-key";
import type { AgentKey } from "@alknet/vault/ssh-agent";
import { createVault } from "@alknet/vault/vault";
import { VaultError } from "@alknet/vault/vault-error";
import { openVaultFile, type OpenedVault, type VaultFileSecret } from "@alknet/vault/vault-file";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import { wipe } from "@alknet/vault/wipe";
import type { VaultOperations } from "./vault-agent-operations.ts";

export interface HeldVaultOptions {
  /** Path of the vault file. It need not be there before `unlock`. */
  readonly file: string;
  /** Idle time after which it locks itself, in milliseconds; undefined: never. */
  readonly lockAfter: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Disposing locks it. */
export interface HeldVault extends VaultOperations, Disposable {
  /** The named SSH keys, the same objects as long as nothing changes; none while it is locked. */
  sshKeys(): readonly AgentKey[];
  /** Have `listener` called after each lock; secrets are gone by then. */
  onlock(listener: () => void): Disposable;
}

/** Hold the vault in `file`; it begins locked. */
export function holdVault(options: HeldVaultOptions): HeldVault {
  const { file, clock = systemClock } = options;
  const vault = createVault();
  let { lockAfter } = options;
  /** Open for its names, and to change it; it has no seed. */
  let opened: OpenedVault | undefined;
  let sshKeys: readonly SshKey[] = [];
  let usedAt = { now: 0, wallTime: 0 };
  let timer: AbortSignal | undefined;
  let unlocking: Promise<void> = Promise.resolve();
  let waiting = 0;
  /** How often it was told to lock: what was begun before that must not open it after. */
  let locks = 0;

  vault.onlock(() => {
    opened?.[Symbol.dispose]();
    opened = undefined;
    dropSshKeys();
  });

  /** Since it was used, in milliseconds. Time that a machine slept counts: only its wall clock knows of it. */
  function idle(): number {
    return Math.max(clock.now() - usedAt.now, clock.wallTime() - usedAt.wallTime);
  }

  function used(): void {
    usedAt = { now: clock.now(), wallTime: clock.wallTime() };
  }

  function lockIfIdle(): void {
    if (lockAfter !== undefined && vault.unlocked && idle() >= lockAfter) vault.lock();
  }

  /** One timer counts, the last; it finds out for itself whether it was for nothing. */
  function watch(): void {
    lockIfIdle();
    if (lockAfter === undefined || !vault.unlocked) return;
    // Looks now and then, for a machine that has slept does so by its wall clock.
    const next = clock.timeout(Math.ceil(Math.min(lockAfter - idle(), LONGEST_LOOK)));
    timer = next;
    const isOver = (): void => {
      if (timer === next) watch();
    };
    next.addEventListener("abort", isOver, { once: true });
  }

  /** What is open. To ask for what is public is no use, for a status line does so every minute. @throws `VAULT_LOCKED` */
  function look(): OpenedVault {
    lockIfIdle();
    if (opened === undefined) throw locked();
    return opened;
  }

  /** What is open, for what counts as use. @throws `VAULT_LOCKED` */
  function open(): OpenedVault {
    const found = look();
    used();
    return found;
  }

  function lock(): void {
    locks += 1;
    vault.lock();
  }

  /** @param asked `locks` as of when it was asked for. */
  async function unlock(using: VaultFileSecret, asked: number): Promise<void> {
    if (asked !== locks) throw locked();
    lockIfIdle();
    // Before argon2id is asked, which takes a while.
    if (vault.unlocked) throw alreadyUnlocked();
    const found = await openVaultFile(file, using);
    try {
      if (asked !== locks) throw locked();
      vault.unlockSeed(found.seed);
    } catch (error) {
      found[Symbol.dispose]();
      throw error;
    }
    found.forgetSecrets();
    opened = found;
    used();
    watch();
  }

  function currentSshKeys(): readonly AgentKey[] {
    lockIfIdle();
    if (opened === undefined) return [];
    const names = opened.names.filter(({ kind }) => kind === "ssh");
    const isSame = ({ name, confirm }: NamedKey, at: number): boolean =>
      sshKeys[at]?.comment === name && sshKeys[at].confirm === confirm;
    if (names.length === sshKeys.length && names.every(isSame)) return sshKeys;
    dropSshKeys();
    sshKeys = names.map(({ name, confirm }) =>
      sshKey(name, confirm, vault.deriveEd25519(sshKeyPath(name)), used),
    );
    return sshKeys;
  }

  function dropSshKeys(): void {
    for (const { derived } of sshKeys) derived[Symbol.dispose]();
    sshKeys = [];
  }

  return {
    async status() {
      lockIfIdle();
      const left =
        lockAfter === undefined ? undefined : Math.max(0, Math.round(lockAfter - idle()));
      return {
        pid: process.pid,
        unlocked: vault.unlocked,
        lockAfter,
        locksIn: vault.unlocked ? left : undefined,
      };
    },
    unlock(using) {
      if (waiting === MAX_WAITING) return Promise.reject(tooMany());
      waiting += 1;
      const asked = locks;
      // One after the other: each takes all the memory that argon2id is given.
      const mine = unlocking.then(() => unlock(using, asked)).finally(() => (waiting -= 1));
      unlocking = mine.catch(() => {});
      return mine;
    },
    async lock() {
      lock();
    },
    async setLockAfter(milliseconds) {
      lockAfter = milliseconds;
      watch();
    },
    async publicKey(path) {
      look();
      return vault.publicKey(path);
    },
    async ageRecipient(name) {
      look();
      const secret = vault.derivePrivate32(ageKeyPath(name));
      try {
        return ageRecipient(secret);
      } finally {
        wipe(secret);
      }
    },
    async encrypt(plaintext, sealing) {
      open();
      return vault.encrypt(plaintext, sealing);
    },
    async decrypt(sealed, sealing) {
      open();
      return vault.decrypt(sealed, sealing);
    },
    async rotate(sealed, toVersion, sealing) {
      open();
      return vault.rotate(sealed, toVersion, sealing);
    },
    async names() {
      return look().names;
    },
    async addName(key) {
      await open().addName(key);
    },
    async removeName({ kind, name }) {
      return await open().removeName(kind, name);
    },
    async nodeKeys() {
      open();
      return {
        identity: vault.derivePrivate32(IDENTITY_PATH),
        sshHost: vault.derivePrivate32(SSH_HOST_PATH),
      };
    },
    sshKeys: currentSshKeys,
    onlock: (listener) => vault.onlock(listener),
    [Symbol.dispose]() {
      lock();
    },
  };
}

/** Between two looks at the clock, in milliseconds. */
const LONGEST_LOOK = 60_000;

/** Attempts to unlock that wait for their turn; more are refused. */
const MAX_WAITING = 16;

interface SshKey extends AgentKey {
  readonly derived: DerivedKey;
}

/** @param used hears of each signature. */
function sshKey(name: string, confirm: boolean, derived: DerivedKey, used: () => void): SshKey {
  return {
    comment: name,
    confirm,
    derived,
    publicKey: derived.publicKey,
    sign(data) {
      used();
      return derived.sign(data);
    },
  };
}

function locked(): VaultError {
  return new VaultError("VAULT_LOCKED", "the vault is locked", { hint: "alknet vault unlock" });
}

function tooMany(): VaultError {
  return new VaultError("VAULT_BUSY", `${MAX_WAITING} others are unlocking the vault already`);
}

function alreadyUnlocked(): VaultError {
  return new VaultError("ALREADY_UNLOCKED", "the vault is unlocked already", {
    hint: "alknet vault lock",
  });
}
