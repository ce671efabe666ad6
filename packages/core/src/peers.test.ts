import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { parsePeer, type PeerEntry, PeerError } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";

const A = `ed25519:${"a".repeat(64)}`;
const B = `SHA256:${"b".repeat(64)}`;

function entry(peerId: string, more: Partial<PeerEntry> = {}): PeerEntry {
  return { peerId, fingerprints: [], scopes: [], enabled: true, ...more };
}

function hashOf(token: string): string {
  return `sha256:${createHash("sha256").update(token).digest("hex")}`;
}

test("staticIdentities() resolves any key of an enabled peer to one frozen identity", () => {
  const identities = staticIdentities([
    entry("den", {
      fingerprints: [A, B],
      scopes: ["git:read"],
      resources: { repo: ["x"] },
      displayName: "Den",
    }),
    entry("old", { fingerprints: [`ed25519:${"c".repeat(64)}`], enabled: false }),
  ]);
  const identity = identities.resolveFingerprint(A);
  assert.deepEqual(identity, {
    id: "den",
    scopes: ["git:read"],
    resources: { repo: ["x"] },
    displayName: "Den",
  });
  assert.equal(identities.resolveFingerprint(B), identity);
  assert.ok(
    Object.isFrozen(identity) &&
      Object.isFrozen(identity?.scopes) &&
      Object.isFrozen(identities.peers),
  );
  assert.equal(identities.resolveFingerprint(`ed25519:${"c".repeat(64)}`), undefined);
  assert.equal(identities.resolveFingerprint(A.toUpperCase()), undefined);
});

test("resolveToken() knows the vector of the specification, and nothing else", () => {
  const tokenHash = "sha256:c3f5a31f80c348f2299591e850be92443cce676d899d4ab6dc0f406f5e3b8370";
  assert.equal(hashOf("alk_test"), tokenHash);
  const identities = staticIdentities([
    entry("ci", { tokenHash }),
    entry("off", { tokenHash: hashOf("off"), enabled: false }),
  ]);
  assert.equal(identities.resolveToken(Buffer.from("alk_test"))?.id, "ci");
  for (const token of ["", "alk_tes", "alk_test\0", "off", tokenHash, "x".repeat(5_000)]) {
    assert.equal(identities.resolveToken(Buffer.from(token)), undefined);
  }
});

test("replace() puts the new list in the place of the old, then tells all who follow", () => {
  const identities = staticIdentities([entry("den", { fingerprints: [A] })]);
  const seen: (string | undefined)[] = [];
  const stop = identities.subscribe(() => seen.push(identities.resolveFingerprint(A)?.id));
  identities.replace([entry("barn", { fingerprints: [A] })]);
  stop();
  stop();
  identities.replace([]);
  assert.deepEqual(seen, ["barn"]);
  assert.deepEqual(identities.peers, []);
});

test("replace() keeps the identity of a peer in whom nothing has changed", () => {
  const identities = staticIdentities([
    entry("den", { fingerprints: [A], scopes: ["git:read"] }),
    entry("barn"),
  ]);
  const before = identities.resolveFingerprint(A);
  identities.replace([
    entry("den", { fingerprints: [A, B], scopes: ["git:read"], addresses: ["den.example"] }),
  ]);
  assert.equal(identities.resolveFingerprint(A), before);
  assert.equal(identities.resolveFingerprint(B), before);
  identities.replace([entry("den", { fingerprints: [A], scopes: ["git:write"] })]);
  assert.notEqual(identities.resolveFingerprint(A), before);
});

test("replace() leaves all as it was if the new list does not hold together", () => {
  const identities = staticIdentities([entry("den", { fingerprints: [A] })]);
  let told = 0;
  identities.subscribe(() => told++);
  assert.throws(() => identities.replace([entry("den"), entry("Den")]), PeerError);
  assert.equal(identities.resolveFingerprint(A)?.id, "den");
  assert.equal(told, 0);
});

test("replace() tells everybody, also after one who throws", () => {
  const identities = staticIdentities([]);
  let told = 0;
  identities.subscribe(() => {
    throw new Error("mine");
  });
  identities.subscribe(() => told++);
  assert.throws(() => identities.replace([]), { name: "AggregateError" });
  assert.equal(told, 1);
});

