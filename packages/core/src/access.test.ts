import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { duplexPair } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import {
  AccessDenied,
  AccessRevoked,
  authenticate,
  type Credential,
  type Cut,
  type Grant,
  type Identity,
  type IdentityProvider,
  ownerContext,
} from "./access.ts";
import { closeCodeOf } from "./close-code.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";

const LAPTOP = `ed25519:${"1".repeat(64)}`;
const PHONE = `ed25519:${"2".repeat(64)}`;

function peer(
  peerId: string,
  fingerprint: string,
  scopes: string[],
  more: Partial<PeerEntry> = {},
): PeerEntry {
  return { peerId, fingerprints: [fingerprint], scopes, enabled: true, ...more };
}

function key(fingerprint: string): Credential {
  return { kind: "fingerprint", fingerprint };
}

const db = { host: "localhost", port: 5432, address: "127.0.0.1" };
const web = { host: "localhost", port: 8080, address: "127.0.0.1" };
const DB = "tunnel:dial:localhost:5432";
const WEB = "tunnel:dial:localhost:8080";

/** Identities that count who follows them. */
function counted(inner: IdentityProvider): IdentityProvider & { readonly following: number } {
  let following = 0;
  return {
    resolveFingerprint: (fingerprint) => inner.resolveFingerprint(fingerprint),
    resolveToken: (token) => inner.resolveToken(token),
    subscribe(listener) {
      following++;
      const stop = inner.subscribe(listener);
      return () => {
        following--;
        stop();
      };
    },
    get following() {
      return following;
    },
  };
}

test("grant() gives what a scope covers, and denies the rest with the scope that is missing", () => {
  using auth = authenticate(staticIdentities([peer("laptop", LAPTOP, [DB])]), key(LAPTOP));
  assert.equal(auth.peer?.id, "laptop");
  assert.equal(auth.fingerprint, LAPTOP);
  using grant = auth.grant("tunnel:dial", db);
  assert.equal(grant.action, "tunnel:dial");
  assert.equal(grant.signal.aborted, false);
  assert.equal(auth.allows("tunnel:dial", web), false);
  assert.throws(
    () => auth.grant("tunnel:dial", web),
    (error) =>
      error instanceof AccessDenied &&
      error.code === "ACCESS_DENIED" &&
      error.message === 'access denied: peer "laptop" lacks tunnel:dial for this resource' &&
      error.missing === WEB,
  );
});

test("AccessDenied shows no target to a logger", () => {
  using auth = authenticate(staticIdentities([peer("laptop", LAPTOP, [])]), key(LAPTOP));
  assert.throws(
    () => auth.grant("tunnel:dial", { host: "secret.example", port: 4_711, address: "192.0.2.77" }),
    (error) => {
      const shown = inspect(error, { depth: 5, showHidden: true }) + JSON.stringify(error);
      return error instanceof AccessDenied && !/secret|4711|192\.0\.2/.test(shown);
    },
  );
});

test("a name is not granted before it is resolved, and allowed if some address would be", () => {
  const scopes = ["tunnel:dial:*.example:443"];
  using auth = authenticate(staticIdentities([peer("laptop", LAPTOP, scopes)]), key(LAPTOP));
  const unresolved = { host: "a.example", port: 443 };
  assert.equal(auth.allows("tunnel:dial", unresolved), true);
  assert.throws(() => auth.grant("tunnel:dial", unresolved), /the host was not resolved/);
  const never = { host: "b.test", port: 443 };
  assert.throws(() => auth.grant("tunnel:dial", never), {
    code: "ACCESS_DENIED",
    reason: 'peer "laptop" lacks tunnel:dial for this resource',
  });
  auth.grant("tunnel:dial", { ...unresolved, address: "192.0.2.1" })[Symbol.dispose]();
  assert.throws(() => auth.grant("tunnel:dial", { ...unresolved, address: "127.0.0.1" }), {
    code: "ACCESS_DENIED",
  });
});

