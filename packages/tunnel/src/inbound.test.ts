import assert from "node:assert/strict";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { ownerContext } from "@alknet/core/access";
import { silentLogger } from "@alknet/core/log";
import { freePort } from "@alknet/core/testing-port";
import { inbound, type InboundPlace, type Origin, type PeerListener } from "./inbound.ts";
import { ownSockets } from "./own-sockets.ts";
import type { FlowRefused } from "./refused.ts";
import { readAll, tcpServer, testPeer as peer } from "./testing.ts";

function connectTo(place: InboundPlace, host?: string): Socket {
  const to = "path" in place ? place : { host: host ?? place.host, port: place.port };
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.on("error", () => {});
  return socket;
}

/** Also of one that fails. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

const { signal: never } = new AbortController();
const echo = (socket: Socket): void => void socket.pipe(socket);

function portOf({ place }: PeerListener): number {
  assert.ok("port" in place);
  return place.port;
}

async function refusal(promise: Promise<unknown>): Promise<[string, string]> {
  const error = await promise.then(
    () => assert.fail("expected a refusal"),
    (reason: unknown) => reason as FlowRefused,
  );
  return [error.refusal, error.message];
}

async function refuses(place: InboundPlace, host?: string): Promise<void> {
  const [error] = await once(
    connect("path" in place ? place : { ...place, host: host ?? place.host }),
    "error",
  );
  assert.match(error.code, /^(ECONNREFUSED|ENOENT)$/);
}

/** A folder of its own; disposing removes it. */
function folder(): { readonly at: (name: string) => string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "alk-in-"));
  return {
    at: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

test("inbound() hands over what connects, half-open, and says where it comes from", async () => {
  const { auth } = peer("tunnel:listen:127.0.0.1:*");
  const origins: Origin[] = [];
  const listening = inbound();
  const listener = await listening.listen(
    auth,
    { host: "127.0.0.1", port: 0 },
    (socket, origin) => {
      origins.push(origin);
      // It may answer after the end of what it was asked.
      void readAll(socket).then((asked) => socket.end(`${String(asked)}!`));
    },
    { signal: never },
  );
  assert.equal(listening.listeners, 1);
  const socket = connectTo(listener.place);
  await once(socket, "connect");
  const { localPort: port } = socket;
  socket.end("hello");
  assert.equal(String(await readAll(socket)), "hello!");
  assert.deepEqual(origins, [{ address: "127.0.0.1", port }]);
  listener.close();
  assert.equal(await listener.closed, undefined);
  assert.equal(listening.listeners, 0);
  await refuses(listener.place);
});

test("inbound() names the right that lacks, for each way to say where", async () => {
  const { auth } = peer("tunnel:listen", "tunnel:listen:*:*", "tunnel:dial:localhost:*");
  const listening = inbound();
  for (const [place, expected] of [
    [
      { host: "127.0.0.1", port: 8080 },
      "127.0.0.1:8080: not allowed, this key lacks tunnel:listen:localhost:8080",
    ],
    [
      { host: "LocalHost", port: 8080 },
      "LocalHost:8080: not allowed, this key lacks tunnel:listen:localhost:8080",
    ],
    [{ host: "", port: 8080 }, "*:8080: not allowed, this key lacks tunnel:listen:0.0.0.0:8080"],
    [{ host: "*", port: 0 }, "*:0: not allowed, this key lacks tunnel:listen:0.0.0.0:0"],
    [{ host: "::", port: 8080 }, "[::]:8080: not allowed, this key lacks tunnel:listen:[::]:8080"],
    [
      { path: "/run/x.sock" },
      "/run/x.sock: not allowed, this key lacks tunnel:listen:unix:/run/x.sock",
    ],
    [
      { path: "/run/../x.sock" },
      "/run/../x.sock: not allowed, this key lacks tunnel:listen:<invalid>",
    ],
  ] as const) {
    assert.deepEqual(await refusal(listening.listen(auth, place, echo, { signal: never })), [
      "not-allowed",
      expected,
    ]);
  }
});

test("inbound() takes localhost for both loopbacks, and * for every address, at one port", async () => {
  const listening = inbound();
  for (const [host, got] of [
    ["localhost", "localhost"],
    ["", ""],
    ["*", ""],
  ]) {
    const listener = await listening.listen(ownerContext(), { host: host!, port: 0 }, echo, {
      signal: never,
    });
    assert.ok("host" in listener.place);
    assert.equal(listener.place.host, got);
    for (const address of ["127.0.0.1", "::1"]) {
      const socket = connectTo(listener.place, address);
      socket.end(address);
      assert.equal(String(await readAll(socket)), address);
    }
    listener.close();
    for (const address of ["127.0.0.1", "::1"]) await refuses(listener.place, address);
  }
});

test("inbound() listens on those addresses of a name that the peer has a right to, and on no other", async () => {
  const listening = inbound();
  for (const [scope, host, got, other] of [
    ["tunnel:listen:127.0.0.1:*", "localhost", "127.0.0.1", "::1"],
    ["tunnel:listen:[::1]:*", "localhost", "::1", "127.0.0.1"],
    ["tunnel:listen:0.0.0.0:*", "", "0.0.0.0", "::1"],
    ["tunnel:listen:[::]:*", "*", "::", "127.0.0.1"],
  ] as const) {
    const place = { host, port: 0 };
    const listener = await listening.listen(peer(scope).auth, place, echo, { signal: never });
    assert.ok("host" in listener.place);
    assert.equal(listener.place.host, got);
    await refuses(listener.place, other);
    listener.close();
  }
});

test("inbound() takes port 0 for any port that the rights name", async () => {
  const low = await freePort();
  const { auth } = peer(`tunnel:listen:127.0.0.1:${low}-${low + 1}`);
  const listening = inbound();
  const place = { host: "127.0.0.1", port: 0 };
  const first = await listening.listen(auth, place, echo, { signal: never });
  const second = await listening
    .listen(auth, place, echo, { signal: never })
    .catch(() => undefined);
  const ports = [first, second].flatMap((it) => (it === undefined ? [] : [portOf(it)]));
  // Others on this machine may have one of the two; nobody gets another.
  assert.ok(ports.length > 0 && ports.every((port) => port === low || port === low + 1));
  const [reason, text] = await refusal(listening.listen(auth, place, echo, { signal: never }));
  assert.equal(reason, "in-use");
  assert.equal(text, "127.0.0.1:0: something is there already");
  first.close();
  second?.close();
});

test("inbound() refuses a place that is taken, and an address that is not this machine's", async () => {
  await using taken = await tcpServer();
  const { auth } = peer("tunnel:listen:127.0.0.1:*", "tunnel:listen:192.0.2.1:*");
  const listening = inbound();
  const asked = async (host: string, port: number) =>
    await refusal(listening.listen(auth, { host, port }, echo, { signal: never }));
  const { port } = taken.to;
  assert.deepEqual(await asked("127.0.0.1", port), [
    "in-use",
    `127.0.0.1:${port}: something is there already`,
  ]);
  assert.deepEqual(await asked("192.0.2.1", 0), [
    "host-unreachable",
    "192.0.2.1:0: not an address of that machine",
  ]);
  assert.equal((await asked("example.org", port))[0], "host-not-found");
  // Half of a name would be a trap: who asked for localhost is served there, or told.
  assert.deepEqual(
    await refusal(
      listening.listen(ownerContext(), { host: "localhost", port }, echo, { signal: never }),
    ),
    ["in-use", `localhost:${port}: something is there already`],
  );
  assert.equal(listening.listeners, 0);
});

test("a right that is taken back ends its listener and what came through it, and no other", async () => {
  const { auth, rights } = peer("tunnel:listen:127.0.0.1:*", "tunnel:listen:[::1]:*");
  const listening = inbound();
  const reasons: unknown[] = [];
  const serve = (socket: Socket, _origin: Origin, signal: AbortSignal): void => {
    signal.addEventListener("abort", () => reasons.push((signal.reason as { code: string }).code));
    echo(socket);
  };
  const [falls, closed, stays] = await Promise.all(
    ["127.0.0.1", "127.0.0.1", "::1"].map((host) =>
      listening.listen(auth, { host, port: 0 }, serve, { signal: never }),
    ),
  );
  const sockets = [falls, closed, stays].map((it) => connectTo(it!.place));
  for (const socket of sockets) {
    socket.write("x");
    await once(socket, "data");
  }
  // It listens no more, and what came through it stands on its right all the same.
  closed!.close();
  const ends = sockets.slice(0, 2).map((socket) => closeOf(socket));
  rights("tunnel:listen:[::1]:*");
  assert.equal(((await falls!.closed) as { code?: string }).code, "ACCESS_REVOKED");
  await Promise.all(ends);
  assert.deepEqual(reasons, ["ACCESS_REVOKED", "ACCESS_REVOKED"]);
  assert.equal(sockets[0]!.errored?.message.includes("ECONNRESET"), true);
  await refuses(falls!.place);
  assert.equal(listening.listeners, 1);
  sockets[2]!.end("y");
  assert.equal(String(await readAll(sockets[2]!)), "y");
  stays!.close();
});

test("inbound() ends a listener and its connections with who asked for it", async () => {
  const listening = inbound();
  const gone = new AbortController();
  const place = { host: "127.0.0.1", port: 0 };
  const listener = await listening.listen(ownerContext(), place, echo, { signal: gone.signal });
  const socket = connectTo(listener.place);
  socket.write("x");
  await once(socket, "data");
  const closed = closeOf(socket);
  const reason = new Error("the connection has ended");
  gone.abort(reason);
  assert.equal(await listener.closed, reason);
  await closed;
  await refuses(listener.place);
  await assert.rejects(
    listening.listen(ownerContext(), place, echo, { signal: gone.signal }),
    reason,
  );
});

test("inbound() bounds the listeners of a peer and the connections of a listener", async () => {
  const limits = { listenersPerPeer: 1, connectionsPerListener: 1 };
  const listening = inbound({ limits });
  const { auth } = peer("tunnel:listen:127.0.0.1:*");
  const place = { host: "127.0.0.1", port: 0 };
  const one = await listening.listen(auth, place, echo, { signal: never });
  const [reason] = await refusal(listening.listen(auth, place, echo, { signal: never }));
  assert.equal(reason, "limit");
  const first = connectTo(one.place);
  first.write("x");
  await once(first, "data");
  await assert.rejects(readAll(connectTo(one.place)), { code: "ECONNRESET" });
  // It counts while something of it stands.
  one.close();
  assert.equal((await refusal(listening.listen(auth, place, echo, { signal: never })))[0], "limit");
  first.end();
  await once(first.resume(), "close");
  let next: PeerListener | undefined;
  while (next === undefined) {
    next = await listening.listen(auth, place, echo, { signal: never }).catch(() => undefined);
  }
  listening.setLimits({});
  (await listening.listen(auth, place, echo, { signal: never })).close();
  next.close();
});

test("inbound() listens on a Unix socket that only its user may use, and removes it at the end", async () => {
  using dir = folder();
  const { auth } = peer(`tunnel:listen:unix:${dir.at("*")}`);
  const path = dir.at("x.sock");
  const listener = await inbound().listen(auth, { path }, echo, { signal: never });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const socket = connectTo(listener.place);
  socket.end("by path");
  assert.equal(String(await readAll(socket)), "by path");
  listener.close();
  await refuses({ path });
  assert.equal(existsSync(path), false);
});

test("inbound() never removes what it did not make", async () => {
  using dir = folder();
  const listening = inbound();
  for (const name of ["file", "socket"]) {
    const path = dir.at(name);
    if (name === "file") writeFileSync(path, "theirs");
    const other = name === "file" ? undefined : createServer().listen(path);
    if (other !== undefined) await once(other, "listening");
    const refused = await refusal(
      listening.listen(ownerContext(), { path }, echo, { signal: never }),
    );
    assert.deepEqual(refused, ["in-use", `${path}: something is there already`]);
    assert.ok(existsSync(path));
    other?.close();
  }
  // Somebody has put another in the place of ours.
  const path = dir.at("replaced");
  const listener = await listening.listen(ownerContext(), { path }, echo, { signal: never });
  rmSync(path);
  writeFileSync(path, "theirs");
  listener.close();
  await listener.closed;
  assert.ok(existsSync(path));
});

test("inbound() listens for nobody where the node's own sockets are, or may be later", async () => {
  using dir = folder();
  using other = folder();
  mkdirSync(dir.at("node/run"), { recursive: true });
  symlinkSync(dir.at("node"), other.at("link"));
  const port = await freePort();
  const own = ownSockets({
    addresses: () => [{ host: "127.0.0.1", port }],
    paths: () => [dir.at("node/run/control.sock")],
    folders: () => [dir.at("node"), dir.at("none yet")],
  });
  const listening = inbound({ own });
  const ask = (place: InboundPlace) =>
    listening.listen(ownerContext(), place, echo, { signal: never });
  const paths = ["node/run/vault.sock", "node/any.sock"].map(dir.at);
  for (const path of [...paths, other.at("link/run/vault.sock")]) {
    assert.deepEqual(await refusal(ask({ path })), [
      "not-allowed",
      `${path}: Alknet's own, where nobody else listens`,
    ]);
    assert.equal(existsSync(path), false);
  }
  for (const host of ["127.0.0.1", "localhost", "*"]) {
    assert.deepEqual(await refusal(ask({ host, port })), [
      "not-allowed",
      `${host}:${port}: Alknet's own, where nobody else listens`,
    ]);
  }
  // What a peer has no right to, it is not told the owner of.
  const { auth } = peer(`tunnel:listen:unix:${dir.at("*")}`);
  const lacks = listening.listen(auth, { path: dir.at("node/x.sock") }, echo, { signal: never });
  assert.match((await refusal(lacks))[1], /lacks/);
  assert.equal(listening.listeners, 0);
  (await ask({ path: dir.at("beside.sock") })).close();
  (await ask({ host: "127.0.0.1", port: 0 })).close();
});

test("inbound() ends a listener whose file must not be removed, with its right", async () => {
  using dir = folder();
  const { auth, rights } = peer(`tunnel:listen:unix:${dir.at("*")}`);
  const path = dir.at("x.sock");
  const warned: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, text: string) => void warned.push(text) };
  const listener = await inbound({ logger }).listen(auth, { path }, echo, { signal: never });
  chmodSync(dir.at("."), 0o500);
  const isRoot = process.geteuid?.() === 0;
  // Root may remove what it likes.
  if (isRoot) process.seteuid?.(65_534);
  try {
    rights();
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(dir.at("."), 0o700);
  }
  assert.match((await listener.closed)?.message ?? "", /revoked/);
  assert.deepEqual(warned, ["the file of a listener stays"]);
});

