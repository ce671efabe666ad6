import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { AccessRevoked } from "@alknet/core/access";
import { FakeClock } from "@alknet/core/testing";
import { freePort } from "@alknet/core/testing-port";
import { outbound } from "./outbound.ts";
import { parseProxy } from "./proxy.ts";
import { tcpServer, testPeer } from "./testing.ts";
import { refusal } from "./test-refusal.ts";

const never = new AbortController().signal;
const target = { host: "db.example", port: 5432 };
const RIGHT = "tunnel:dial:db.example:5432";

/** A proxy that answers each thing it hears with the next of `answers`, and keeps what it heard. */
async function scripted(...answers: readonly (string | Uint8Array)[]) {
  const heard: Buffer[] = [];
  const server = await tcpServer((socket) => {
    const left = [...answers];
    socket.on("data", (bytes: Buffer) => {
      heard.push(bytes);
      const answer = left.shift();
      if (answer !== undefined) socket.write(answer);
      else if (answers.length > 0) socket.end();
    });
  });
  const { port } = server.to;
  return {
    heard,
    port,
    via: (kind: "socks5" | "http", login = "") =>
      outbound({
        proxy: parseProxy(`${kind}://${login}proxy.internal:${port}`),
        resolve: async (host) => (host === "proxy.internal" ? ["127.0.0.1"] : assert.fail(host)),
      }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const CONNECTED = Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0);

test("a SOCKS proxy is asked for the name, and what it sends behind its answer is the target's", async () => {
  await using proxy = await scripted(
    Buffer.of(5, 0),
    Buffer.concat([CONNECTED, Buffer.from("hi")]),
  );
  const { auth } = testPeer(RIGHT);
  using flow = await proxy.via("socks5").connect(auth, target, { signal: never });
  assert.equal(proxy.heard[0]!.toString("hex"), "050100");
  const name = Buffer.from("db.example").toString("hex");
  assert.equal(proxy.heard[1]!.toString("hex"), `050100030a${name}1538`);
  const [first] = await once(flow.socket.resume(), "data");
  assert.equal(String(first), "hi");
  flow.socket.destroy();
});

test("a SOCKS proxy gets user and password if it asks for them", async () => {
  for (const [method, expected] of [
    [Buffer.of(5, 2), 3],
    [Buffer.of(5, 0), 2],
  ] as const) {
    const login = method[1] === 2 ? [Buffer.of(1, 0)] : [];
    await using proxy = await scripted(method, ...login, CONNECTED);
    const { auth } = testPeer(RIGHT);
    const out = proxy.via("socks5", "me:secret@");
    using flow = await out.connect(auth, target, { signal: never });
    assert.equal(proxy.heard.length, expected);
    assert.equal(proxy.heard[0]!.toString("hex"), "05020002");
    flow.socket.destroy();
  }
});

test("an HTTP proxy is asked for the name, with a login, and what follows its head is the target's", async () => {
  await using proxy = await scripted("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhi");
  const { auth } = testPeer(RIGHT);
  using flow = await proxy.via("http", "me:secret@").connect(auth, target, { signal: never });
  assert.match(
    String(proxy.heard[0]),
    /^CONNECT db.example:5432 HTTP\/1.1\r\nHost: db.example:5432\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n$/,
  );
  assert.equal(String((await once(flow.socket.resume(), "data"))[0]), "hi");
  flow.socket.destroy();
});

test("what a proxy answers is told to who asked, without the proxy's address and password", async () => {
  const { auth } = testPeer(RIGHT);
  const socks = (code: number) => [Buffer.of(5, 0), Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0)];
  for (const [kind, answers, expected, text] of [
    ["socks5", socks(1), "failed", /the proxy has failed/],
    ["socks5", socks(2), "not-allowed", /not allowed by the proxy/],
    ["socks5", socks(3), "network-unreachable", /network unreachable/],
    ["socks5", socks(4), "host-unreachable", /host unreachable/],
    ["socks5", socks(5), "refused", /connection refused/],
    ["socks5", socks(6), "timed-out", /timed out/],
    ["socks5", socks(8), "failed", /answers 8/],
    ["socks5", [Buffer.of(5, 255)], "failed", /asks for a login/],
    ["socks5", [Buffer.of(5, 2), Buffer.of(1, 1)], "failed", /user and password/],
    ["socks5", [Buffer.of(4, 0)], "failed", /no SOCKS 5/],
    ["socks5", [Buffer.of(5, 0), Buffer.of(5, 0, 0, 9, 9)], "failed", /address of type 9/],
    ["http", ["HTTP/1.1 403 Forbidden\r\n\r\n"], "not-allowed", /answers 403/],
    ["http", ["HTTP/1.1 407 Login\r\n\r\n"], "failed", /user and password/],
    ["http", ["HTTP/1.1 401 Login\r\n\r\n"], "failed", /user and password/],
    ["http", ["HTTP/1.1 500 200 OK\r\n\r\n"], "failed", /answers 500/],
    ["http", ["HTTP/1.1 302 Found\r\n\r\n"], "failed", /answers 302/],
    ["http", ["HTTP/1.1 502 Bad Gateway\r\n\r\n"], "host-unreachable", /answers 502/],
    ["http", ["HTTP/1.1 504 Timeout\r\n\r\n"], "timed-out", /answers 504/],
    ["http", ["SSH-2.0-OpenSSH\r\n"], "failed", /HTTP\/1/],
    ["http", [`HTTP/1.1 200 OK\r\nX: ${"x".repeat(17_000)}`], "failed", /more than 16384 bytes/],
  ] as const) {
    await using proxy = await scripted(...answers);
    const out = proxy.via(kind, "me:secret@");
    const refused = await refusal(out.connect(auth, target, { signal: never }));
    assert.equal(refused.refusal, expected, String(text));
    assert.match(refused.message, /^db\.example:5432: /);
    assert.match(refused.message, text);
    const told = `${refused.message} ${String(refused.stack)}`;
    assert.doesNotMatch(told, new RegExp(`secret|proxy\\.internal|:${proxy.port}`));
    assert.equal(out.flows, 0);
  }
});

test("a proxy that is not there, or hangs up, is never gone around", async () => {
  await using real = await tcpServer(() => assert.fail("connected directly"));
  const { auth } = testPeer("tunnel:dial:localhost:*");
  const dead = outbound({ proxy: parseProxy(`socks5://127.0.0.1:${await freePort()}`) });
  const refused = await refusal(dead.connect(auth, real.to, { signal: never }));
  assert.equal(refused.refusal, "failed");
  assert.match(refused.message, /the proxy cannot be reached/);
  await using proxy = await tcpServer((socket) => socket.end());
  for (const kind of ["socks5", "http"]) {
    const out = outbound({ proxy: parseProxy(`${kind}://127.0.0.1:${proxy.to.port}`) });
    const ended = await refusal(out.connect(auth, real.to, { signal: never }));
    assert.match(ended.message, /without an answer/);
  }
});

test("through a proxy, only a scope that names the name opens it; an address is checked as ever", async () => {
  await using proxy = await scripted(Buffer.of(5, 0), CONNECTED);
  const out = proxy.via("socks5");
  const { auth } = testPeer("tunnel:dial", "tunnel:dial:*:*", "tunnel:dial:0.0.0.0/0:*");
  for (const host of [
    "db.example",
    "localhost",
    "127.0.0.1",
    "169.254.169.254",
    "::ffff:127.0.0.1",
  ]) {
    const refused = await refusal(out.connect(auth, { host, port: 5432 }, { signal: never }));
    assert.equal(refused.refusal, "not-allowed");
    assert.match(refused.message, /this key lacks tunnel:dial:/);
  }
  assert.equal(proxy.heard.length, 0);
  using flow = await out.connect(auth, { host: "192.0.2.1", port: 258 }, { signal: never });
  assert.equal(proxy.heard[1]!.toString("hex"), "05010001c00002010102");
  flow.socket.destroy();
});

test("a proxy that says nothing is given up at the deadline, and when the right falls", async () => {
  await using proxy = await tcpServer();
  const url = parseProxy(`http://127.0.0.1:${proxy.to.port}`);
  const clock = new FakeClock();
  const { auth, rights } = testPeer(RIGHT);
  const out = outbound({ proxy: url, clock });
  const accepted = once(proxy.server, "connection") as Promise<[Socket]>;
  const late = refusal(out.connect(auth, target, { signal: never }));
  const [first] = await accepted;
  await once(first, "data");
  const ended = once(first, "end");
  clock.advance(10_000);
  assert.equal((await late).refusal, "timed-out");
  await ended;

  const again = once(proxy.server, "connection") as Promise<[Socket]>;
  const falls = refusal(out.connect(auth, target, { signal: never }));
  const [second] = await again;
  await once(second, "data");
  rights("ssh:shell");
  assert.equal((await falls).refusal, "not-allowed");
  assert.equal(out.flows, 0);
});

test("a right that falls later aborts a flow that goes through a proxy", async () => {
  await using proxy = await scripted("HTTP/1.0 200 Connection established\r\n\r\n");
  const { auth, rights } = testPeer(RIGHT);
  using flow = await proxy.via("http").connect(auth, target, { signal: never });
  rights("ssh:shell");
  assert.ok(flow.signal.reason instanceof AccessRevoked);
  flow.socket.destroy();
});