test("a stranger has a fingerprint and no rights; nobody has neither", () => {
  const provider = counted(staticIdentities([peer("laptop", LAPTOP, ["*"])]));
  for (const credential of [key(PHONE), undefined]) {
    using auth = authenticate(provider, credential);
    assert.equal(auth.peer, undefined);
    assert.equal(auth.fingerprint, credential === undefined ? undefined : PHONE);
    assert.equal(auth.revoked.aborted, false);
    assert.equal(auth.allows("ssh:shell"), false);
    assert.throws(() => auth.grant("ssh:shell"), {
      code: "ACCESS_DENIED",
      reason: "not a peer",
      missing: "ssh:shell",
    });
  }
  assert.equal(provider.following, 0);
});

test("a stranger stays one after being let in; the next connection is a peer's", () => {
  const identities = staticIdentities([]);
  using before = authenticate(identities, key(LAPTOP));
  identities.replace([peer("laptop", LAPTOP, ["*"])]);
  assert.equal(before.peer, undefined);
  assert.equal(before.allows("ssh:shell"), false);
  using after = authenticate(identities, key(LAPTOP));
  assert.equal(after.peer?.id, "laptop");
});

test("a token is a credential, copied, and shows no fingerprint", () => {
  const token = Buffer.from("alk_test-token-of-some-length");
  const tokenHash = `sha256:${createHash("sha256").update(token).digest("hex")}`;
  const identities = staticIdentities([peer("ci", PHONE, ["git:read"], { tokenHash })]);
  using auth = authenticate(identities, { kind: "token", token });
  token.fill(0);
  assert.equal(auth.peer?.id, "ci");
  assert.equal(auth.fingerprint, undefined);
  identities.replace([peer("ci", PHONE, ["git:write"], { tokenHash })]);
  assert.equal(auth.allows("git:write"), true);
  identities.replace([peer("ci", PHONE, ["git:write"])]);
  assert.equal(auth.revoked.aborted, true);
  assert.equal(
    authenticate(identities, { kind: "token", token: Buffer.from("x") }).peer,
    undefined,
  );
});

test("revoked aborts when the key no longer names the same peer, and grants fall with it", () => {
  const changes: [string, PeerEntry[]][] = [
    ["removed", []],
    ["disabled", [peer("laptop", LAPTOP, [DB], { enabled: false })]],
    ["key replaced", [peer("laptop", PHONE, [DB])]],
    ["key given to another", [peer("other", LAPTOP, [DB])]],
  ];
  for (const [what, peers] of changes) {
    const identities = staticIdentities([peer("laptop", LAPTOP, [DB])]);
    const provider = counted(identities);
    const auth = authenticate(provider, key(LAPTOP));
    const grant = auth.grant("tunnel:dial", db);
    const late = auth.grant("tunnel:dial", db);
    const { revoked } = auth;
    const { signal } = grant;
    identities.replace(peers);
    assert.ok(revoked.aborted && revoked.reason instanceof AccessRevoked, what);
    assert.ok(signal.aborted && signal.reason instanceof AccessRevoked, what);
    // Also where nobody had looked at the signal before.
    assert.ok(late.signal.aborted && late.signal.reason instanceof AccessRevoked, what);
    assert.throws(() => auth.grant("tunnel:dial", db), { code: "ACCESS_REVOKED" });
    assert.equal(auth.allows("tunnel:dial", db), false);
    assert.equal(provider.following, 0);
  }
});

test("followRevocation() is told before the signal's listeners, and soon when it is late", async () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB])]);
  using auth = authenticate(identities, key(LAPTOP));
  using stranger = authenticate(identities, key(PHONE));
  const told: string[] = [];
  stranger.followRevocation(() => told.push("stranger"));
  auth.revoked.addEventListener("abort", () => told.push("signal"));
  auth.followRevocation(() => told.push("owner"));
  identities.replace([]);
  assert.deepEqual(told, ["owner", "signal"]);
  auth.followRevocation(() => told.push("late"));
  await Promise.resolve();
  assert.deepEqual(told, ["owner", "signal", "late"]);
});

