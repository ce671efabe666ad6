import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type ApiKeyEntry, hashToken, parseApiKey } from "./api-key.ts";
import { FakeClock } from "./fake-clock.ts";
import { IdentityIndex } from "./identity-index.ts";
import { parsePeer, type PeerEntry } from "./peers.ts";

const KEYS = Array.from({ length: 8 }, (_, at) => `ed25519:${String(at).repeat(64)}`);
const [A = "", B = "", C = ""] = KEYS;

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return parsePeer({ peerId, fingerprints, scopes: [], enabled: true, ...rest });
}

function indexOf(peers: PeerEntry[], options = {}, apiKeys: ApiKeyEntry[] = []): IdentityIndex {
  const index = new IdentityIndex(options);
  const builder = index.rebuild();
  for (const each of peers) builder.peer(each);
  for (const each of apiKeys) builder.apiKey(each);
  builder.swap();
  return index;
}

test("a rebuild is seen when it is swapped in, and not before", () => {
  using index = indexOf([peer("laptop", [A])]);
  let told = 0;
  index.subscribe(() => told++);
  const builder = index.rebuild();
  builder.peer(peer("phone", [B]));
  assert.equal(index.resolveFingerprint(A)?.id, "laptop");
  assert.equal(index.resolveFingerprint(B), undefined);
  builder.swap();
  assert.equal(index.resolveFingerprint(A), undefined);
  assert.equal(index.resolveFingerprint(B)?.id, "phone");
  assert.equal(told, 1);
});

test("an entry that says the same keeps its identity, so that nobody has to look again", () => {
  using index = indexOf([peer("laptop", [A], { scopes: ["ssh:shell"] })]);
  const before = index.resolveFingerprint(A);
  const builder = index.rebuild();
  builder.peer(peer("laptop", [A, B], { scopes: ["ssh:shell"] }));
  builder.swap();
  assert.equal(index.resolveFingerprint(A), before);
  assert.equal(index.resolveFingerprint(B), before);
});

test("patch() replaces, adds and takes away, and tells once", () => {
  using index = indexOf([peer("laptop", [A]), peer("phone", [B])]);
  let told = 0;
  index.subscribe(() => told++);
  index.patch({
    peers: new Map([
      ["laptop", peer("laptop", [C])],
      ["phone", undefined],
    ]),
  });
  assert.equal(told, 1);
  assert.equal(index.resolveFingerprint(A), undefined);
  assert.equal(index.resolveFingerprint(B), undefined);
  assert.equal(index.resolveFingerprint(C)?.id, "laptop");
  assert.deepEqual(
    index.peers.map(({ peerId }) => peerId),
    ["laptop"],
  );
});

test("patch() moves a key from one peer to another in one step", () => {
  using index = indexOf([peer("laptop", [A]), peer("phone", [B])]);
  index.patch({
    peers: new Map([
      ["laptop", peer("laptop", [B])],
      ["phone", peer("phone", [A])],
    ]),
  });
  assert.equal(index.resolveFingerprint(A)?.id, "phone");
  assert.equal(index.resolveFingerprint(B)?.id, "laptop");
  assert.deepEqual(index.problems, []);
});

test("a key of two peers is nobody's, and the problem is told", () => {
  using index = indexOf([peer("laptop", [A, C]), peer("phone", [A, B])]);
  assert.equal(index.resolveFingerprint(A), undefined);
  assert.equal(index.resolveFingerprint(B)?.id, "phone");
  assert.equal(index.resolveFingerprint(C)?.id, "laptop");
  assert.match(index.problems[0]?.message ?? "", /also a key of "laptop"/);
  using patched = indexOf([peer("laptop", [A])]);
  patched.patch({ peers: new Map([["phone", peer("phone", [A])]]) });
  assert.equal(patched.resolveFingerprint(A), undefined);
  assert.equal(patched.problems[0]?.subject, "peer phone");
});

test("names that differ in case alone are one name", () => {
  using index = indexOf([peer("Laptop", [A]), peer("laptop", [B])]);
  assert.equal(index.resolveFingerprint(A)?.id, "Laptop");
  assert.equal(index.resolveFingerprint(B), undefined);
  assert.equal(index.problems.length, 1);
  assert.equal(index.peer("LAPTOP")?.peerId, "Laptop");
});

