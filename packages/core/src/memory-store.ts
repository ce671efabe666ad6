/**
 * A store of identities in memory: for tests, and for programs that keep their peers elsewhere.
 *
 * Several stores may share one {@linkcode MemoryDatabase}, as processes share a file.
 *
 * @module
 */

import type { ApiKeyEntry } from "./api-key.ts";
import {
  type IdentityStore,
  type IdentityStoreOptions,
  openIdentityStore,
} from "./identity-store.ts";
import type { PeerEntry } from "./peers.ts";
import type {
  AuditEntry,
  BackendEvents,
  ChangedNames,
  EncryptedData,
  Invitation,
  Loaded,
  StoreBackend,
  StoreTransaction,
} from "./store-backend.ts";

/** What the rows of a database would be. Values are frozen or copied; tables are replaced by a commit. */
interface Tables {
  readonly peers: Map<string, PeerEntry>;
  readonly apiKeys: Map<string, ApiKeyEntry>;
  readonly credentials: Map<string, EncryptedData>;
  readonly invitations: Map<string, Invitation>;
  readonly audit: AuditEntry[];
}

/** Most audit entries that are kept. */
const MAX_AUDIT = 10_000;

/** Rows in a batch. */
const BATCH = 500;

/** A database in memory. */
export class MemoryDatabase {
  #tables: Tables = {
    peers: new Map(),
    apiKeys: new Map(),
    credentials: new Map(),
    invitations: new Map(),
    audit: [],
  };
  readonly #listeners = new Set<BackendEvents>();
  #queue: Promise<unknown> = Promise.resolve();
  #changes = 0;
  #audits = 0;

  /** Open a store on it. Closing the store leaves the database as it is. */
  async open(options?: IdentityStoreOptions): Promise<IdentityStore> {
    return await openIdentityStore(this.backend(), options);
  }

  backend(): StoreBackend {
    let events: BackendEvents | undefined;
    return {
      label: "memory",
      load: () => this.#load(),
      rows: async (names) => this.#rows(names),
      transaction: (run) => this.#transaction(run),
      invitations: async () => [...this.#tables.invitations.values()],
      invitation: async (secretHash) =>
        [...this.#tables.invitations.values()].find((it) => it.secretHash === secretHash),
      audit: async ({ after, limit }) =>
        this.#tables.audit.filter(({ id }) => id > after).slice(-limit),
      watch: async (listener) => {
        events = listener;
        this.#listeners.add(listener);
      },
      close: async () => {
        if (events !== undefined) this.#listeners.delete(events);
      },
    };
  }

  async *#load(): AsyncGenerator<{ change: number; rows: readonly Loaded[] }> {
    const tables = this.#tables;
    const change = this.#changes;
    const rows: Loaded[] = [
      ...[...tables.peers.values()].map((entry) => ({ kind: "peer", entry }) as const),
      ...[...tables.apiKeys.values()].map((entry) => ({ kind: "apiKey", entry }) as const),
      ...loadedCredentials(tables),
    ];
    // Also when there is nothing, so that its number is known.
    for (let at = 0; at === 0 || at < rows.length; at += BATCH) {
      yield { change, rows: rows.slice(at, at + BATCH) };
    }
  }

  #rows({ peers = [], apiKeys = [], credentials = [] }: ChangedNames): Loaded[] {
    const tables = this.#tables;
    return [
      ...peers.flatMap((name): Loaded[] => {
        const entry = tables.peers.get(name.toLowerCase());
        return entry === undefined ? [] : [{ kind: "peer", entry }];
      }),
      ...apiKeys.flatMap((prefix): Loaded[] => {
        const entry = tables.apiKeys.get(prefix);
        return entry === undefined ? [] : [{ kind: "apiKey", entry }];
      }),
      ...(credentials.length === 0 ? [] : loadedCredentials(tables)),
    ];
  }

  async #transaction<T>(run: (transaction: StoreTransaction) => Promise<T>): Promise<T> {
    const turn = this.#queue.then(async () => {
      const { peers, apiKeys, credentials, invitations, audit } = this.#tables;
      // A copy to work on; it becomes the tables if all goes well.
      const tables: Tables = {
        peers: new Map(peers),
        apiKeys: new Map(apiKeys),
        credentials: new Map(credentials),
        invitations: new Map(invitations),
        audit: [...audit],
      };
      const told: { change: number; names: ChangedNames }[] = [];
      const result = await run(this.#within(tables, told));
      this.#tables = tables;
      for (const change of told) {
        for (const listener of this.#listeners) listener.changed(change);
      }
      return result;
    });
    this.#queue = turn.catch(() => {});
    return await turn;
  }

  #within(
    { peers, apiKeys, credentials, invitations, audit }: Tables,
    told: { change: number; names: ChangedNames }[],
  ): StoreTransaction {
    return {
      peer: async (peerId) => peers.get(peerId.toLowerCase()),
      apiKey: async (prefix) => apiKeys.get(prefix),
      holdersOf: async (credential) => [
        ...[...peers.values()]
          .filter(
            ({ enabled, fingerprints, tokenHash }) =>
              enabled && (tokenHash === credential || fingerprints.includes(credential)),
          )
          .map(({ peerId }) => peerId),
        ...[...apiKeys.values()]
          .filter(({ hash }) => hash === credential)
          .map(({ prefix }) => prefix),
      ],
      putPeer: async (entry) => void peers.set(entry.peerId.toLowerCase(), entry),
      deletePeer: async (peerId) => void peers.delete(peerId.toLowerCase()),
      putApiKey: async (entry) => void apiKeys.set(entry.prefix, entry),
      deleteApiKey: async (prefix) => void apiKeys.delete(prefix),
      credentials: async (providers = [...credentials.keys()]) =>
        providers.flatMap((provider): Loaded[] => {
          const value = credentials.get(provider);
          return value === undefined ? [] : [{ kind: "credential", provider, value }];
        }),
      putCredential: async (provider, { key_version, salt, iv, data }) => {
        const [saltCopy, ivCopy, dataCopy] = [salt, iv, data].map((it) => Uint8Array.from(it));
        const value = { key_version, salt: saltCopy!, iv: ivCopy!, data: dataCopy! };
        credentials.set(provider, Object.freeze(value));
      },
      deleteCredential: async (provider) => void credentials.delete(provider),
      invitation: async (by) =>
        [...invitations.values()].find((it) =>
          "id" in by ? it.id === by.id : it.secretHash === by.secretHash,
        ),
      putInvitation: async (invitation) =>
        void invitations.set(invitation.id, Object.freeze({ ...invitation })),
      deleteInvitation: async (id) => void invitations.delete(id),
      addAudit: async (entry) => {
        audit.push({ ...entry, id: ++this.#audits });
        if (audit.length > MAX_AUDIT) audit.shift();
      },
      notify: async (names) => {
        told.push({ change: ++this.#changes, names });
        return this.#changes;
      },
    };
  }
}

function loadedCredentials({ credentials }: Tables): Loaded[] {
  return [...credentials].map(([provider, value]) => ({ kind: "credential", provider, value }));
}