test("a grant's follower is told before its signal's listeners, soon when it is late, never once disposed", async () => {
  const peers = staticIdentities([peer("laptop", LAPTOP, [DB, WEB])]);
  using auth = authenticate(peers, key(LAPTOP));
  using grant = auth.grant("tunnel:dial", db);
  const kept = auth.grant("tunnel:dial", web);
  const done = auth.grant("tunnel:dial", db);
  const told: string[] = [];
  grant.signal.addEventListener("abort", () => told.push("listener"));
  grant.followRevocation(({ code }) => told.push(code));
  kept.followRevocation(() => told.push("kept"));
  done.followRevocation(() => told.push("done"));
  done[Symbol.dispose]();
  peers.replace([peer("laptop", LAPTOP, [WEB])]);
  assert.deepEqual(told, ["ACCESS_REVOKED", "listener"]);
  grant.followRevocation(({ message }) => told.push(message));
  assert.equal(told.length, 2);
  await Promise.resolve();
  assert.equal(told[2], 'access revoked: peer "laptop" no longer has tunnel:dial');
});

test("hold() gives a right that is no scope, for as long as the peer has it", () => {
  const owning = (...names: string[]) => [
    peer("laptop", LAPTOP, [], { resources: { container: names } }),
  ];
  const owns = (name: string) => (it: Identity) =>
    it.resources["container"]?.includes(name) === true;
  const peers = staticIdentities(owning("web", "db"));
  using auth = authenticate(peers, key(LAPTOP));
  using web = auth.hold("container/web", owns("web"));
  using db = auth.hold("container/db", owns("db"));
  assert.throws(() => auth.hold("container/mail", owns("mail")), {
    code: "ACCESS_DENIED",
    message: 'access denied: peer "laptop" lacks container/mail',
  });
  peers.replace(owning("db"));
  assert.equal((web.signal.reason as AccessRevoked).code, "ACCESS_REVOKED");
  assert.equal(db.signal.aborted, false);
  using owner = ownerContext();
  assert.equal(owner.hold("container/mail", () => false).action, "container/mail");
  using stranger = authenticate(peers, key(PHONE));
  assert.throws(() => stranger.hold("container/db", () => true), { code: "ACCESS_DENIED" });
});

test("a change of rights ends the grants that fall, and no others", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB, WEB])]);
  using auth = authenticate(identities, key(LAPTOP));
  using first = auth.grant("tunnel:dial", db);
  using second = auth.grant("tunnel:dial", web);
  identities.replace([peer("laptop", LAPTOP, ["tunnel:dial:localhost:8000-9000", "git:read"])]);
  assert.equal(first.signal.aborted, true);
  assert.equal((first.signal.reason as AccessRevoked).code, "ACCESS_REVOKED");
  assert.equal(second.signal.aborted, false);
  assert.equal(auth.revoked.aborted, false);
  assert.equal(auth.allows("git:read"), true);
  assert.throws(() => auth.grant("tunnel:dial", db), { code: "ACCESS_DENIED" });
});

test("a key that is rotated in ends nothing: the peer is the same", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB])]);
  using auth = authenticate(identities, key(LAPTOP));
  using grant = auth.grant("tunnel:dial", db);
  identities.replace([
    peer("laptop", LAPTOP, [DB], { fingerprints: [PHONE, LAPTOP], displayName: "Laptop" }),
  ]);
  assert.equal(grant.signal.aborted, false);
  assert.equal(auth.revoked.aborted, false);
  assert.equal(auth.peer?.displayName, "Laptop");
});

test("other peers notice nothing", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB]), peer("phone", PHONE, [DB])]);
  using phone = authenticate(identities, key(PHONE));
  using grant = phone.grant("tunnel:dial", db);
  identities.replace([peer("phone", PHONE, [DB])]);
  assert.equal(grant.signal.aborted || phone.revoked.aborted, false);
});

test("a pipeline on a grant's signal ends with ACCESS_REVOKED as its cause", async () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB])]);
  using auth = authenticate(identities, key(LAPTOP));
  using grant = auth.grant("tunnel:dial", db);
  const [a] = duplexPair();
  const [b] = duplexPair();
  const running = pipeline(a, b, { signal: grant.signal });
  identities.replace([]);
  await assert.rejects(running, (error) => closeCodeOf(error) === 3);
});

