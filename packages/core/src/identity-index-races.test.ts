import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { authenticate, type Credential, type Grant, type OwnedAuthContext } from "./access.ts";
import { type ApiKeyEntry, hashToken, parseApiKey } from "./api-key.ts";
import { FakeClock } from "./fake-clock.ts";
import { IdentityIndex } from "./identity-index.ts";
import type { Rebuild } from "./identity-rebuild.ts";
import { parsePeer, type PeerEntry } from "./peers.ts";
import type { Roles } from "./scope-entry.ts";

const [A = "", B = ""] = ["a", "b"].map((digit) => `ed25519:${digit.repeat(64)}`);
const TOKEN = "alk_abcd";

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return parsePeer({ peerId, fingerprints, scopes: [], enabled: true, ...rest });
}

function roles(...scopes: string[]): Roles {
  return new Map([["dev", scopes]]);
}

test("a role that is narrowed while a rebuild is under way stays narrowed", () => {
  using index = new IdentityIndex({ roles: roles("ssh:shell", "git:read") });
  const laptop = peer("laptop", [A], { scopes: ["@dev"] });
  index.patch({ peers: new Map([["laptop", laptop]]) });
  const rebuild = index.rebuild();
  rebuild.peer(laptop);
  index.setRoles(roles("git:read"));
  rebuild.peer(peer("phone", [B], { scopes: ["@dev"] }));
  rebuild.swap();
  assert.deepEqual(index.resolveFingerprint(A)?.scopes, ["git:read"]);
  assert.deepEqual(index.resolveFingerprint(B)?.scopes, ["git:read"]);
  const again = index.rebuild();
  again.peer(laptop);
  index.setRoles(new Map());
  again.swap();
  assert.deepEqual(index.resolveFingerprint(A)?.scopes, []);
  assert.deepEqual(
    index.problems.map(({ subject }) => subject),
    ["peer laptop"],
  );
});

test("what ends while a rebuild is under way is not back for a moment", () => {
  const clock = new FakeClock();
  const end = new Date(clock.wallTime() + 1_000).toISOString();
  const seconds = Math.ceil(clock.wallTime() / 1_000) + 1;
  const laptop = peer("laptop", [A], { scopes: [`ssh:shell until ${end}`] });
  const key = parseApiKey({
    prefix: TOKEN,
    hash: hashToken(TOKEN),
    scopes: ["git:read"],
    expiresAt: seconds,
  });
  using index = new IdentityIndex({ clock });
  index.patch({ peers: new Map([["laptop", laptop]]), apiKeys: new Map([[TOKEN, key]]) });
  const rebuild = index.rebuild();
  rebuild.peer(laptop);
  rebuild.apiKey(key);
  clock.advance(2_500);
  assert.equal(index.resolveToken(Buffer.from(TOKEN)), undefined);
  const seen: unknown[] = [];
  index.subscribe(() => {
    seen.push(index.resolveFingerprint(A)?.scopes, index.resolveToken(Buffer.from(TOKEN)));
  });
  rebuild.swap();
  assert.deepEqual(seen, [[], undefined]);
  assert.deepEqual(index.resolveFingerprint(A)?.scopes, []);
  assert.equal(index.resolveToken(Buffer.from(TOKEN)), undefined);
});

test("a peer cannot have the name of an API key, in any case of its letters", () => {
  assert.throws(() => peer("ALK_abcd", [A]), { code: "PEER_INVALID" });
});

/** What is so, said as plainly as can be. */
interface Model {
  readonly peers: Map<string, PeerEntry>;
  readonly apiKeys: Map<string, ApiKeyEntry>;
  roles: Roles;
  now: number;
}

const KEYS = [0, 1, 2, 3].map((at) => `ed25519:${String(at).repeat(64)}`);
const TOKENS = ["alk_aaaa-1", "alk_bbbb-1"];
const ACTIONS = ["ssh:shell", "git:read", "fs:read"];

interface Holder {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly end: number;
}

