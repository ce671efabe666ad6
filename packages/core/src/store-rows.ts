/**
 * Rows of a store as look-ups are to see them: entries by name, and what is there no more.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type { ApiKeyEntry } from "./api-key.ts";
import type { PeerEntry } from "./peers.ts";
import type { ChangedNames, EncryptedData, Loaded } from "./store-backend.ts";

/** By the name that each is looked up under. */
export interface StoreRows {
  /** In lower case; `undefined`: there is none. */
  readonly peers: Map<string, PeerEntry | undefined>;
  readonly apiKeys: Map<string, ApiKeyEntry | undefined>;
  /** All that there are; `undefined`: they are as they were. */
  secrets: ReadonlyMap<string, EncryptedData> | undefined;
}

export function noRows(): StoreRows {
  return { peers: new Map(), apiKeys: new Map(), secrets: undefined };
}

/** What was read of `names`: who is not in `rows` does not exist. */
export function rowsOf(names: ChangedNames, rows: readonly Loaded[]): StoreRows {
  const { peers, apiKeys } = noRows();
  const secrets = new Map<string, EncryptedData>();
  const read = new Map<string, string>();
  for (const name of names.peers ?? []) peers.set(name.toLowerCase(), undefined);
  for (const prefix of names.apiKeys ?? []) apiKeys.set(prefix, undefined);
  for (const row of rows) {
    if (row.kind === "peer") {
      const name = row.entry.peerId.toLowerCase();
      // Two of one name: which of them counts is for the reload to say, and meanwhile neither does.
      const other = read.get(name) ?? row.entry.peerId;
      peers.set(name, other === row.entry.peerId ? row.entry : undefined);
      read.set(name, other === row.entry.peerId ? other : "");
    } else if (row.kind === "apiKey") apiKeys.set(row.entry.prefix, row.entry);
    else if (row.kind === "credential") secrets.set(row.provider, row.value);
    // A broken row grants nothing; the reload tells of it.
  }
  // All that there are, and not those that the change names: those of before would be beside them.
  return { peers, apiKeys, secrets: (names.credentials ?? []).length > 0 ? secrets : undefined };
}

/** Put `rows` over those that `into` has. */
export function putRows(into: StoreRows, { peers, apiKeys, secrets }: StoreRows): void {
  for (const [name, entry] of peers) into.peers.set(name, entry);
  for (const [prefix, entry] of apiKeys) into.apiKeys.set(prefix, entry);
  into.secrets = secrets ?? into.secrets;
}
