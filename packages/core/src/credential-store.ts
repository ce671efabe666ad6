/**
 * Sealed secrets by provider: what the vault has encrypted, kept in a database that cannot open it.
 *
 * Look-up is synchronous, in a snapshot. A write resolves when this process sees it, and other processes follow as
 * with all rows of the store.
 *
 * @module
 */

import type { EncryptedData } from "./store-backend.ts";
import type { ChangeOptions, Committed, StoreCommit, StoreNote } from "./store-change.ts";
import { checkCredential } from "./store-rules.ts";

/** A sealed secret, and whose it is. */
export interface Credential {
  readonly provider: string;
  readonly value: EncryptedData;
}

/**
 * Open what is sealed under an old key, and seal it under a new one: as {@linkcode credentialContext} of the same
 * provider. What it throws, `reseal` throws.
 */
export type Reseal = (
  provider: string,
  value: EncryptedData,
) => EncryptedData | Promise<EncryptedData>;

export interface Resealed extends Committed {
  /** Whose were sealed anew, by name. */
  readonly providers: readonly string[];
}

/** All that writes throws `StoreError`. A row that cannot be used is in the store's `problems`, and not in here. */
export interface CredentialStore {
  get(provider: string): EncryptedData | undefined;
  /** All, by name. */
  list(): readonly Credential[];
  /** Add or replace, also what cannot be used. @throws {TypeError | RangeError} if it cannot be kept. */
  put(provider: string, value: EncryptedData, options?: ChangeOptions): Promise<Committed>;
  /** What is not there is no error. */
  delete(provider: string, options?: ChangeOptions): Promise<Committed>;
  /**
   * Have everything whose `key_version` is below `version` sealed anew, in one transaction: all of it, or nothing.
   * Nobody is kept from writing while `reseal` works; what others change meanwhile is as they left it, sealed anew.
   *
   * To be called again after a crash, or with nothing to do, is no error.
   *
   * @throws {RangeError} if `reseal` gives something below `version`; what `reseal` throws: nothing is changed then.
   */
  reseal(version: number, reseal: Reseal, options?: ChangeOptions): Promise<Resealed>;
}

/** What a store of credentials stands on. */
export interface CredentialStoreParts {
  /** What look-ups see now; never changed, but replaced. */
  readonly snapshot: () => ReadonlyMap<string, EncryptedData>;
  readonly commit: StoreCommit;
  readonly note: StoreNote;
}

/**
 * What a provider's secret is bound to when the vault seals it, so that it does not open in the row of another: the
 * vault's `context`.
 */
export function credentialContext(provider: string): string {
  return `credential:${provider}`;
}

/** The credentials of a store that has `parts`. */
export function credentialStore({ snapshot, commit, note }: CredentialStoreParts): CredentialStore {
  return {
    get: (provider) => snapshot().get(provider),

    list: () =>
      [...snapshot()]
        .map(([provider, value]) => ({ provider, value }))
        .toSorted((a, b) => (a.provider < b.provider ? -1 : 1)),

    async put(provider, value, { actor = "owner" } = {}) {
      checkCredential(provider, value);
      return await commit(async (transaction) => {
        const [before] = await transaction.credentials([provider]);
        // What says the same is no change: nothing to note, and nobody to tell.
        if (before?.kind === "credential" && isSame(before.value, value)) return undefined;
        await transaction.putCredential(provider, value);
        const { key_version } = value;
        await note(transaction, actor, "credential.put", provider, { key_version });
        return { credentials: [provider] };
      });
    },

    async delete(provider, { actor = "owner" } = {}) {
      return await commit(async (transaction) => {
        const [before] = await transaction.credentials([provider]);
        if (before === undefined) return undefined;
        await transaction.deleteCredential(provider);
        await note(transaction, actor, "credential.delete", provider, {});
        return { credentials: [provider] };
      });
    },

    async reseal(version, reseal, { actor = "owner" } = {}) {
      const resealed = async (provider: string, before: EncryptedData): Promise<EncryptedData> => {
        const after = await reseal(provider, before);
        checkCredential(provider, after);
        if (after.key_version >= version) return after;
        const got = `sealed for version ${after.key_version}`;
        throw new RangeError(
          `cannot reseal credential ${provider}: ${got}, expected ${version} or above`,
        );
      };
      // Before the transaction: whoever seals may be another process, and slow, and nobody else could write.
      const ready = new Map<string, { before: EncryptedData; after: EncryptedData }>();
      for (const [provider, before] of snapshot()) {
        if (before.key_version >= version) continue;
        ready.set(provider, { before, after: await resealed(provider, before) });
      }
      const providers: string[] = [];
      const committed = await commit(async (transaction) => {
        for (const row of await transaction.credentials()) {
          if (row.kind !== "credential" || row.value.key_version >= version) continue;
          const { provider, value } = row;
          const known = ready.get(provider);
          const isKnown = known !== undefined && isSame(known.before, value);
          const after = isKnown ? known.after : await resealed(provider, value);
          await transaction.putCredential(provider, after);
          const detail = { from: value.key_version, to: after.key_version };
          await note(transaction, actor, "credential.reseal", provider, detail);
          providers.push(provider);
        }
        return providers.length === 0 ? undefined : { credentials: providers };
      });
      return { ...committed, providers: providers.toSorted() };
    },
  };
}

function isSame(a: EncryptedData, b: EncryptedData): boolean {
  return (
    a.key_version === b.key_version &&
    Buffer.compare(a.salt, b.salt) === 0 &&
    Buffer.compare(a.iv, b.iv) === 0 &&
    Buffer.compare(a.data, b.data) === 0
  );
}
