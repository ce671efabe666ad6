import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import * as fc from "fast-check";
import { authenticate, type Grant, type OwnedAuthContext } from "./access.ts";
import { FakeClock } from "./fake-clock.ts";
import { openIdentityStore } from "./identity-store.ts";
import { createInvitation } from "./invitation.ts";
import { joinIdentities } from "./joined-identities.ts";
import { MemoryDatabase } from "./memory-store.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";
import type { StoreBackend } from "./store-backend.ts";

const KEYS = [0, 1, 2].map((at) => `ed25519:${String(at).repeat(64)}`);
const [A = "", B = ""] = KEYS;

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return { peerId, fingerprints, scopes: [], enabled: true, ...rest };
}

/** A database on the other side of a network: rows that were read may be long on their way. */
function slow(backend: StoreBackend): StoreBackend & { hold(): () => void } {
  let gate: Promise<void> | undefined;
  return {
    ...backend,
    async rows(names) {
      const rows = await backend.rows(names);
      await gate;
      return rows;
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return () => {
        gate = undefined;
        resolve();
      };
    },
  };
}

test("rows that were read before a reload do not bring back what it has taken away", async () => {
  const database = new MemoryDatabase();
  const backend = slow(database.backend());
  await using store = await openIdentityStore(backend, { clock: new FakeClock() });
  await using other = await database.open();
  await other.putPeer(peer("laptop", [A]));
  await store.reload();
  const seen: (readonly string[] | undefined)[] = [];
  store.subscribe(() => seen.push(store.resolveFingerprint(A)?.scopes));
  const release = backend.hold();
  await other.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"] }));
  await turn();
  await other.putPeer(peer("laptop", [A], { scopes: ["git:read"] }));
  await store.reload();
  release();
  await turn();
  await turn();
  assert.deepEqual(store.resolveFingerprint(A)?.scopes, ["git:read"]);
  assert.ok(seen.every((scopes) => scopes?.includes("ssh:shell") !== true));
});

test("a change that is committed and cannot be looked at takes away what it names as soon as it can", async () => {
  const backend = new MemoryDatabase().backend();
  const clock = new FakeClock();
  let fails = false;
  const failing: StoreBackend = {
    ...backend,
    rows: (names) => (fails ? Promise.reject(new Error("disk on fire")) : backend.rows(names)),
    // Nobody hears of our own changes, as on a connection that somebody else keeps.
    watch: async () => {},
  };
  await using store = await openIdentityStore(failing, { clock });
  await store.putPeer(peer("laptop", [A]));
  clock.advance(1_000);
  await turn();
  using auth = authenticate(store, { kind: "fingerprint", fingerprint: A });
  assert.equal(auth.peer?.id, "laptop");
  fails = true;
  await assert.rejects(store.removePeer("laptop"), /disk on fire/);
  assert.equal(store.state.kind, "stale");
  clock.advance(1_000);
  await turn();
  await turn();
  assert.equal(auth.revoked.aborted, true);
  assert.equal(store.state.kind, "ready");
});

test("of two rows of one name a change lets in neither, before everything is read again", async () => {
  const database = new MemoryDatabase();
  const backend = database.backend();
  const disabled = peer("laptop", [A], { enabled: false });
  const enabled = peer("Laptop", [A], { scopes: ["*"] });
  await using other = await database.open();
  await other.putPeer(disabled);
  // As a table of somebody else's may have them.
  const double: StoreBackend = {
    ...backend,
    rows: async () => [disabled, enabled].map((entry) => ({ kind: "peer", entry })),
  };
  await using store = await openIdentityStore(double, { clock: new FakeClock() });
  const seen: unknown[] = [];
  store.subscribe(() => seen.push(store.resolveFingerprint(A)));
  await other.putPeer({ ...disabled, scopes: ["git:read"] });
  await turn();
  assert.deepEqual(seen, [undefined]);
});

test("roles that are narrowed while a reload is under way stay narrowed", async () => {
  const database = new MemoryDatabase();
  const roles = (...scopes: string[]): Map<string, string[]> => new Map([["dev", scopes]]);
  await using store = await database.open({ roles: roles("ssh:shell", "git:read") });
  await store.putPeer(peer("laptop", [A], { scopes: ["@dev"] }));
  using auth = authenticate(store, { kind: "fingerprint", fingerprint: A });
  const grant = auth.grant("ssh:shell");
  const reload = store.reload();
  await Promise.resolve();
  await Promise.resolve();
  store.setRoles(roles("git:read"));
  await reload;
  assert.equal(grant.signal.aborted, true);
  assert.deepEqual(store.resolveFingerprint(A)?.scopes, ["git:read"]);
});