test("a subscription ends once, also for a listener that subscribed twice", () => {
  const identities = staticIdentities([]);
  let told = 0;
  const listener = (): void => {
    told++;
  };
  const stop = identities.subscribe(listener);
  identities.subscribe(listener);
  stop();
  stop();
  identities.replace([]);
  assert.equal(told, 1);
});

test("addresses come back in normal form, with a port", () => {
  const { peers } = staticIdentities([
    entry("den", { addresses: ["DEN.example", "10.0.0.1:443", "fd00::1"] }),
  ]);
  assert.deepEqual(peers[0]?.addresses, ["den.example:7433", "10.0.0.1:443", "[fd00::1]:7433"]);
});

test("an entry that is not as it has to be is refused with its field", () => {
  const fails = (peers: PeerEntry[], code: string, field: unknown[], message: RegExp): void => {
    assert.throws(() => staticIdentities(peers), { name: "PeerError", code, field, message });
  };
  for (const name of ["", "-x", "a b", "a/b", "ä", "x".repeat(65)]) {
    fails([entry(name)], "PEER_INVALID", ["peerId"], /expected 1 to 64 letters/);
  }
  fails([entry("Owner")], "PEER_INVALID", ["peerId"], /owner/);
  fails(
    [entry("den", { fingerprints: [A, "ed25519:1"] })],
    "PEER_INVALID",
    ["fingerprints", 1],
    /"den": cannot parse fingerprint "ed25519:1"/,
  );
  fails(
    [entry("den", { scopes: ["git:read", "git"] })],
    "PEER_INVALID",
    ["scopes", 1],
    /cannot parse scope "git"/,
  );
  fails(
    [entry("den", { addresses: ["a b"] })],
    "PEER_INVALID",
    ["addresses", 0],
    /cannot parse address/,
  );
  fails(
    [entry("den", { tokenHash: "alk_test" })],
    "PEER_INVALID",
    ["tokenHash"],
    /"sha256:" and 64/,
  );
  fails(
    [entry("den", { scopes: Array.from({ length: 1_025 }, () => "git:read") })],
    "PEER_INVALID",
    ["scopes"],
    /more than 1024/,
  );
  fails([entry("den"), entry("DEN")], "DUPLICATE_PEER_ID", ["peerId"], /upper and lower case/);
  fails(
    [entry("a", { fingerprints: [A] }), entry("b", { fingerprints: [B, A] })],
    "DUPLICATE_FINGERPRINT",
    ["fingerprints", 1],
    /also a key of "a"/,
  );
  fails(
    [entry("a", { tokenHash: hashOf("t") }), entry("b", { tokenHash: hashOf("t") })],
    "DUPLICATE_TOKEN",
    ["tokenHash"],
    /token of "a"/,
  );
  // A key may move from a peer that is no longer let in.
  staticIdentities([
    entry("a", { fingerprints: [A], enabled: false }),
    entry("b", { fingerprints: [A] }),
  ]);
});

test("parsePeer() takes no more than every store can give back", () => {
  const peer = { peerId: "laptop", fingerprints: [], scopes: [], enabled: true };
  const many = Object.fromEntries(Array.from({ length: 1_025 }, (_, at) => [`name${at}`, ["x"]]));
  const wide = { names: Array.from({ length: 1_025 }, () => "x") };
  // As JSON, which is how they are kept, these are more than a MiB.
  const long = { names: Array.from({ length: 200 }, () => "\u0001".repeat(1_000)) };
  for (const resources of [many, wide, long]) {
    assert.throws(() => parsePeer({ ...peer, resources }), {
      code: "PEER_INVALID",
      field: ["resources"],
    });
  }
  const scopes = Array.from({ length: 1_024 }, (_, at) => `fs:read:${at}${"\u0001".repeat(900)}`);
  assert.throws(() => parsePeer({ ...peer, scopes }), { code: "PEER_INVALID", field: ["scopes"] });
  const most = Array.from({ length: 1_024 }, (_, at) => `fs:read:${at}${"x".repeat(900)}`);
  assert.equal(parsePeer({ ...peer, scopes: most }).scopes.length, 1_024);
});