test("inbound() ends connections to a Unix socket with their right, and with who asked for it", async () => {
  using dir = folder();
  const { auth, rights } = peer(`tunnel:listen:unix:${dir.at("*")}`);
  for (const end of ["revoked", "gone"]) {
    const gone = new AbortController();
    const path = dir.at(`${end}.sock`);
    const taken = Promise.withResolvers<Socket>();
    const take = (socket: Socket): void => taken.resolve(socket);
    const listener = await inbound().listen(auth, { path }, take, { signal: gone.signal });
    const socket = connectTo(listener.place).resume();
    const closed = once(socket, "close");
    await taken.promise;
    if (end === "gone") gone.abort(new Error("gone"));
    else rights();
    assert.ok((await listener.closed) instanceof Error);
    await once(socket, "end");
    socket.end();
    await closed;
    rights(`tunnel:listen:unix:${dir.at("*")}`);
  }
});

test(
  "inbound() follows links of another user only to where the peer may listen by itself",
  { skip: process.getuid?.() === 0 ? false : "links of others are made by root" },
  async () => {
    using dir = folder();
    using other = folder();
    const link = dir.at("link");
    symlinkSync(other.at(""), link);
    const { auth, rights } = peer(`tunnel:listen:unix:${dir.at("**")}`);
    const listening = inbound();
    const listen = () =>
      listening.listen(auth, { path: join(link, "x.sock") }, echo, { signal: never });
    (await listen()).close();
    lchownSync(link, 65_534, 65_534);
    const lacks = `tunnel:listen:unix:${other.at("x.sock")}`;
    assert.deepEqual(await refusal(listen()), [
      "not-allowed",
      `${join(link, "x.sock")}: not allowed, this key lacks ${lacks}`,
    ]);
    rights(`tunnel:listen:unix:${dir.at("**")}`, lacks);
    const listener = await listen();
    assert.ok(existsSync(other.at("x.sock")));
    rights(`tunnel:listen:unix:${dir.at("**")}`);
    assert.ok((await listener.closed) instanceof Error);
    assert.equal(existsSync(other.at("x.sock")), false);
  },
);

test("inbound() says why there can be no such Unix socket", async () => {
  using dir = folder();
  const listening = inbound();
  for (const [path, refusalOf, words] of [
    [dir.at("no/where"), "host-unreachable", "its folder does not exist there"],
    [dir.at("x".repeat(108)), "failed", "the path is too long for a socket"],
  ] as const) {
    assert.deepEqual(
      await refusal(listening.listen(ownerContext(), { path }, echo, { signal: never })),
      [refusalOf, `${path}: ${words}`],
    );
  }
});