test("a disabled peer is let in by nothing, and its key may be another's", () => {
  const tokenHash = hashToken("alk_secret");
  using index = indexOf([
    peer("old", [A], { enabled: false, tokenHash }),
    peer("new", [A], { tokenHash }),
  ]);
  assert.equal(index.resolveFingerprint(A)?.id, "new");
  assert.equal(index.resolveToken(Buffer.from("alk_secret"))?.id, "new");
  assert.deepEqual(index.problems, []);
});

test("rights end by the clock, each at its moment, and an API key as a whole", () => {
  const clock = new FakeClock();
  const at = (ms: number): string =>
    new Date(Math.ceil(clock.wallTime() / 1_000) * 1_000 + ms).toISOString();
  const scopes = [`ssh:shell until ${at(2_000)}`, `git:read until ${at(5_000)}`, "fs:read"];
  const expiresAt = Date.parse(at(3_000)) / 1_000;
  const prefix = "alk_abcd";
  const key = parseApiKey({
    prefix,
    hash: hashToken("alk_abcdef"),
    scopes: ["mcp:use"],
    expiresAt,
  });
  using index = indexOf([peer("laptop", [A], { scopes })], { clock }, [key]);
  const seen: string[] = [];
  const look = (): void => {
    const token = index.resolveToken(Buffer.from("alk_abcdef"))?.id ?? "";
    seen.push([...(index.resolveFingerprint(A)?.scopes ?? []), token].join(" "));
  };
  look();
  index.subscribe(look);
  for (let step = 0; step < 80; step++) clock.advance(100);
  assert.deepEqual(seen, [
    "ssh:shell git:read fs:read alk_abcd",
    "git:read fs:read alk_abcd",
    "git:read fs:read ",
    "fs:read ",
  ]);
});

test("a right that comes while another is waited for ends in time", () => {
  const clock = new FakeClock();
  const until = (ms: number): string =>
    `ssh:shell until ${new Date(clock.wallTime() + ms).toISOString()}`;
  using index = indexOf([peer("laptop", [A], { scopes: [until(60_000)] })], { clock });
  index.patch({ peers: new Map([["phone", peer("phone", [B], { scopes: [until(50)] })]]) });
  assert.deepEqual(index.resolveFingerprint(B)?.scopes, ["ssh:shell"]);
  clock.advance(51);
  assert.deepEqual(index.resolveFingerprint(B)?.scopes, []);
});

test("a role spells out its scopes, follows a change of them, and is a problem when unknown", () => {
  using index = indexOf([peer("laptop", [A], { scopes: ["@dev", "fs:read"] })]);
  assert.deepEqual(index.resolveFingerprint(A)?.scopes, ["fs:read"]);
  assert.match(index.problems[0]?.message ?? "", /dev/);
  let told = 0;
  index.subscribe(() => told++);
  index.setRoles(new Map([["dev", ["git:read"]]]));
  assert.equal(told, 1);
  assert.deepEqual(index.resolveFingerprint(A)?.scopes, ["git:read", "fs:read"]);
  assert.deepEqual(index.problems, []);
});

test("patch() amounts to a rebuild, whatever came before", () => {
  const entry = fc.record({
    peerId: fc.constantFrom("a", "b", "c", "d"),
    fingerprints: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 3 }),
    enabled: fc.boolean(),
    scopes: fc.subarray(["ssh:shell", "git:read", "@dev"]),
  });
  const steps = fc.array(fc.tuple(entry, fc.boolean()), { maxLength: 12 });
  fc.assert(
    fc.property(steps, (list) => {
      using patched = new IdentityIndex();
      const now = new Map<string, PeerEntry>();
      for (const [each, removed] of list) {
        const parsed = parsePeer(each);
        const taken = [...now.values()].some(
          (other) =>
            other.peerId !== parsed.peerId &&
            other.enabled &&
            parsed.enabled &&
            other.fingerprints.some((key) => parsed.fingerprints.includes(key)),
        );
        // Clashes are settled by the rebuild that follows every patch of a store.
        if (taken && !removed) continue;
        if (removed) now.delete(parsed.peerId);
        else now.set(parsed.peerId, parsed);
        patched.patch({ peers: new Map([[parsed.peerId, removed ? undefined : parsed]]) });
      }
      using rebuilt = indexOf([...now.values()]);
      for (const key of KEYS) {
        assert.deepEqual(patched.resolveFingerprint(key), rebuilt.resolveFingerprint(key));
      }
      assert.deepEqual(
        new Set(patched.problems.map(({ subject }) => subject)),
        new Set(rebuilt.problems.map(({ subject }) => subject)),
      );
    }),
  );
});
