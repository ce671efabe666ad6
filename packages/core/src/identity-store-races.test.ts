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
import type { EncryptedData, StoreBackend } from "./store-backend.ts";

const KEYS = [0, 1, 2].map((at) => `ed25519:${String(at).repeat(64)}`);
const [A = "", B = ""] = KEYS;

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return { peerId, fingerprints, scopes: [], enabled: true, ...rest };
}

/** A read that is under way for long: asked for, and not begun before the one, not answered before the other. */
interface Delay {
  readonly begun?: Promise<void>;
  readonly answered?: Promise<void>;
}

/** A database on the other side of a network; the next reads are delayed as said. */
function slow(backend: StoreBackend): StoreBackend & { looks: Delay[]; loads: Delay[] } {
  const looks: Delay[] = [];
  const loads: Delay[] = [];
  return {
    ...backend,
    looks,
    loads,
    async rows(names) {
      const { begun, answered } = looks.shift() ?? {};
      await begun;
      const rows = await backend.rows(names);
      await answered;
      return rows;
    },
    async *load(known) {
      const { begun, answered } = loads.shift() ?? {};
      await begun;
      for await (const batch of backend.load(known)) {
        yield batch;
        await answered;
      }
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
  const { promise, resolve: release } = Promise.withResolvers<void>();
  backend.looks.push({ answered: promise });
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

for (const [when, isAnswered] of [
  ["during a reload that is newer", false],
  ["before a reload has begun that is newer", true],
] as const) {
  test(`rows that come ${when} are not in force when the newer change counts as seen`, async () => {
    const database = new MemoryDatabase();
    const backend = slow(database.backend());
    await using store = await openIdentityStore(backend, { clock: new FakeClock() });
    await using other = await database.open();
    await other.putPeer(peer("laptop", [A]));
    await turn();
    const [look, load, later] = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
    backend.looks.push(isAnswered ? {} : { answered: look!.promise });
    backend.looks.push({ begun: later!.promise });
    backend.loads.push(isAnswered ? { begun: load!.promise } : { answered: load!.promise });

    if (isAnswered) void store.reload();
    await other.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"] }));
    await turn();
    const { change } = await other.putPeer(peer("laptop", [A], { scopes: ["git:read"] }));
    if (!isAnswered) void store.reload();
    const inForce = store.effectOf(change).then(() => store.resolveFingerprint(A)?.scopes);
    for (const { resolve } of [look!, load!, later!]) {
      resolve();
      await turn();
    }
    assert.deepEqual(await inForce, ["git:read"]);
  });
}

test("a look that comes late shows no credential of a later change beside others of before it", async () => {
  const sealed = (key_version: number): EncryptedData => {
    const bytes = Uint8Array.of(key_version);
    return { key_version, salt: bytes, iv: bytes, data: bytes };
  };
  const database = new MemoryDatabase();
  const backend = slow(database.backend());
  await using here = await database.open();
  await using there = await openIdentityStore(backend, { clock: new FakeClock() });
  const versions = (): number[] => there.credentials.list().map(({ value }) => value.key_version);
  for (const provider of ["github", "gitlab"]) await here.credentials.put(provider, sealed(1));
  await turn();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  backend.looks.push({ begun: first.promise }, { begun: second.promise });
  await here.credentials.put("github", sealed(2));
  await here.credentials.reseal(3, () => sealed(3));
  const seen = [versions()];
  for (const { resolve } of [first, second]) {
    resolve();
    await turn();
    seen.push(versions());
  }
  assert.deepEqual(seen, [
    [1, 1],
    [3, 3],
    [3, 3],
  ]);
});

test("a key that has moved from one peer to another is nobody's while only the other has been looked at", async () => {
  const database = new MemoryDatabase();
  const backend = slow(database.backend());
  await using there = await openIdentityStore(backend, { clock: new FakeClock() });
  await using here = await database.open();
  await here.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"] }));
  await here.putPeer(peer("phone", [B], { scopes: ["*"] }));
  await turn();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  backend.looks.push({ begun: first.promise }, { begun: second.promise });
  await here.putPeer(peer("phone", [B], { scopes: ["git:read"] }));
  await database.backend().transaction(async (transaction) => {
    await transaction.putPeer(peer("laptop", [], { scopes: ["ssh:shell"] }));
    await transaction.putPeer(peer("phone", [A, B], { scopes: ["git:read"] }));
    await transaction.notify({ peers: ["laptop", "phone"] });
  });
  const seen: (string | undefined)[] = [];
  for (const { resolve } of [first, second]) {
    resolve();
    await turn();
    seen.push(there.resolveFingerprint(A)?.id);
  }
  await there.reload();
  seen.push(there.resolveFingerprint(A)?.id);
  assert.deepEqual(seen, [undefined, undefined, "phone"]);
});

test("everything is read once at a time, also when it is asked for as one reading ends", async () => {
  const backend = new MemoryDatabase().backend();
  let active = 0;
  let most = 0;
  const counting: StoreBackend = {
    ...backend,
    async *load(known) {
      most = Math.max(most, ++active);
      for await (const batch of backend.load(known)) {
        yield batch;
        await turn();
      }
      active--;
    },
  };
  await using store = await openIdentityStore(counting);
  const first = store.reload();
  const second = store.reload();
  await first;
  await Promise.all([second, store.reload()]);
  assert.equal(most, 1);
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