function holders(model: Model, credential: string): Holder[] {
  return [
    ...[...model.peers.values()]
      .filter(
        ({ enabled, fingerprints, tokenHash }) =>
          enabled && (fingerprints.includes(credential) || tokenHash === hashToken(credential)),
      )
      .map(({ peerId: id, scopes }) => ({ id, scopes, end: Infinity })),
    ...[...model.apiKeys.values()]
      .filter(({ hash }) => hash === hashToken(credential))
      .map(({ prefix: id, scopes, expiresAt = Infinity }) => ({ id, scopes, end: expiresAt })),
  ];
}

/** Who has a credential, and what it may do. */
function lookUp(model: Model, credential: string): { id: string; may: Set<string> } | undefined {
  const [holder, ...others] = holders(model, credential);
  if (holder === undefined || others.length > 0 || holder.end * 1_000 <= model.now)
    return undefined;
  const may = new Set<string>();
  for (const entry of holder.scopes) {
    const [right = "", until] = entry.split(" until ");
    if (until !== undefined && Date.parse(until) <= model.now) continue;
    for (const scope of right === "@dev" ? (model.roles.get("dev") ?? []) : [right]) may.add(scope);
  }
  return { id: holder.id, may };
}

const moments = [10, 20, 30].map((second) => new Date(second * 1_000).toISOString());
const right = fc
  .tuple(fc.constantFrom(...ACTIONS, "@dev"), fc.option(fc.constantFrom(...moments)))
  .map(([text, until]) => (until === null ? text : `${text} until ${until}`));
const anyPeer = fc
  .record({
    peerId: fc.constantFrom("laptop", "Laptop", "phone", "tablet"),
    fingerprints: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 2 }),
    scopes: fc.uniqueArray(right, { maxLength: 3 }),
    enabled: fc.boolean(),
    token: fc.option(fc.constantFrom(...TOKENS)),
  })
  .map(({ token, ...rest }) =>
    parsePeer({ ...rest, ...(token === null ? {} : { tokenHash: hashToken(token) }) }),
  );