test("a context that is disposed of takes no new grants, and follows those that are held to their end", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB, WEB])]);
  const provider = counted(identities);
  const auth = authenticate(provider, key(LAPTOP));
  const first = auth.grant("tunnel:dial", db);
  const second = auth.grant("tunnel:dial", web);
  auth[Symbol.dispose]();
  auth[Symbol.dispose]();
  assert.throws(() => auth.grant("tunnel:dial", db), { code: "ACCESS_REVOKED" });
  assert.equal(provider.following, 1);
  identities.replace([peer("laptop", LAPTOP, [WEB])]);
  assert.equal(first.signal.aborted, true);
  assert.equal(second.signal.aborted, false);
  second[Symbol.dispose]();
  second[Symbol.dispose]();
  assert.equal(provider.following, 0);
  identities.replace([]);
  assert.equal(second.signal.aborted, false);
  assert.equal(auth.revoked.aborted, false);
});

test("thousands of contexts and grants leave nothing behind", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB])]);
  const provider = counted(identities);
  const contexts = Array.from({ length: 2_000 }, () => authenticate(provider, key(LAPTOP)));
  const held = contexts.flatMap((auth) => [
    auth.grant("tunnel:dial", db),
    auth.grant("tunnel:dial", db),
  ]);
  assert.equal(provider.following, 2_000);
  for (const grant of held) grant[Symbol.dispose]();
  for (const auth of contexts) auth[Symbol.dispose]();
  assert.equal(provider.following, 0);
});

test("what a listener does while identities change disturbs nobody", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB]), peer("phone", PHONE, [DB])]);
  const provider = counted(identities);
  const laptops = Array.from({ length: 10 }, () => authenticate(provider, key(LAPTOP)));
  using phone = authenticate(provider, key(PHONE));
  let refused = 0;
  for (const auth of laptops) {
    const grant = auth.grant("tunnel:dial", db);
    grant.signal.addEventListener("abort", () => {
      // As a handler does that ends: let go of everything, and try once more.
      grant[Symbol.dispose]();
      for (const other of laptops) other[Symbol.dispose]();
      assert.throws(() => auth.grant("tunnel:dial", db), { code: "ACCESS_REVOKED" });
      refused++;
      identities.replace([peer("phone", PHONE, [DB])]);
    });
  }
  identities.replace([peer("phone", PHONE, [DB])]);
  assert.equal(refused, 10);
  assert.equal(provider.following, 1);
  phone.grant("tunnel:dial", db)[Symbol.dispose]();
});

test("a provider that fails while it is asked again revokes, and the others are told", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB]), peer("phone", PHONE, [DB])]);
  let broken = false;
  const provider: IdentityProvider = {
    ...identities,
    resolveFingerprint(fingerprint) {
      if (broken && fingerprint === LAPTOP) throw new Error("disk on fire");
      return identities.resolveFingerprint(fingerprint);
    },
  };
  using laptop = authenticate(provider, key(LAPTOP));
  using phone = authenticate(provider, key(PHONE));
  broken = true;
  identities.replace([]);
  assert.match(String((laptop.revoked.reason as Error).cause), /disk on fire/);
  assert.equal(phone.revoked.aborted, true);
});

test("scopes that do not parse grant nothing, and are mentioned", () => {
  const identity = { id: "laptop", scopes: ["tunel:*:x", "git:read"], resources: {} };
  const provider: IdentityProvider = {
    resolveFingerprint: () => identity,
    resolveToken: () => undefined,
    subscribe: () => () => {},
  };
  using auth = authenticate(provider, key(LAPTOP));
  assert.equal(auth.allows("git:read"), true);
  assert.throws(() => auth.grant("git:write"), /1 of its scopes do not parse/);
});

