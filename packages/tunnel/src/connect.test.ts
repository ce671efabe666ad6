import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { AccessRevoked } from "@alknet/core/access";
import { FakeClock } from "@alknet/core/testing";
import { freePort } from "@alknet/core/testing-port";
import { connectTarget, type Reach, systemConnect, systemConnectLarge } from "./connect.ts";
import { tcpServer, testPeer } from "./testing.ts";
import { refusal } from "./test-refusal.ts";

const never = new AbortController().signal;

/** Reach in which nothing is real: names have these addresses, and connecting is up to the test. */
function fakeReach(addresses: readonly string[], connect: Reach["connect"]) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const resolve = async (host: string) => {
    asked.push(host);
    return addresses;
  };
  return { clock, asked, reach: { resolve, connect, clock, deadline: 10_000 } };
}

const systemError = (code: string) => Object.assign(new Error(code), { code });

test("connectTarget() connects to what the rights allow, and holds the grant", async () => {
  await using server = await tcpServer((socket) => socket.end("hello"));
  const { port } = server.to;
  const { auth, rights } = testPeer(`tunnel:dial:localhost:${port}`);
  const { reach } = fakeReach([], systemConnect);
  const { socket, grant } = await connectTarget(auth, { host: "localhost", port }, reach, never);
  assert.equal(String((await once(socket.resume(), "data"))[0]), "hello");
  assert.equal(grant.signal.aborted, false);
  rights("tunnel:dial:localhost:1");
  assert.ok(grant.signal.reason instanceof AccessRevoked);
  socket.destroy();
  await once(socket, "close");
});

test("connectTarget() looks up no name for whom no address under it could be allowed", async () => {
  const { auth } = testPeer("tunnel:dial:db.internal:5432", "tunnel:dial:10.0.0.0/8:80");
  const { asked, reach } = fakeReach([], () => assert.fail("connected"));
  for (const target of [
    { host: "other.internal", port: 5432 },
    { host: "db.internal", port: 5433 },
    { host: "192.0.2.1", port: 80 },
    { host: "localhost", port: 5432 },
  ]) {
    const refused = await refusal(connectTarget(auth, target, reach, never));
    assert.equal(refused.refusal, "not-allowed");
    assert.match(refused.message, /not allowed, this key lacks tunnel:dial:/);
  }
  assert.deepEqual(asked, []);
});

test("connectTarget() tries the addresses that are allowed, and no other", async () => {
  const { auth } = testPeer("tunnel:dial:10.0.0.0/8:80");
  const tried: string[] = [];
  const { reach } = fakeReach(["192.0.2.1", "10.0.0.1", "::1", "10.0.0.2"], async (address) => {
    tried.push(address);
    throw systemError("ECONNREFUSED");
  });
  const refused = await refusal(connectTarget(auth, { host: "web", port: 80 }, reach, never));
  assert.equal(refused.refusal, "refused");
  assert.deepEqual(tried, ["10.0.0.1", "10.0.0.2"]);
});

test("connectTarget() is no way around the rules for addresses: a name that points home is not allowed", async () => {
  const { auth } = testPeer("tunnel:dial:*:*", "tunnel:dial:*.example:*");
  for (const address of ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "::ffff:127.0.0.1"]) {
    const { reach } = fakeReach([address], () => assert.fail("connected"));
    const target = { host: "evil.example", port: 80 };
    const refused = await refusal(connectTarget(auth, target, reach, never));
    assert.equal(refused.refusal, "not-allowed", address);
  }
});

test("connectTarget() lets families take turns, the next address after 250 ms, or when all before have failed", async () => {
  const { auth } = testPeer("tunnel:dial");
  const tried: string[] = [];
  const attempts: PromiseWithResolvers<Socket>[] = [];
  const aborted: string[] = [];
  const { clock, reach } = fakeReach(
    ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"],
    (address, _port, signal) => {
      tried.push(address);
      signal.addEventListener("abort", () => aborted.push(address));
      const attempt = Promise.withResolvers<Socket>();
      attempts.push(attempt);
      return attempt.promise;
    },
  );
  const connected = connectTarget(auth, { host: "web", port: 80 }, reach, never);
  await new Promise(setImmediate);
  assert.deepEqual(tried, ["2001:db8::1"]);
  clock.advance(249);
  assert.equal(tried.length, 1);
  clock.advance(1);
  await new Promise(setImmediate);
  assert.deepEqual(tried, ["2001:db8::1", "192.0.2.1"]);
  attempts[1]!.reject(systemError("ECONNREFUSED"));
  await new Promise(setImmediate);
  assert.equal(tried.length, 2);
  clock.advance(250);
  await new Promise(setImmediate);
  assert.deepEqual(tried, ["2001:db8::1", "192.0.2.1", "2001:db8::2"]);
  // The first was only slow.
  const socket = {} as Socket;
  attempts[0]!.resolve(socket);
  assert.equal((await connected).socket, socket);
  // The one that was under way.
  assert.deepEqual(aborted, ["2001:db8::2"]);
  clock.advance(10_000);
  assert.equal(tried.length, 3);
});

