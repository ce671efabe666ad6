import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticate } from "./access.ts";
import { hashToken } from "./api-key.ts";
import { FakeClock } from "./fake-clock.ts";
import { joinIdentities } from "./joined-identities.ts";
import { MemoryDatabase } from "./memory-store.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";

const [A = "", B = "", C = ""] = ["a", "b", "c"].map((digit) => `ed25519:${digit.repeat(64)}`);

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return { peerId, fingerprints, scopes: [], enabled: true, ...rest };
}

test("joinIdentities() finds whoever one of the sources knows", async () => {
  const config = staticIdentities([peer("laptop", [A])]);
  await using store = await new MemoryDatabase().open();
  await store.putPeer(peer("phone", [B], { tokenHash: hashToken("alk_x") }));
  const joined = joinIdentities([config, store]);
  assert.equal(joined.resolveFingerprint(A)?.id, "laptop");
  assert.equal(joined.resolveFingerprint(B)?.id, "phone");
  assert.equal(joined.resolveToken(Buffer.from("alk_x"))?.id, "phone");
  assert.equal(joined.resolveFingerprint(C), undefined);
  assert.deepEqual(
    joined.peers.map(({ peerId }) => peerId),
    ["laptop", "phone"],
  );
  assert.equal(joined.peers, joined.peers);
  await store.putPeer(peer("tablet", [C]));
  assert.equal(joined.peers.length, 3);
  assert.equal(joined.peer("TABLET")?.peerId, "tablet");
});

test("a name in the configuration is not to be had by the store, enabled or not", async () => {
  const config = staticIdentities([peer("laptop", [A], { enabled: false, scopes: ["ssh:shell"] })]);
  await using store = await new MemoryDatabase().open();
  await store.putPeer(peer("Laptop", [B], { scopes: ["*"] }));
  const joined = joinIdentities([config, store]);
  assert.equal(joined.resolveFingerprint(A), undefined);
  assert.equal(joined.resolveFingerprint(B), undefined);
  assert.deepEqual(
    joined.peers.map(({ peerId }) => peerId),
    ["laptop"],
  );
  assert.equal(joined.problems[0]?.subject, "peer laptop");
});

test("a change of any source ends what it allowed", async () => {
  const config = staticIdentities([]);
  await using store = await new MemoryDatabase().open();
  await store.putPeer(peer("phone", [B], { scopes: ["ssh:shell"] }));
  const joined = joinIdentities([config, store]);
  using auth = authenticate(joined, { kind: "fingerprint", fingerprint: B });
  const { revoked } = auth;
  config.replace([peer("laptop", [A])]);
  assert.equal(revoked.aborted, false);
  // The name is taken away from the store: whoever came by it is not that peer any more.
  assert.deepEqual(config.replace([peer("phone", [A])]), { connections: 1, grants: 0 });
  assert.equal(revoked.aborted, true);
});

test("what follows no more is not told", async () => {
  const config = staticIdentities([]);
  const joined = joinIdentities([config]);
  let told = 0;
  const stop = joined.subscribe(() => told++);
  config.replace([peer("laptop", [A])]);
  stop();
  config.replace([]);
  assert.equal(told, 1);
});

test("a key in the configuration is not to be had by the store, whatever the configuration makes of it", async () => {
  const token = "alk_abcd-and-more";
  const clock = new FakeClock();
  const config = staticIdentities(
    [peer("laptop", [A], { enabled: false, tokenHash: hashToken("a token") })],
    {
      clock,
      apiKeys: [
        { prefix: token.slice(0, 8), hash: hashToken(token), scopes: [], expiresAt: 1_000 },
      ],
    },
  );
  await using store = await new MemoryDatabase().open();
  await store.putPeer(peer("phone", [A, B], { tokenHash: hashToken("a token"), scopes: ["*"] }));
  await store.putPeer(peer("tablet", [C], { tokenHash: hashToken(token), scopes: ["*"] }));
  const joined = joinIdentities([config, store]);
  assert.equal(joined.resolveFingerprint(A), undefined);
  assert.equal(joined.resolveToken(Buffer.from("a token")), undefined);
  assert.equal(joined.resolveToken(Buffer.from(token)), undefined);
  assert.equal(joined.resolveFingerprint(B)?.id, "phone");
  assert.equal(joined.resolveFingerprint(C)?.id, "tablet");
  // Gone from there, it is the store's; back there, and who came by it is cut off.
  config.replace([]);
  assert.equal(joined.resolveToken(Buffer.from(token))?.id, "tablet");
  using auth = authenticate(joined, { kind: "fingerprint", fingerprint: A });
  assert.equal(auth.peer?.id, "phone");
  config.replace([peer("laptop", [A], { enabled: false })]);
  assert.equal(auth.revoked.aborted, true);
});