test("who has no invitation, or one that is over, waits for nobody who writes, and is in nobody's way", async () => {
  const database = new MemoryDatabase();
  const clock = new FakeClock();
  await using store = await database.open({ clock });
  const used = createInvitation({ clock });
  const expired = createInvitation({ clock, lifetime: 2_000 });
  for (const { invitation } of [used, expired]) await store.addInvitation(invitation);
  await store.redeem(used.invitation.secretHash, { fingerprint: A });
  clock.advance(2_000);
  const { promise: gate, resolve: release } = Promise.withResolvers<void>();
  const writing = database.backend().transaction(() => gate);
  const outcomes = await Promise.all(
    [`sha256:${"0".repeat(64)}`, used.invitation.secretHash, expired.invitation.secretHash].map(
      async (hash) => (await store.redeem(hash, { fingerprint: B })).outcome,
    ),
  );
  assert.deepEqual(outcomes, ["unknown", "used", "expired"]);
  release();
  await writing;
});

test("a clock that is set back makes no invitation good again", async () => {
  const clock = new FakeClock();
  await using store = await new MemoryDatabase().open({ clock });
  const { invitation } = createInvitation({ clock, lifetime: 2_000 });
  await store.addInvitation(invitation);
  clock.advance(2_000);
  const redeem = async (): Promise<string> =>
    (await store.redeem(invitation.secretHash, { fingerprint: A })).outcome;
  assert.equal(await redeem(), "expired");
  clock.setWallTime(clock.wallTime() - 60_000);
  assert.equal(await redeem(), "expired");
});

test("a name that is kept for somebody who was invited is not to be had by another", async () => {
  await using store = await new MemoryDatabase().open();
  const open = createInvitation();
  const named = createInvitation({ peerId: "laptop", scopes: ["ssh:shell"] });
  for (const { invitation } of [open, named]) await store.addInvitation(invitation);
  const { secretHash } = open.invitation;
  const taken = await store.redeem(secretHash, { fingerprint: A, as: "Laptop" });
  assert.deepEqual(taken, { outcome: "name taken", peerId: "Laptop" });
  assert.equal((await store.redeem(secretHash, { fingerprint: A, as: "mine" })).outcome, "joined");
  const redeemed = await store.redeem(named.invitation.secretHash, { fingerprint: B });
  assert.equal(redeemed.outcome === "joined" ? redeemed.peer.peerId : "", "laptop");
});

test("invitations that have long been over are forgotten", async () => {
  const clock = new FakeClock();
  await using store = await new MemoryDatabase().open({ clock });
  for (let at = 0; at < 3; at++) await store.addInvitation(createInvitation({ clock }).invitation);
  const used = createInvitation({ clock });
  await store.addInvitation(used.invitation);
  await store.redeem(used.invitation.secretHash, { fingerprint: A });
  clock.advance(40 * 86_400_000);
  const { invitation } = createInvitation({ clock });
  await store.addInvitation(invitation);
  assert.deepEqual(
    (await store.invitations()).map(({ id }) => id),
    [invitation.id],
  );
  assert.equal(store.peers.length, 1);
});

// What may be, said plainly: the configuration first, then the table.

const ACTIONS = ["ssh:shell", "git:read", "fs:read"];
const entries = fc.record({
  peerId: fc.constantFrom("laptop", "Laptop", "phone", "tablet"),
  fingerprints: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 2 }),
  scopes: fc.subarray([...ACTIONS, "@dev"]),
  enabled: fc.boolean(),
});
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("put" as const), by: fc.nat(1), entry: entries }),
  },
  fc.record({
    kind: fc.constant("remove" as const),
    by: fc.nat(1),
    name: fc.constantFrom("laptop", "phone"),
  }),
  fc.record({
    kind: fc.constant("rename" as const),
    by: fc.nat(1),
    name: fc.constantFrom("laptop", "phone"),
    to: fc.constantFrom("LAPTOP", "phone", "tablet"),
  }),
  fc.record({
    kind: fc.constant("configure" as const),
    peers: fc.uniqueArray(entries, {
      maxLength: 2,
      comparator: (a, b) =>
        a.peerId.toLowerCase() === b.peerId.toLowerCase() ||
        a.fingerprints.some((key) => b.fingerprints.includes(key)),
    }),
  }),
  fc.record({ kind: fc.constant("roles" as const), scopes: fc.subarray(ACTIONS) }),
  fc.record({ kind: fc.constant("reload" as const), on: fc.nat(1) }),
  fc.record({ kind: fc.constant("look away" as const) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("connect" as const),
      to: fc.nat(1),
      key: fc.constantFrom(...KEYS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("take" as const),
      at: fc.nat(20),
      action: fc.constantFrom(...ACTIONS),
    }),
  },
);