test("ownerContext() may do everything, and no peer may be called so", () => {
  using owner = ownerContext();
  assert.equal(owner.peer?.id, "owner");
  for (const resource of [
    db,
    { host: "x", port: 1, address: "169.254.169.254" },
    { unixPath: "/run/docker.sock" },
    { host: "unresolved.example", port: 1 },
  ]) {
    using grant = owner.grant("tunnel:dial", resource);
    assert.equal(grant.signal.aborted, false);
    assert.equal(owner.allows("tunnel:dial", resource), true);
  }
  assert.throws(() => owner.grant("everything"), { name: "TypeError" });
  assert.throws(() => staticIdentities([peer("owner", LAPTOP, ["*"])]), { code: "PEER_INVALID" });
  // A provider that has one all the same gives it no more than its scopes.
  const provider: IdentityProvider = {
    resolveFingerprint: () => ({ id: "owner", scopes: ["*"], resources: {} }),
    resolveToken: () => undefined,
    subscribe: () => () => {},
  };
  using impostor = authenticate(provider, key(LAPTOP));
  assert.equal(impostor.allows("tunnel:dial", db), false);
});

test("after any changes, held grants stand exactly as far as their scopes do", () => {
  const scopes = [
    "tunnel:dial:localhost:1",
    "tunnel:dial:localhost:2",
    "tunnel:dial:localhost:1-3",
  ];
  const resource = (port: number): object & { host: string; port: number; address: string } => ({
    host: "localhost",
    port,
    address: "::1",
  });
  const covers = (granted: readonly string[], port: number): boolean =>
    granted.some((scope) => scope.endsWith("1-3") || scope.endsWith(`:${port}`));
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ drop: fc.nat(20) }),
    fc.record({ change: fc.subarray(scopes) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let granted = [...scopes];
      const identities = staticIdentities([peer("laptop", LAPTOP, granted)]);
      const auth = authenticate(identities, key(LAPTOP));
      const held: { port: number; grant: Grant; fallen: boolean }[] = [];
      for (const each of steps) {
        if ("take" in each) {
          const port = each.take;
          if (!covers(granted, port)) {
            assert.throws(() => auth.grant("tunnel:dial", resource(port)), {
              code: "ACCESS_DENIED",
            });
          } else
            held.push({ port, grant: auth.grant("tunnel:dial", resource(port)), fallen: false });
        } else if ("drop" in each) {
          held.splice(each.drop, 1)[0]?.grant[Symbol.dispose]();
        } else {
          granted = each.change;
          identities.replace([peer("laptop", LAPTOP, granted)]);
          for (const one of held) one.fallen ||= !covers(granted, one.port);
        }
      }
      for (const { grant, fallen } of held) assert.equal(grant.signal.aborted, fallen);
    }),
  );
});

test("whoever follows a revocation and fails keeps no right alive, and nobody else from being told", () => {
  const identities = staticIdentities([peer("laptop", LAPTOP, [DB]), peer("phone", PHONE, [DB])]);
  const laptop = authenticate(identities, key(LAPTOP));
  const phone = authenticate(identities, key(PHONE));
  const grant = laptop.grant("tunnel:dial", db);
  const { signal } = grant;
  const { revoked } = laptop;
  laptop.followRevocation(() => {
    throw new Error("disk on fire");
  });
  assert.throws(() => identities.replace([]), /cannot tell all/);
  assert.equal(revoked.aborted, true);
  assert.equal(signal.aborted, true);
  assert.equal(phone.revoked.aborted, true);
});

test("a change that is made while another is told of is the one that counts", () => {
  const both = ["git:read", "git:write"];
  const identities = staticIdentities([peer("laptop", LAPTOP, both)]);
  const auth = authenticate(identities, key(LAPTOP));
  const read = auth.grant("git:read");
  const write = auth.grant("git:write");
  const cuts: Cut[] = [];
  read.signal.addEventListener("abort", () => {
    // Given back before everybody has been told that they were taken away.
    identities.replace([peer("laptop", LAPTOP, both)]);
  });
  const { signal } = write;
  identities.replace([peer("laptop", LAPTOP, [])]);
  assert.equal(read.signal.aborted, true);
  assert.equal(signal.aborted, false);
  const { revoked } = auth;
  revoked.addEventListener("abort", () => cuts.push(identities.replace([])));
  cuts.push(identities.replace([]));
  assert.deepEqual(cuts, [
    { connections: 0, grants: 0 },
    { connections: 1, grants: 0 },
  ]);
});
