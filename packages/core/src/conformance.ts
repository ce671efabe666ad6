/**
 * What every store of identities has to do, as tests: run by all of ours, and by yours.
 *
 * ```ts
 * import { identityStoreConformance } from "@alknet/core/conformance";
 * import { MemoryDatabase } from "@alknet/core/memory-store";
 *
 * identityStoreConformance("memory", async () => {
 *   const database = new MemoryDatabase();
 *   return { open: (options) => database.open(options), async [Symbol.asyncDispose]() {} };
 * });
 * ```
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { authenticate } from "./access.ts";
import { type ApiKeyEntry, createToken, hashToken, tokenPrefix } from "./api-key.ts";
import { credentialConformance } from "./credential-conformance.ts";
import { FakeClock } from "./fake-clock.ts";
import { parsePeer, type PeerEntry } from "./peers.ts";
import type { Invitation } from "./store-backend.ts";
import type { StoreFixture } from "./store-fixture.ts";

export interface ConformanceOptions {
  /** Fields of a peer that this store cannot keep, because its table has no column for them. */
  readonly without?:
    | readonly ("resources" | "displayName" | "addresses" | "tokenHash")[]
    | undefined;
}

const KEYS = Array.from({ length: 200 }, (_, at) => `ed25519:${at.toString(16).padStart(64, "0")}`);
const [A = "", B = "", C = ""] = KEYS;

/** Text that would be something else in SQL, in a LIKE pattern or in JSON. */
const HOSTILE = `'; DROP TABLE peers; -- " \\ % _ $1 ? :x \n \u2028 é 日本`;

function peer(peerId: string, fingerprints: string[], rest: Partial<PeerEntry> = {}): PeerEntry {
  return { peerId, fingerprints, scopes: [], enabled: true, ...rest };
}

function apiKey(token: string, rest: Partial<ApiKeyEntry> = {}): ApiKeyEntry {
  return { prefix: tokenPrefix(token), hash: hashToken(token), scopes: ["mcp:use"], ...rest };
}

function invitation(secret: string, rest: Partial<Invitation> = {}): Invitation {
  const createdAt = Date.now();
  return {
    id: "abcd2345",
    secretHash: hashToken(secret),
    peerId: undefined,
    scopes: ["ssh:shell"],
    addsKey: false,
    createdAt,
    expiresAt: createdAt + 600_000,
    createdBy: "owner",
    usedAt: undefined,
    usedBy: undefined,
    ...rest,
  };
}

