/**
 * What can be asked of an unlocked vault that somebody else holds: the agent itself, or a program that asks it
 * over `vault.sock`, has the same operations.
 *
 * Not among them, on purpose: the seed, the words, and private keys other than the two that the node presents.
 *
 * @module
 */

import type { EncryptedData } from "@alknet/vault/encrypted-data";
import type { VaultFileSecret } from "@alknet/vault/vault-file";
import type { NamedKey } from "@alknet/vault/vault-file-body";

/** How a vault is. */
export interface VaultStatus {
  /** Of the process that holds it. */
  readonly pid: number;
  readonly unlocked: boolean;
  /** Idle time after which it locks itself, in milliseconds; undefined: never. */
  readonly lockAfter: number | undefined;
  /** Time until it will, if nobody uses it, in milliseconds; undefined: it is locked, or never. */
  readonly locksIn: number | undefined;
}

/** How the agent is. */
export interface VaultAgentStatus extends VaultStatus {
  /** What `SSH_AUTH_SOCK` is to be set to. */
  readonly sshAgentSocket: string;
  /** Whether `ssh-add -x` has locked that socket; keys are not offered there until `ssh-add -X`. */
  readonly sshAgentLocked: boolean;
}

/** Private keys of the node, 32 bytes each (Ed25519 seeds, RFC 8032); whoever got them wipes them. */
export interface NodeKeys {
  /** `IDENTITY_PATH` */
  readonly identity: Uint8Array;
  /** `SSH_HOST_PATH` */
  readonly sshHost: Uint8Array;
}

/** `context` is what a blob is bound to, such as `credential:<provider>`; none is the same as `undefined`. */
export interface SealOptions {
  readonly context?: string | undefined;
}

/**
 * All reject with an error that has a `code`: `VAULT_LOCKED` where keys are needed and there are none, and those
 * of `@alknet/vault/vault-error`.
 */
export interface VaultOperations {
  status(): Promise<VaultStatus>;
  /** @throws `ALREADY_UNLOCKED`, `VAULT_PASSPHRASE_WRONG`, `VAULT_DAMAGED`, … */
  unlock(using: VaultFileSecret): Promise<void>;
  /** Wipe every secret. Twice is no error. */
  lock(): Promise<void>;
  /** @param lockAfter milliseconds of idle time; undefined: never. Lasts until the agent ends. */
  setLockAfter(lockAfter: number | undefined): Promise<void>;
  /** The 32-byte Ed25519 public key of `path`. */
  publicKey(path: string): Promise<Uint8Array>;
  /** The recipient of the age identity called `name`, `age1…`. */
  ageRecipient(name: string): Promise<string>;
  /** Seal up to {@linkcode MAX_AGENT_PLAINTEXT} bytes. @param options.version of the key. @default CURRENT_KEY_VERSION */
  encrypt(
    plaintext: Uint8Array,
    options?: SealOptions & { readonly version?: number | undefined },
  ): Promise<EncryptedData>;
  /** @returns bytes of the caller's, to be wiped when they were used. */
  decrypt(sealed: EncryptedData, options?: SealOptions): Promise<Uint8Array>;
  /** Seal again with the key of another version; the plaintext never leaves the agent. */
  rotate(sealed: EncryptedData, toVersion: number, options?: SealOptions): Promise<EncryptedData>;
  names(): Promise<readonly NamedKey[]>;
  /** Add a named key, or change whether `confirm` is asked. Written to the vault file before it resolves. */
  addName(key: NamedKey): Promise<void>;
  /** Take a name off the list; its key stays derivable. @returns whether it was there. */
  removeName(key: Pick<NamedKey, "kind" | "name">): Promise<boolean>;
  nodeKeys(): Promise<NodeKeys>;
}

/** The vault of an agent. */
export interface VaultAgentOperations extends VaultOperations {
  status(): Promise<VaultAgentStatus>;
}

/** The most that is sealed through an agent at once, in bytes. */
export const MAX_AGENT_PLAINTEXT: number = 2 ** 20 - 4_096;
