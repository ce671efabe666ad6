/**
 * Credentials between the vault, which seals and opens them, and the store, which keeps what is sealed.
 *
 * @module
 */

import { type CredentialStore, credentialContext } from "@alknet/core/credential-store";
import type { IdentityProblem } from "@alknet/core/identity-holder";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { EncryptedData } from "@alknet/core/store-backend";
import { MAX_SEALED } from "@alknet/core/store-rules";
import {
  CURRENT_KEY_VERSION,
  IV_LENGTH,
  MAX_KEY_VERSION,
  SALT_LENGTH,
  TAG_LENGTH,
} from "@alknet/vault/encrypted-data";
import { CommandError } from "./command-error.ts";
import type { VaultOperations } from "./vault-agent-operations.ts";

/** Longest secret that can be kept, in bytes. */
export const MAX_SECRET: number = MAX_SEALED - SALT_LENGTH - IV_LENGTH - TAG_LENGTH;

/** Seal a secret under the version that all others have come to. */
export async function sealCredential(
  vault: Pick<VaultOperations, "encrypt">,
  credentials: Pick<CredentialStore, "list">,
  provider: string,
  secret: Uint8Array,
): Promise<EncryptedData> {
  const context = credentialContext(provider);
  return await vault.encrypt(secret, { context, version: newestVersion(credentials) });
}

/**
 * The secret; the caller wipes it.
 *
 * @throws {CommandError} with the vault's `code` if it does not open.
 */
export async function openCredential(
  vault: Pick<VaultOperations, "decrypt">,
  provider: string,
  value: EncryptedData,
): Promise<Uint8Array> {
  const context = credentialContext(provider);
  return await vault.decrypt(value, { context }).catch((error) => doesNotOpen(provider, error));
}

/** Seal a secret for another version. Errors as {@linkcode openCredential}. */
export async function resealCredential(
  vault: Pick<VaultOperations, "rotate">,
  provider: string,
  value: EncryptedData,
  version: number,
): Promise<EncryptedData> {
  const context = credentialContext(provider);
  const resealed = vault.rotate(value, version, { context });
  return await resealed.catch((error) => doesNotOpen(provider, error));
}

/** Version of the key that credentials are sealed under: that of the newest, or of a vault that has none. */
export function newestVersion(credentials: Pick<CredentialStore, "list">): number {
  const versions = credentials.list().map(({ value }) => value.key_version);
  // What no vault can have written does not count.
  return Math.max(CURRENT_KEY_VERSION, ...versions.filter((it) => it <= MAX_KEY_VERSION));
}

/** Rows of credentials that cannot be used. */
export function credentialProblems({
  problems,
}: Pick<IdentityStore, "problems">): readonly IdentityProblem[] {
  return problems.filter(({ subject }) => subject.startsWith("credential "));
}

/** What is about the row, and not about the vault, is said with the name of the row. */
function doesNotOpen(provider: string, error: unknown): never {
  const { code, message } = error as { code?: unknown; message: string };
  if (typeof code !== "string" || !OF_THE_ROW.includes(code)) throw error;
  throw new CommandError(`credential ${provider}: ${message}`, {
    code,
    cause: error,
    hint: `if another vault has sealed it, or it is damaged, set it again: alknet credential set ${provider}`,
  });
}

const OF_THE_ROW: readonly string[] = [
  "DECRYPTION_FAILED",
  "ENCRYPTED_DATA_INVALID",
  "INVALID_PATH",
];