const anyApiKey = fc
  .record({
    token: fc.constantFrom(...TOKENS),
    scopes: fc.uniqueArray(right, { maxLength: 3 }),
    expiresAt: fc.option(fc.constantFrom(10, 20, 30), { nil: undefined }),
  })
  .map(({ token, scopes, expiresAt }) =>
    parseApiKey({ prefix: token.slice(0, 8), hash: hashToken(token), scopes, expiresAt }),
  );
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("peer" as const), entry: anyPeer }) },
  fc.record({ kind: fc.constant("no peer" as const), name: fc.constantFrom("laptop", "phone") }),
  fc.record({ kind: fc.constant("key" as const), entry: anyApiKey }),
  fc.record({
    kind: fc.constant("no key" as const),
    name: fc.constantFrom("alk_aaaa", "alk_bbbb"),
  }),
  fc.record({ kind: fc.constant("roles" as const), scopes: fc.subarray(ACTIONS) }),
  fc.record({ kind: fc.constant("time" as const), by: fc.constantFrom(-20_000, 3_000, 11_000) }),
  fc.record({ kind: fc.constant("begin" as const) }),
  fc.record({ kind: fc.constant("swap" as const) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("connect" as const),
      credential: fc.constantFrom(...KEYS, ...TOKENS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("take" as const), at: fc.nat(20), action: fc.nat(2) }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Live {
  readonly credential: string;
  readonly auth: OwnedAuthContext;
  readonly id: string;
  over: boolean;
  readonly held: { readonly action: string; readonly grant: Grant; over: boolean }[];
}

test("after any changes, in any order, each context and each grant is what the entries say", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: "max" }), (steps) => {
      const clock = new FakeClock(0);
      using index = new IdentityIndex({ clock });
      const model: Model = { peers: new Map(), apiKeys: new Map(), roles: new Map(), now: 0 };
      // So that the clock is looked at.
      const watch = peer("watch", [], { scopes: ["fs:read until 2099-01-01T00:00:00Z"] });
      model.peers.set("watch", watch);
      index.patch({ peers: new Map([["watch", watch]]) });
      const live: Live[] = [];
      let building: Building | undefined;
      // Keys of two, of which a patch cannot know that they are one's again.
      let doubtful = new Set<string>();
      for (const each of steps) {
        apply(each);
        for (const credential of [...KEYS, ...TOKENS]) {
          if (holders(model, credential).length > 1) doubtful.add(credential);
        }
        check();
      }
      for (const { auth } of live) auth[Symbol.dispose]();

      function patch(
        peers: Map<string, PeerEntry | undefined>,
        apiKeys = new Map<string, ApiKeyEntry | undefined>(),
      ): void {
        for (const [name, entry] of peers) {
          building?.peers.set(name, entry);
          if (entry === undefined) model.peers.delete(name);
          else model.peers.set(name, entry);
        }
        for (const [prefix, entry] of apiKeys) {
          building?.apiKeys.set(prefix, entry);
          if (entry === undefined) model.apiKeys.delete(prefix);
          else model.apiKeys.set(prefix, entry);
        }
        index.patch({ peers, apiKeys });
      }

      function apply(each: Step): void {
        switch (each.kind) {
          case "peer":
            return patch(new Map([[each.entry.peerId.toLowerCase(), each.entry]]));
          case "no peer":
            return patch(new Map([[each.name, undefined]]));
          case "key":
            return patch(new Map(), new Map([[each.entry.prefix, each.entry]]));
          case "no key":
            return patch(new Map(), new Map([[each.name, undefined]]));
          case "roles":
            model.roles = roles(...each.scopes);
            index.setRoles(model.roles);
            return;
          case "time":
            if (each.by < 0) clock.setWallTime(clock.wallTime() + each.by);
            else clock.advance(each.by);
            model.now = Math.max(model.now, clock.wallTime());
            return;
          case "begin": {
            const rebuild = index.rebuild();
            for (const entry of model.peers.values()) rebuild.peer(entry);
            for (const entry of model.apiKeys.values()) rebuild.apiKey(entry);
            const unsure = [...KEYS, ...TOKENS].filter((it) => holders(model, it).length > 1);
            building = { rebuild, unsure, peers: new Map(), apiKeys: new Map() };
            return;
          }
          case "swap":
            if (building === undefined) return;
            building.rebuild.swap(building);
            doubtful = new Set(building.unsure);
            building = undefined;
            return;
          case "connect": {
            const { credential } = each;
            const found = lookUp(model, credential);
            const auth = authenticate(index, proofOf(credential));
            if (auth.peer === undefined) return;
            assert.equal(auth.peer.id, found?.id);
            live.push({ credential, auth, id: auth.peer.id, over: false, held: [] });
            return;
          }
          case "take": {
            const one = live[each.at];
            const action = ACTIONS[each.action] ?? "";
            if (one === undefined || one.over) return;
            if (lookUp(model, one.credential)?.may.has(action) === true) {
              one.held.push({ action, grant: one.auth.grant(action), over: false });
            } else assert.throws(() => one.auth.grant(action), { code: "ACCESS_DENIED" });
          }
        }
      }

      function check(): void {
        for (const credential of [...KEYS, ...TOKENS]) {
          const found = lookUp(model, credential);
          const proof = proofOf(credential);
          const identity =
            proof.kind === "token"
              ? index.resolveToken(proof.token)
              : index.resolveFingerprint(proof.fingerprint);
          if (identity === undefined && doubtful.has(credential)) continue;
          assert.equal(identity?.id, found?.id);
          assert.deepEqual(new Set(identity?.scopes), found?.may ?? new Set());
        }
        for (const one of live) {
          const { credential, auth, id } = one;
          const found = lookUp(model, credential);
          const mustEnd = one.over || found?.id !== id;
          if (mustEnd || !doubtful.has(credential)) assert.equal(auth.revoked.aborted, mustEnd);
          one.over = auth.revoked.aborted;
          for (const held of one.held) {
            held.over ||= one.over || found?.may.has(held.action) !== true;
            assert.equal(held.grant.signal.aborted, held.over);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

interface Building {
  readonly rebuild: Rebuild;
  readonly unsure: readonly string[];
  readonly peers: Map<string, PeerEntry | undefined>;
  readonly apiKeys: Map<string, ApiKeyEntry | undefined>;
}

function proofOf(credential: string): Credential {
  return credential.startsWith("alk_")
    ? { kind: "token", token: Buffer.from(credential) }
    : { kind: "fingerprint", fingerprint: credential };
}
