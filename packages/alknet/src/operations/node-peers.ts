/**
 * `node/peers/…`: who is known, and what they may do. Changes hold at once.
 *
 * Who may change rights may give itself any: `node:admin` is everything.
 *
 * @module
 */

import { operation, type OperationContext } from "@alknet/call/operation";
import * as z from "zod";
import { CommandError } from "../command-error.ts";
import {
  added,
  allPeers,
  changePeer,
  enabled,
  findPeer,
  granted,
  type PeerChange,
  removed,
  renamed,
  revoked,
  withAccounts,
  withAddresses,
  withKey,
} from "../peer-changes.ts";
import { declared, STORE_ERRORS } from "./declared-errors.ts";
import { list } from "./lists.ts";
import { CHANGE, LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";

const NOT_FOUND = { STORE_NOT_FOUND: { description: "there is no such peer, or no such right" } };

const CHANGE_ERRORS = {
  ...NOT_FOUND,
  STORE_EXISTS: { description: "the name is taken" },
  PEER_IN_CONFIG: { description: "it stands in the configuration, and is changed there" },
  PEER_INVALID: { description: "an entry is not as it has to be" },
  DUPLICATE_PEER_ID: { description: "the name is another's" },
  DUPLICATE_FINGERPRINT: { description: "the key is another's" },
  FINGERPRINT_INVALID: { description: "no fingerprint" },
  SCOPE_INVALID: { description: "no scope" },
  ADDRESS_INVALID: { description: "no address" },
  TIME_INVALID: { description: "no time" },
  USER_INVALID: { description: "no login name, or root" },
  USAGE: { description: "what was asked contradicts itself" },
  ...STORE_ERRORS,
} as const;

const peerId = z.string().min(1).max(64);
const scopes = list(z.string()).describe("service:action[:resource] or @role");

const peerDocument = z.object({
  peerId: z.string(),
  fingerprints: list(z.string()),
  scopes: list(z.string()),
  enabled: z.boolean().describe("false: it is let in by nothing"),
  displayName: z.string().optional(),
  addresses: list(z.string()).optional().describe("where to dial it, host:port"),
  resources: z.record(z.string(), list(z.string())).readonly().optional(),
  hasToken: z.boolean(),
  source: z.enum(["config", "store"]).describe("where it stands"),
});

const changed = z.object({
  peer: peerDocument.nullable().describe("as it is now; null: it is no more"),
  closedConnections: z.number().describe("connections that this has closed"),
  endedGrants: z.number().describe("rights in use that it has ended, on connections that go on"),
});

const mutation = {
  type: "mutation",
  access: CHANGE,
  output: changed,
  errors: CHANGE_ERRORS,
} as const;

export function nodePeers({ store, configuration }: NodeSources) {
  /** @param make checks what was given; it is called once. */
  function carryOut(
    { caller }: Pick<OperationContext, "caller">,
    name: string,
    make: () => PeerChange,
    to?: string,
  ): Promise<z.input<typeof changed>> {
    return declared(CHANGE_ERRORS, async () => {
      const { state } = store;
      if (state.kind === "stale") {
        // A file that was put in its place would take the change, and nobody would see it.
        throw new CommandError(`the node has lost its store: ${state.reason}`, {
          code: "STORE_UNAVAILABLE",
        });
      }
      // Who is nobody does not get here.
      const actor = caller!.id;
      const { committed, peer } = await changePeer(store, configuration.config, name, make(), {
        to,
        actor,
      });
      const { connections, grants } = committed.cut;
      return { peer, closedConnections: connections, endedGrants: grants };
    });
  }

  return [
    operation({
      name: "node/peers/list",
      type: "query",
      description: "Everybody whom this node knows.",
      access: LOOK,
      input: z.strictObject({}),
      output: z.object({ peers: list(peerDocument) }),
      handler: () => ({ peers: allPeers(store, configuration.config) }),
    }),
    operation({
      name: "node/peers/show",
      type: "query",
      description: "One peer, with keys and rights.",
      access: LOOK,
      input: z.strictObject({ name: peerId }),
      output: peerDocument,
      errors: NOT_FOUND,
      handler: ({ name }) => declared(NOT_FOUND, () => findPeer(store, configuration.config, name)),
    }),
    operation({
      ...mutation,
      name: "node/peers/add",
      description: "Let a key in. Without scopes it is known, and may do nothing.",
      input: z.strictObject({
        name: peerId,
        fingerprints: z.array(z.string()).min(1).describe("ed25519:… or SHA256:…"),
        scopes: scopes.default([]),
        addresses: list(z.string()).default([]).describe("where to dial it, host:port"),
        displayName: z.string().optional(),
        users: list(z.string()).default([]).describe("accounts that SSH logs it in to"),
      }),
      handler: ({ name, ...peer }, context) => carryOut(context, name, () => added(name, peer)),
    }),
    operation({
      ...mutation,
      name: "node/peers/set-users",
      description: "Say which accounts of this machine SSH logs a peer in to.",
      input: z.strictObject({ name: peerId, users: list(z.string()) }),
      handler: ({ name, users }, context) =>
        carryOut(context, name, () => withAccounts(name, users)),
    }),
    operation({
      ...mutation,
      name: "node/peers/set-addresses",
      description: "Say where to dial a peer, in the place of what is known.",
      input: z.strictObject({
        name: peerId,
        addresses: list(z.string()).describe("host, host:port or [address]:port; none: nowhere"),
      }),
      handler: ({ name, addresses }, context) =>
        carryOut(context, name, () => withAddresses(name, addresses)),
    }),
    operation({
      ...mutation,
      name: "node/peers/grant",
      description: "Give a peer rights.",
      input: z.strictObject({
        name: peerId,
        scopes,
        until: z.string().optional().describe("for a time, as 2h, or until 2026-12-31T18:00:00Z"),
      }),
      handler: ({ name, scopes: given, until }, context) =>
        carryOut(context, name, () => granted(name, given, until)),
    }),
    operation({
      ...mutation,
      name: "node/peers/revoke",
      description: "Take rights away; what they allow ends at once.",
      input: z
        .strictObject({
          name: peerId,
          scopes: scopes.default([]),
          all: z.boolean().default(false).describe("every right; the key stays known"),
        })
        .refine((it) => (it.scopes.length === 0) === it.all, {
          message: "expected the scopes to take away, or all",
        }),
      handler: ({ name, scopes: given, all }, context) =>
        carryOut(context, name, () => revoked(name, all ? "all" : given)),
    }),
    operation({
      ...mutation,
      name: "node/peers/disable",
      description: "Let a peer in by nothing, and end what it does; it keeps its rights.",
      input: z.strictObject({ name: peerId }),
      handler: ({ name }, context) => carryOut(context, name, () => enabled(name, false)),
    }),
    operation({
      ...mutation,
      name: "node/peers/enable",
      description: "Undo disable.",
      input: z.strictObject({ name: peerId }),
      handler: ({ name }, context) => carryOut(context, name, () => enabled(name, true)),
    }),
    operation({
      ...mutation,
      name: "node/peers/rename",
      description: "Give a peer another name.",
      input: z.strictObject({ name: peerId, to: peerId }),
      handler: ({ name, to }, context) => carryOut(context, name, () => renamed(name, to), to),
    }),
    operation({
      ...mutation,
      name: "node/peers/rotate-key",
      description: "Replace the keys of a peer by a new one; it keeps its rights.",
      input: z.strictObject({
        name: peerId,
        fingerprint: z.string(),
        keep: z.boolean().default(false).describe("keep the old ones, too"),
      }),
      handler: ({ name, fingerprint, keep }, context) =>
        carryOut(context, name, () => withKey(name, fingerprint, keep)),
    }),
    operation({
      ...mutation,
      name: "node/peers/remove",
      description: "Forget a peer, and end what it does.",
      input: z.strictObject({ name: peerId }),
      handler: ({ name }, context) => carryOut(context, name, () => removed(name)),
    }),
  ] as const;
}