interface Live {
  readonly key: string;
  readonly auth: OwnedAuthContext;
  readonly id: string;
  over: boolean;
  readonly held: { readonly action: string; readonly grant: Grant; over: boolean }[];
}

test("two processes on one database, each with a configuration: contexts and grants are what was written", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40, size: "max" }),
      async (steps) => {
        const database = new MemoryDatabase();
        const clock = new FakeClock();
        await using first = await database.open({ clock });
        await using second = await database.open({ clock });
        const stores = [first, second] as const;
        const configured = staticIdentities([]);
        const providers = stores.map((store) => joinIdentities([configured, store]));
        const table = new Map<string, PeerEntry>();
        let config: readonly PeerEntry[] = [];
        let roles = new Map<string, readonly string[]>();
        const live: Live[] = [];

        function find(key: string): { id: string; may: Set<string> } | undefined {
          const has = ({ fingerprints }: PeerEntry): boolean => fingerprints.includes(key);
          const kept = config.find(has);
          const found = kept ?? [...table.values()].find((each) => each.enabled && has(each));
          if (found?.enabled !== true) return undefined;
          const isShadowed = config.some(
            ({ peerId }) => peerId.toLowerCase() === found.peerId.toLowerCase(),
          );
          if (kept === undefined && isShadowed) return undefined;
          const may = found.scopes.flatMap((scope) =>
            scope === "@dev" ? (roles.get("dev") ?? []) : [scope],
          );
          return { id: found.peerId, may: new Set(may) };
        }

        for (const each of steps) {
          const pending: Promise<unknown>[] = [];
          switch (each.kind) {
            case "put": {
              const name = each.entry.peerId.toLowerCase();
              const isTaken = [...table].some(
                ([other, { enabled, fingerprints }]) =>
                  other !== name &&
                  enabled &&
                  each.entry.enabled &&
                  fingerprints.some((key) => each.entry.fingerprints.includes(key)),
              );
              const put = stores[each.by]!.changePeer(each.entry.peerId, () => each.entry);
              if (isTaken) await assert.rejects(put, { code: "DUPLICATE_FINGERPRINT" });
              else {
                await put;
                table.set(name, each.entry);
              }
              break;
            }
            case "remove":
              if (table.delete(each.name)) await stores[each.by]!.removePeer(each.name);
              break;
            case "rename": {
              const before = table.get(each.name);
              const to = each.to.toLowerCase();
              if (before === undefined || (to !== each.name && table.has(to))) break;
              const after = { ...before, peerId: each.to };
              await stores[each.by]!.changePeer(each.name, () => after);
              table.delete(each.name);
              table.set(to, after);
              break;
            }
            case "configure":
              config = each.peers;
              configured.replace(config, [], roles);
              break;
            case "roles":
              roles = new Map([["dev", each.scopes]]);
              // In the middle of whatever is read.
              pending.push(...stores.map((store) => store.reload()));
              await Promise.resolve();
              configured.setRoles(roles);
              for (const store of stores) store.setRoles(roles);
              break;
            case "reload":
              await stores[each.on]!.reload();
              break;
            case "look away":
              clock.advance(1_000);
              break;
            case "connect": {
              const auth = authenticate(providers[each.to]!, {
                kind: "fingerprint",
                fingerprint: each.key,
              });
              assert.equal(auth.peer?.id, find(each.key)?.id);
              if (auth.peer === undefined) break;
              live.push({ key: each.key, auth, id: auth.peer.id, over: false, held: [] });
              break;
            }
            case "take": {
              const one = live[each.at];
              if (one === undefined || one.over) break;
              const { action } = each;
              if (find(one.key)?.may.has(action) === true) {
                one.held.push({ action, grant: one.auth.grant(action), over: false });
              } else assert.throws(() => one.auth.grant(action), { code: "ACCESS_DENIED" });
            }
          }
          await Promise.all(pending);
          // The other process has heard of it.
          await turn();
          for (const one of live) {
            const found = find(one.key);
            one.over ||= found?.id !== one.id;
            assert.equal(one.auth.revoked.aborted, one.over);
            for (const held of one.held) {
              held.over ||= one.over || found?.may.has(held.action) !== true;
              assert.equal(held.grant.signal.aborted, held.over);
            }
          }
        }
        for (const { auth } of live) auth[Symbol.dispose]();
      },
    ),
    { numRuns: 100 },
  );
});
