/**
 * Who owns what was made while the node runs (containers, terminals), where no list of names can say so.
 *
 * @module
 */

import type { Identity } from "@alknet/core/access";

/** Asked on every call of an operation that names a type of resource. Synchronous, and must not throw. */
export interface OwnershipProvider {
  /** @param action what is to be done; `undefined` if the operation does not say. The owner may do anything. */
  owns(identity: Identity, type: string, id: string, action: string | undefined): boolean;
  ownsAny(identity: Identity, type: string): boolean;
  /** Ids, in the order in which they were recorded. */
  ownedResources(identity: Identity, type: string): readonly string[];
}

/** Where handlers write down what they have made. */
export interface OwnershipStore {
  /** Recording again replaces the owner. */
  record(identity: Identity, type: string, id: string): Promise<void>;
  /** What is not there is no error. */
  revoke(type: string, id: string): Promise<void>;
}

/** Ownership in memory: owners are compared by `id`, and nothing outlives the process. */
export function memoryOwnership(): OwnershipProvider & OwnershipStore {
  /** Owner by id of the resource, by type. */
  const types = new Map<string, Map<string, string>>();
  /** Ids by owner, by type: `ownsAny` is asked on every call. */
  const owners = new Map<string, Map<string, Set<string>>>();

  function idsOf(identityId: string, type: string): Set<string> | undefined {
    return owners.get(type)?.get(identityId);
  }

  function forget(type: string, id: string): void {
    const owner = types.get(type)?.get(id);
    if (owner === undefined) return;
    types.get(type)?.delete(id);
    const ids = idsOf(owner, type);
    ids?.delete(id);
    if (ids?.size === 0) owners.get(type)?.delete(owner);
  }

  return {
    owns: (identity, type, id) => types.get(type)?.get(id) === identity.id,
    ownsAny: (identity, type) => idsOf(identity.id, type) !== undefined,
    ownedResources: (identity, type) => [...(idsOf(identity.id, type) ?? [])],
    async record(identity, type, id) {
      forget(type, id);
      mapIn(types, type).set(id, identity.id);
      const byOwner = mapIn(owners, type);
      const ids = byOwner.get(identity.id) ?? new Set();
      byOwner.set(identity.id, ids.add(id));
    },
    async revoke(type, id) {
      forget(type, id);
    },
  };
}

function mapIn<V>(maps: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let map = maps.get(key);
  if (map === undefined) maps.set(key, (map = new Map()));
  return map;
}