test("connectTarget() tells apart why it failed, and reports what tells most", async () => {
  const { auth } = testPeer("tunnel:dial");
  for (const [codes, expected] of [
    [["ECONNREFUSED"], "refused"],
    [["EHOSTUNREACH"], "host-unreachable"],
    [["ENETUNREACH"], "network-unreachable"],
    [["ETIMEDOUT"], "timed-out"],
    [["EMFILE"], "limit"],
    [["EWHATEVER"], "failed"],
    [["ENETUNREACH", "ECONNREFUSED"], "refused"],
    [["EHOSTUNREACH", "ETIMEDOUT", "EWHATEVER"], "timed-out"],
  ] as const) {
    const left = [...codes];
    const addresses = codes.map((_, index) => `192.0.2.${index + 1}`);
    const { reach } = fakeReach(addresses, async () => {
      throw systemError(left.shift()!);
    });
    const refused = await refusal(connectTarget(auth, { host: "web", port: 80 }, reach, never));
    assert.equal(refused.refusal, expected, codes.join());
  }
});

test("connectTarget() tells a name without an address", async () => {
  const { auth } = testPeer("tunnel:dial");
  const { reach } = fakeReach([], systemConnect);
  for (const code of ["ENOTFOUND", "EAI_AGAIN"]) {
    const resolve = async () => {
      throw systemError(code);
    };
    const target = { host: "nowhere.example", port: 80 };
    const refused = await refusal(connectTarget(auth, target, { ...reach, resolve }, never));
    assert.equal(refused.refusal, "host-not-found");
    assert.match(refused.message, /^nowhere.example:80: /);
  }
  const refused = await refusal(connectTarget(auth, { host: "web", port: 80 }, reach, never));
  assert.equal(refused.refusal, "host-not-found");
});

test("connectTarget() gives up at its deadline, in the look-up as in connecting", async () => {
  const { auth } = testPeer("tunnel:dial");
  const target = { host: "web", port: 80 };
  const stuck = () => new Promise<never>(() => {});
  const inConnect = fakeReach(["192.0.2.1", "192.0.2.2"], stuck);
  const inResolve = fakeReach([], stuck);
  for (const [clock, reach] of [
    [inConnect.clock, inConnect.reach],
    [inResolve.clock, { ...inResolve.reach, resolve: stuck }],
  ] as const) {
    const refused = refusal(connectTarget(auth, target, reach, never));
    await new Promise(setImmediate);
    clock.advance(10_000);
    assert.equal((await refused).refusal, "timed-out");
  }
});

test("connectTarget() stops when who asked is gone, and when the right falls while it waits", async () => {
  const target = { host: "web", port: 80 };
  const { auth, rights } = testPeer("tunnel:dial");
  const { reach } = fakeReach(
    ["192.0.2.1"],
    (_address, _port, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  );
  const gone = new AbortController();
  const first = connectTarget(auth, target, reach, gone.signal);
  await new Promise(setImmediate);
  gone.abort(new Error("gone"));
  await assert.rejects(first, { message: "gone" });

  const second = refusal(connectTarget(auth, target, reach, never));
  await new Promise(setImmediate);
  rights("ssh:shell");
  assert.equal((await second).refusal, "not-allowed");
});

test("systemConnect() fails with the system's error, and leaves nothing behind when it is given up", async () => {
  const port = await freePort();
  const reason = new Error("given up");
  for (const connect of [systemConnect, systemConnectLarge]) {
    await assert.rejects(connect("127.0.0.1", port, never), { code: "ECONNREFUSED" });
    await assert.rejects(connect("127.0.0.1", port, AbortSignal.abort(reason)), reason);
  }
});