/** Run the suite on the stores that `make` gives. */
export function identityStoreConformance(
  name: string,
  make: () => Promise<StoreFixture>,
  { without = [] }: ConformanceOptions = {},
): void {
  const keeps = (field: (typeof without)[number]): boolean => !without.includes(field);

  credentialConformance(name, make);

  describe(`identity store on ${name}`, { concurrency: false }, () => {
    test("a write resolves when look-ups here see it", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.putPeer(peer("laptop", [A], { scopes: ["ssh:shell", "git:read:a/*"] }));
      assert.equal(store.resolveFingerprint(A)?.id, "laptop");
      assert.deepEqual(store.resolveFingerprint(A)?.scopes, ["ssh:shell", "git:read:a/*"]);
      await store.removePeer("laptop");
      assert.equal(store.resolveFingerprint(A), undefined);
      assert.deepEqual(store.peers, []);
    });

    test("what was written is there when the database is opened again, as it was", async () => {
      await using fixture = await make();
      const entry = parsePeer(
        peer("laptop", [A, B], {
          scopes: ["ssh:shell until 2999-01-01T00:00:00Z", "@dev"],
          ...(keeps("displayName") ? { displayName: HOSTILE } : {}),
          ...(keeps("resources") ? { resources: { [HOSTILE]: [HOSTILE, ""] } } : {}),
          ...(keeps("addresses") ? { addresses: ["[2001:db8::1]:7433", "den.example:1"] } : {}),
          ...(keeps("tokenHash") ? { tokenHash: hashToken("alk_x") } : {}),
        }),
      );
      const disabled = parsePeer(peer("old", [C], { enabled: false }));
      const token = createToken();
      const key = apiKey(token, { description: HOSTILE, expiresAt: 32_503_680_000 });
      await using first = await fixture.open();
      await first.putPeer(entry);
      await first.putPeer(disabled);
      await first.putApiKey(key);
      await using second = await fixture.open();
      const shown = second.peers.toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1));
      assert.deepEqual(shown.map(definedOnly), [entry, disabled].map(definedOnly));
      assert.deepEqual(second.apiKeys, [key]);
      assert.equal(second.resolveToken(Buffer.from(token))?.id, key.prefix);
      assert.equal(second.resolveFingerprint(C), undefined);
    });

    test("another process sees a change without being asked", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      const { change } = await here.putPeer(peer("laptop", [A]));
      await there.effectOf(change);
      assert.equal(there.resolveFingerprint(A)?.id, "laptop");
      const { change: removed } = await there.removePeer("laptop");
      await here.effectOf(removed);
      assert.equal(here.resolveFingerprint(A), undefined);
    });

    test("a right taken away in another process ends what it allowed, and no more", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      await here.putPeer(peer("laptop", [A], { scopes: ["ssh:shell", "git:read"] }));
      const { change } = await here.putPeer(peer("phone", [B], { scopes: ["ssh:shell"] }));
      await there.effectOf(change);
      using laptop = authenticate(there, { kind: "fingerprint", fingerprint: A });
      using phone = authenticate(there, { kind: "fingerprint", fingerprint: B });
      using shell = laptop.grant("ssh:shell");
      using read = laptop.grant("git:read");
      using other = phone.grant("ssh:shell");
      // A signal is made on first use; from then on it has to be told.
      const signals = [shell.signal, read.signal, other.signal, laptop.revoked, phone.revoked];
      const aborted = (): boolean[] => signals.map((signal) => signal.aborted);

      const narrowed = await here.changePeer("laptop", (entry) => ({
        ...entry!,
        scopes: ["git:read"],
      }));
      assert.deepEqual(await there.effectOf(narrowed.change), { connections: 0, grants: 1 });
      assert.deepEqual(aborted(), [true, false, false, false, false]);

      const removed = await here.removePeer("laptop");
      assert.deepEqual(await there.effectOf(removed.change), { connections: 1, grants: 0 });
      assert.deepEqual(aborted(), [true, true, false, true, false]);
    });

    test("a disabled peer is let in by nothing, and keeps all it had", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const token = createToken();
      const tokenHash = keeps("tokenHash") ? hashToken(token) : undefined;
      await store.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"], tokenHash }));
      await store.changePeer("laptop", (entry) => ({ ...entry!, enabled: false }));
      assert.equal(store.resolveFingerprint(A), undefined);
      assert.equal(store.resolveToken(Buffer.from(token)), undefined);
      await store.changePeer("laptop", (entry) => ({ ...entry!, enabled: true }));
      assert.deepEqual(store.resolveFingerprint(A)?.scopes, ["ssh:shell"]);
    });

    test("a peer keeps its rights when its key changes, and when its name does", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"] }));
      await store.changePeer("laptop", (entry) => ({ ...entry!, fingerprints: [B] }));
      assert.equal(store.resolveFingerprint(A), undefined);
      assert.deepEqual(store.resolveFingerprint(B)?.scopes, ["ssh:shell"]);
      await store.changePeer("laptop", (entry) => ({ ...entry!, peerId: "desk" }));
      assert.equal(store.resolveFingerprint(B)?.id, "desk");
      assert.equal(store.peer("laptop"), undefined);
      // A change of case alone is a change of name, too.
      await store.changePeer("desk", (entry) => ({ ...entry!, peerId: "Desk" }));
      assert.deepEqual(
        store.peers.map(({ peerId }) => peerId),
        ["Desk"],
      );
    });

    test("names and keys have one owner; who would take another's is refused, and nothing changes", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const token = createToken();
      const tokenHash = keeps("tokenHash") ? hashToken(token) : undefined;
      await store.putPeer(peer("laptop", [A], { tokenHash }));
      await store.putPeer(peer("phone", [B]));
      const before = store.peers;
      await assert.rejects(store.putPeer(peer("other", [C, A])), { code: "DUPLICATE_FINGERPRINT" });
      await assert.rejects(
        store.changePeer("phone", (entry) => ({ ...entry!, peerId: "LAPTOP" })),
        { code: "DUPLICATE_PEER_ID" },
      );
      if (keeps("tokenHash")) {
        await assert.rejects(store.putPeer(peer("other", [C], { tokenHash })), {
          code: "DUPLICATE_TOKEN",
        });
        await assert.rejects(store.putApiKey(apiKey(token)), { code: "DUPLICATE_TOKEN" });
      }
      assert.deepEqual(store.peers, before);
      await store.reload();
      assert.deepEqual(store.peers, before);
      // A key of a disabled peer is free, until the peer is enabled again.
      await store.changePeer("laptop", (entry) => ({ ...entry!, enabled: false }));
      await store.putPeer(peer("other", [A]));
      assert.equal(store.resolveFingerprint(A)?.id, "other");
      await assert.rejects(
        store.changePeer("laptop", (entry) => ({ ...entry!, enabled: true })),
        { code: "DUPLICATE_FINGERPRINT" },
      );
    });

    test("bad entries are refused by name, and nothing changes", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const bad: [PeerEntry, string][] = [
        [peer("", [A]), "PEER_INVALID"],
        [peer(HOSTILE, [A]), "PEER_INVALID"],
        [peer("owner", [A]), "PEER_INVALID"],
        [peer("x".repeat(65), [A]), "PEER_INVALID"],
        [peer("laptop", ["ed25519:AB"]), "PEER_INVALID"],
        [peer("laptop", [A], { scopes: ["ssh"] }), "PEER_INVALID"],
        [peer("laptop", [A], { scopes: ["ssh:shell until soon"] }), "PEER_INVALID"],
        [peer("laptop", [A], { scopes: ["x".repeat(2_000)] }), "PEER_INVALID"],
        [peer("laptop", [A], { addresses: ["no port here:"] }), "PEER_INVALID"],
        [peer("laptop", [A], { displayName: "x".repeat(1_000) }), "PEER_INVALID"],
        [
          peer(
            "laptop",
            Array.from({ length: 2_000 }, () => A),
          ),
          "PEER_INVALID",
        ],
      ];
      for (const [entry, code] of bad) {
        await assert.rejects(store.putPeer(entry), { code }, JSON.stringify(entry).slice(0, 80));
      }
      await assert.rejects(store.updatePeer("laptop", peer("laptop", [A])), {
        code: "STORE_NOT_FOUND",
      });
      await assert.rejects(store.updatePeer("laptop", peer("desk", [A])), { name: "TypeError" });
      await assert.rejects(store.removePeer("laptop"), { code: "STORE_NOT_FOUND" });
      await assert.rejects(store.removeApiKey("alk_abcd"), { code: "STORE_NOT_FOUND" });
      assert.deepEqual(store.peers, []);
      assert.deepEqual(await store.audit(), []);
    });

    test("a change that fails leaves nothing behind", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      await here.putPeer(peer("laptop", [A]));
      const failure = new Error("no");
      await assert.rejects(
        here.changePeer("laptop", () => {
          throw failure;
        }),
        (error) => error === failure,
      );
      await assert.rejects(here.putPeer(peer("phone", [A])), { code: "DUPLICATE_FINGERPRINT" });
      for (const store of [here, there]) {
        await store.reload();
        assert.deepEqual(
          store.peers.map(({ peerId, fingerprints }) => [peerId, fingerprints]),
          [["laptop", [A]]],
        );
      }
      assert.equal((await here.audit()).length, 1);
      // Nor does it stand in the way of the next.
      const { change } = await there.putPeer(peer("phone", [B]));
      await here.effectOf(change);
      assert.equal(here.resolveFingerprint(B)?.id, "phone");
    });

    test("changes of one peer by several at once are all made", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      await here.putPeer(peer("laptop", [A]));
      const changes = KEYS.slice(1, 41).map((key, at) =>
        (at % 2 === 0 ? here : there).changePeer("laptop", (entry) => ({
          ...entry!,
          fingerprints: [...entry!.fingerprints, key],
        })),
      );
      await Promise.all(changes);
      await Promise.all([here.reload(), there.reload()]);
      for (const store of [here, there]) {
        assert.deepEqual(new Set(store.peer("laptop")?.fingerprints), new Set(KEYS.slice(0, 41)));
        for (const key of KEYS.slice(0, 41)) {
          assert.equal(store.resolveFingerprint(key)?.id, "laptop");
        }
      }
    });

    test("an API key is its token, until it expires or is taken away", async () => {
      await using fixture = await make();
      const clock = new FakeClock(Date.now());
      await using store = await fixture.open({ clock });
      const token = createToken();
      const expiresAt = Math.floor(clock.wallTime() / 1_000) + 10;
      const key = apiKey(token, { expiresAt, description: "for CI" });
      await store.putApiKey(key);
      using auth = authenticate(store, { kind: "token", token: Buffer.from(token) });
      assert.equal(auth.peer?.id, key.prefix);
      assert.equal(store.resolveToken(Buffer.from(`${token}x`)), undefined);
      assert.equal(store.resolveToken(Buffer.from(key.prefix)), undefined);
      assert.equal(store.resolveToken(Buffer.from([0xff, 0xfe, 0x80])), undefined);
      const { revoked } = auth;
      clock.advance(11_000);
      assert.equal(revoked.aborted, true);
      assert.equal(store.resolveToken(Buffer.from(token)), undefined);
      // It is still there, to be seen and to be removed.
      assert.deepEqual(store.apiKey(key.prefix), key);
      await store.removeApiKey(key.prefix);
      assert.deepEqual(store.apiKeys, []);
    });

    test("roles are spelt out, and follow a change of theirs", async () => {
      await using fixture = await make();
      await using store = await fixture.open({ roles: new Map([["dev", ["git:read"]]]) });
      await store.putPeer(peer("laptop", [A], { scopes: ["@dev", "@nobody"] }));
      assert.deepEqual(store.resolveFingerprint(A)?.scopes, ["git:read"]);
      assert.match(store.problems[0]?.message ?? "", /nobody/);
      using auth = authenticate(store, { kind: "fingerprint", fingerprint: A });
      using grant = auth.grant("git:read");
      const { signal } = grant;
      assert.deepEqual(store.setRoles(new Map([["dev", ["git:write"]]])), {
        connections: 0,
        grants: 1,
      });
      assert.equal(signal.aborted, true);
      assert.deepEqual(store.peer("laptop")?.scopes, ["@dev", "@nobody"]);
    });

    test("of many joins with one invitation exactly one wins, in whatever process", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      const made = invitation("secret", { scopes: ["ssh:shell", "@dev"], peerId: "laptop" });
      await here.addInvitation(made);
      assert.deepEqual(await there.invitations(), [made]);
      const joins = KEYS.slice(0, 100).map((fingerprint, at) =>
        (at % 2 === 0 ? here : there).redeem(made.secretHash, { fingerprint, as: "mallory" }),
      );
      const outcomes = await Promise.all(joins);
      const winners = outcomes.flatMap((it, at) => (it.outcome === "joined" ? [at] : []));
      assert.equal(winners.length, 1);
      assert.ok(outcomes.every(({ outcome }) => outcome === "joined" || outcome === "used"));
      const winner = KEYS[winners[0]!]!;
      await there.reload();
      for (const store of [here, there]) {
        await store.reload();
        assert.equal(store.resolveFingerprint(winner)?.id, "laptop");
        assert.equal(store.peers.length, 1);
      }
      assert.deepEqual(here.peer("laptop")?.scopes, ["ssh:shell", "@dev"]);
      // Whose answer was lost may ask again; nobody else may.
      const again = await there.redeem(made.secretHash, { fingerprint: winner });
      assert.equal(again.outcome, "joined before");
      const [used] = await here.invitations();
      assert.equal(used?.usedBy, winner);
      const joined = (await here.audit()).filter(({ action }) => action === "peer.join");
      assert.deepEqual(
        joined.map(({ actor, subject, detail }) => [actor, subject, detail["invitedBy"]]),
        [["laptop", "laptop", "owner"]],
      );
    });

    test("an invitation that is unknown, expired or would take a name lets nobody in", async () => {
      await using fixture = await make();
      const clock = new FakeClock(Date.now());
      await using store = await fixture.open({ clock });
      const open = invitation("open", { id: "aaaaaaaa" });
      const named = invitation("named", { id: "bbbbbbbb", peerId: "den" });
      await store.addInvitation(open);
      await store.addInvitation(named);
      await assert.rejects(store.addInvitation(open), { code: "STORE_EXISTS" });
      assert.deepEqual(await store.redeem(hashToken("guess"), { fingerprint: A }), {
        outcome: "unknown",
      });
      await store.putPeer(peer("den", [B]));
      assert.deepEqual(await store.redeem(named.secretHash, { fingerprint: A }), {
        outcome: "name taken",
        peerId: "den",
      });
      assert.deepEqual(await store.redeem(open.secretHash, { fingerprint: B, as: "x" }), {
        outcome: "key known",
        peerId: "den",
      });
      await assert.rejects(store.addInvitation(invitation("x", { peerId: "den" })), {
        code: "STORE_EXISTS",
      });
      // By a good deal: it was made by the real clock, some time after.
      clock.advance(900_000);
      assert.deepEqual(await store.redeem(open.secretHash, { fingerprint: A }), {
        outcome: "expired",
      });
      assert.equal(store.resolveFingerprint(A), undefined);
      await store.removeInvitation("aaaaaaaa");
      await store.removeInvitation("bbbbbbbb");
      assert.deepEqual(await store.invitations(), []);
      await assert.rejects(store.removeInvitation("bbbbbbbb"), { code: "STORE_NOT_FOUND" });
    });

    test("an invitation may add a key to a peer, which keeps what it has", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.putPeer(peer("den", [A], { scopes: ["git:read"] }));
      const more = invitation("more", { peerId: "den", addsKey: true, scopes: ["ssh:shell"] });
      await store.addInvitation(more);
      const joined = await store.redeem(more.secretHash, { fingerprint: B, as: "mallory" });
      assert.equal(joined.outcome, "joined");
      for (const key of [A, B]) {
        assert.deepEqual(store.resolveFingerprint(key)?.scopes, ["git:read", "ssh:shell"]);
      }
    });

    test("an invitation to add a key lets nobody in whose peer is gone, or disabled", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.putPeer(peer("den", [A]));
      const more = invitation("more", { peerId: "den", addsKey: true });
      await store.addInvitation(more);
      const gone = { outcome: "peer gone", peerId: "den" };
      await store.changePeer("den", (entry) => ({ ...entry!, enabled: false }));
      assert.deepEqual(await store.redeem(more.secretHash, { fingerprint: B }), gone);
      await store.removePeer("den");
      assert.deepEqual(await store.redeem(more.secretHash, { fingerprint: B }), gone);
      assert.deepEqual(store.peers, []);
      const [unused] = await store.invitations();
      assert.equal(unused?.usedAt, undefined);
    });

    test("an invitation lets nobody in whose key is that of a disabled peer, by whatever name", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.putPeer(peer("den", [A]));
      await store.putPeer(peer("nas", [B]));
      await store.changePeer("den", (entry) => ({ ...entry!, enabled: false }));
      for (const [at, of] of [{}, { peerId: "desk" }, { peerId: "nas", addsKey: true }].entries()) {
        const made = invitation(`made ${at}`, { id: `aaaaaaa${at}`, ...of });
        await store.addInvitation(made);
        assert.deepEqual(await store.redeem(made.secretHash, { fingerprint: A, as: "laptop" }), {
          outcome: "peer gone",
          peerId: "den",
        });
      }
      await store.changePeer("den", (entry) => ({ ...entry!, enabled: true }));
      assert.equal(store.resolveFingerprint(A)?.id, "den");
    });

    test("an invitation lets nobody in whose peer another process has just disabled", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await here.putPeer(peer("den", [A]));
      const made = invitation("made", { peerId: "desk" });
      await here.addInvitation(made);
      await using there = await fixture.open();
      await here.changePeer("den", (entry) => ({ ...entry!, enabled: false }));
      // Which may not have been heard of over there.
      assert.deepEqual(await there.redeem(made.secretHash, { fingerprint: A }), {
        outcome: "peer gone",
        peerId: "den",
      });
    });

    test("who may choose its name gets it if it can be one, and the invitation's if not", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const wishes = ["laptop", "owner", "alk_abcd", "a b", "", undefined];
      for (const [at, as] of wishes.entries()) {
        const open = invitation(`open ${at}`, { id: `aaaaaaa${at}` });
        await store.addInvitation(open);
        const redeemed = await store.redeem(open.secretHash, { fingerprint: KEYS[at]!, as });
        assert.equal(redeemed.outcome, "joined");
        assert.equal(store.resolveFingerprint(KEYS[at]!)?.id, at === 0 ? "laptop" : open.id);
      }
      const other = invitation("other", { id: "bbbbbbbb" });
      await store.addInvitation(other);
      const joiner = { fingerprint: KEYS[9]!, as: "Den" };
      assert.deepEqual(
        await store.redeem(other.secretHash, { ...joiner, isTaken: (name) => name === "Den" }),
        { outcome: "name taken", peerId: "Den" },
      );
    });

    test("the audit says who changed what when, and no secret", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const token = createToken();
      const begin = Date.now();
      await store.putPeer(peer("laptop", [A], { scopes: ["ssh:shell"] }), { actor: "den" });
      await store.changePeer("laptop", (entry) => ({ ...entry!, scopes: ["git:read"] }));
      await store.putApiKey(apiKey(token));
      await store.removePeer("laptop");
      const entries = await store.audit();
      assert.deepEqual(
        entries.map(({ actor, action, subject }) => `${actor} ${action} ${subject}`),
        [
          "den peer.add laptop",
          "owner peer.change laptop",
          `owner token.create ${tokenPrefix(token)}`,
          "owner peer.remove laptop",
        ],
      );
      assert.deepEqual(entries[1]?.detail, { scopes: { from: ["ssh:shell"], to: ["git:read"] } });
      for (const { at } of entries) assert.ok(at >= begin && at <= Date.now());
      assert.ok(!JSON.stringify(entries).includes(hashToken(token).slice(20)));
      const [first, second] = entries;
      const later = await store.audit({ after: first!.id, limit: 2 });
      assert.deepEqual(
        later.map(({ id }) => id),
        entries.slice(-2).map(({ id }) => id),
      );
      assert.ok(second!.id > first!.id);
    });

    test("a change that changes nothing is none: not noted, and nobody is told", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const entry = peer("laptop", [A], { scopes: ["ssh:shell"] });
      await store.putPeer(entry);
      using auth = authenticate(store, { kind: "fingerprint", fingerprint: A });
      using _grant = auth.grant("ssh:shell");
      const { change } = await store.putPeer(entry);
      assert.equal(change, 0);
      assert.deepEqual(await store.effectOf(change), { connections: 0, grants: 0 });
      await store.changePeer("laptop", (before) => ({ ...before! }));
      assert.equal((await store.audit()).length, 1);
    });

    test("some thousand peers are loaded, and found", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      const names = Array.from({ length: 1_200 }, (_, at) => `peer-${at}`);
      for (const [at, peerId] of names.entries()) {
        const fingerprint = `SHA256:${at.toString(16).padStart(64, "0")}`;
        await here.putPeer(peer(peerId, [fingerprint], { scopes: ["git:read"] }));
      }
      await using there = await fixture.open();
      assert.equal(there.peers.length, 1_200);
      const last = `SHA256:${(1_199).toString(16).padStart(64, "0")}`;
      const before = there.resolveFingerprint(last);
      assert.equal(before?.id, "peer-1199");
      await there.reload();
      assert.equal(there.resolveFingerprint(last), before, "nothing changed, nobody looks again");
    });

    test("a closed store takes no more, and closing twice is closing", async () => {
      await using fixture = await make();
      const store = await fixture.open();
      await store.putPeer(peer("laptop", [A]));
      await Promise.all([store.close(), store.close()]);
      await assert.rejects(store.putPeer(peer("phone", [B])), { code: "STORE_CLOSED" });
      await assert.rejects(store.audit(), { code: "STORE_CLOSED" });
      await using again = await fixture.open();
      assert.equal(again.resolveFingerprint(A)?.id, "laptop");
    });
  });
}

function definedOnly(entry: PeerEntry): object {
  const defined = Object.entries(entry).filter(
    ([key, value]) =>
      value !== undefined &&
      // Nothing in it is the same as not being there.
      !(key !== "fingerprints" && key !== "scopes" && isEmpty(value)),
  );
  return Object.fromEntries(defined);
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
