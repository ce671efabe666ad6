import assert from "node:assert/strict";
import { test } from "node:test";
import { AccessDenied, authenticate, type IdentityProvider } from "./access.ts";
import { CloseCode } from "./close-code.ts";
import type { Connection, OwnedConnection } from "./connection.ts";
import { FakeClock } from "./fake-clock.ts";
import type { ProtocolHandler } from "./handler.ts";
import { AdmissionLimits } from "./limits.ts";
import type { Logger } from "./log.ts";
import { memoryConnections } from "./memory-connection.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";
import { createRouter, type Router, type RouterEvent } from "./router.ts";

const KEY = `ed25519:${"1".repeat(64)}`;
const OTHER_KEY = `ed25519:${"2".repeat(64)}`;
const alice: PeerEntry = { peerId: "alice", fingerprints: [KEY], scopes: [], enabled: true };

/** A handler that the test controls: each connection waits for the test to settle it. */
function handler(alpn: string, more: Partial<ProtocolHandler> = {}) {
  const calls: {
    connection: Connection;
    resolve: () => void;
    reject: (error: unknown) => void;
  }[] = [];
  return {
    calls,
    alpns: [alpn],
    access: "peers",
    tls: "node",
    handle(connection: Connection) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      calls.push({ connection, resolve, reject });
      return promise;
    },
    ...more,
  } satisfies ProtocolHandler & { calls: unknown };
}

interface Setup {
  readonly router: Router;
  readonly clock: FakeClock;
  readonly events: RouterEvent[];
  readonly lines: { level: string; fields: object; message: string }[];
  readonly limits: AdmissionLimits;
  /** A client's end, whose other end has been routed. */
  readonly connect: (alpn: string, fingerprint?: string) => OwnedConnection;
}

function setup(
  handlers: readonly ProtocolHandler[],
  identities: IdentityProvider = staticIdentities([alice]),
  caps: ConstructorParameters<typeof AdmissionLimits>[0] = {},
): Setup {
  const clock = new FakeClock();
  const events: RouterEvent[] = [];
  const lines: Setup["lines"] = [];
  const log =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push({ level, fields, message });
  const logger: Logger = {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
  };
  const onevent = (event: RouterEvent): void => void events.push(event);
  const router = createRouter({ handlers, clock, logger, onevent });
  const limits = new AdmissionLimits({ clock, ...caps });
  return {
    router,
    clock,
    events,
    lines,
    limits,
    connect(alpn, fingerprint) {
      const admission = limits.begin({ address: "192.0.2.1", validated: true }, "tcp", () => {});
      assert.ok(admission.outcome === "accept");
      const credential =
        fingerprint === undefined ? undefined : ({ kind: "fingerprint", fingerprint } as const);
      const { client, server } = memoryConnections({
        alpn,
        client: { auth: authenticate(identities, undefined) },
        server: { auth: authenticate(identities, credential), identities },
        clock,
      });
      router.route(server, admission.handshake);
      return client;
    },
  };
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("createRouter() has who misbehaves after the handshake charged for it, also when it has left", async () => {
  const guessing = handler("alknet/guessing", { access: "keyed" });
  const { connect, limits } = setup([guessing]);
  for (let count = 1; count <= 3; count++) {
    assert.equal(limits.penalty("192.0.2.1"), 0);
    const client = connect("alknet/guessing", OTHER_KEY);
    if (count === 2) client.abort(CloseCode.OK);
    await settle();
    const { connection, resolve } = guessing.calls.at(-1)!;
    connection.penalize("auth");
    resolve();
    await client.closed;
  }
  assert.equal(limits.penalty("192.0.2.1"), 15_000);
});

test("createRouter() gives a connection to the handler of its ALPN", async () => {
  const echo = handler("alknet/echo");
  const other = handler("alknet/other");
  const { connect, events, lines, router } = setup([echo, other]);
  const client = connect("alknet/echo", KEY);
  assert.equal(echo.calls.length, 1);
  assert.equal(other.calls.length, 0);
  assert.equal(echo.calls[0]!.connection.auth.peer?.id, "alice");
  assert.equal([...router.live].length, 1);
  echo.calls[0]!.resolve();
  assert.equal((await client.closed).name, "OK");
  await settle();
  assert.deepEqual(
    events.map(({ kind, peer }) => [kind, peer]),
    [
      ["opened", "alice"],
      ["closed", "alice"],
    ],
  );
  assert.deepEqual(
    lines.map(({ level, message }) => [level, message]),
    [
      ["info", "connection opened"],
      ["info", "connection closed"],
    ],
  );
  assert.equal([...router.live].length, 0);
});

test("createRouter() has no log line for what a stranger can repeat as often as it likes", async () => {
  const open = handler("alknet/open", { access: "keyed" });
  const { connect, lines } = setup([open]);
  for (const settled of ["resolve", "reject"] as const) {
    const client = connect("alknet/open", OTHER_KEY);
    open.calls.at(-1)![settled](Object.assign(new Error("malformed"), { code: "PROTOCOL" }));
    await client.closed;
    await settle();
  }
  assert.deepEqual(new Set(lines.map(({ level }) => level)), new Set(["debug"]));
  assert.ok(lines.length >= 5);
  // A fault of ours is told, whoever has found it.
  const client = connect("alknet/open", OTHER_KEY);
  open.calls.at(-1)!.reject(new Error("oops"));
  await client.closed;
  assert.equal(lines.filter(({ level }) => level === "error").length, 1);
});

test("createRouter() refuses two handlers for one ALPN, and what would tell strangers too much", () => {
  const refuses = (handlers: ProtocolHandler[], message: RegExp): void => {
    assert.throws(() => createRouter({ handlers }), { name: "TypeError", message });
  };
  refuses([handler("alknet/a"), handler("alknet/a")], /ALPN "alknet\/a" twice/);
  refuses([handler("alknet/a", { tls: "web", access: "anyone" })], /show the node's leaf/);
  refuses([handler("alknet/a", { tls: "raw" })], /show the node's leaf/);
  refuses([handler("alknet/\u0001")], /visible ASCII/);
  refuses([handler("h2", { tls: "web", access: "peers" })], /nobody can prove a key/);
  refuses([handler("")], /1 to 255 bytes/);
  refuses([handler("a".repeat(256))], /1 to 255 bytes/);
  refuses([handler("a", { alpns: [] })], /without an ALPN/);
});

test("select() picks by the client's order, and takes every name of alknet/*", () => {
  const web = handler("h2", {
    alpns: ["h2", "http/1.1"],
    access: "anyone",
    tls: "web",
    transports: ["tcp"],
  });
  const doq = handler("doq", { access: "anyone", tls: "web", transports: ["quic"] });
  const blobs = handler("/iroh-bytes/4", { tls: "raw", transports: ["quic"] });
  const { router } = setup([web, doq, blobs, handler("alknet/echo")]);
  const select: Router["select"] = (offered, transport) => router.select(offered, transport);
  assert.deepEqual(select(["h2", "http/1.1"], "tcp"), { alpn: "h2", tls: "web" });
  assert.deepEqual(select(["http/1.1", "h2"], "tcp"), { alpn: "http/1.1", tls: "web" });
  assert.deepEqual(select(["h3", "doq"], "quic"), { alpn: "doq", tls: "web" });
  assert.deepEqual(select(["/iroh-bytes/4"], "quic"), { alpn: "/iroh-bytes/4", tls: "raw" });
  for (const transport of ["quic", "tcp"] as const) {
    for (const alpn of ["alknet/echo", "alknet/nothing", "alknet/call/v2"]) {
      assert.deepEqual(select([alpn], transport), { alpn, tls: "node" });
    }
    for (const alpn of [
      "nope",
      "alknet",
      "alknet/",
      "alknet/\0",
      "alknet/a b",
      "ALKNET/echo",
      "",
    ]) {
      assert.equal(select([alpn], transport), undefined, JSON.stringify(alpn));
    }
  }
  assert.equal(select(["h2"], "quic"), undefined);
  assert.equal(select(["doq"], "tcp"), undefined);
  assert.equal(select(["/iroh-bytes/4"], "tcp"), undefined);
  // Who offers none means HTTP/1.1, where that is spoken.
  assert.deepEqual(select([], "tcp"), { alpn: "http/1.1", tls: "web" });
  assert.equal(select([], "quic"), undefined);
  assert.equal(setup([doq]).router.select([], "tcp"), undefined);
});

test("route() lets nobody to a handler for peers but peers, and tells strangers nothing", async () => {
  const echo = handler("alknet/echo");
  const quic = handler("alknet/far", { transports: ["quic"] });
  const { connect, events, lines, limits } = setup([echo, quic]);
  const seen = new Set<string>();
  for (const [alpn, key, reason] of [
    ["alknet/echo", OTHER_KEY, "not a peer"],
    ["alknet/echo", undefined, "no key"],
    ["alknet/nothing", OTHER_KEY, "not a peer"],
    ["alknet/nothing", undefined, "no key"],
    ["alknet/nothing", KEY, "not served"],
    ["alknet/far", OTHER_KEY, "not a peer"],
    ["alknet/far", KEY, "not served"],
  ] as const) {
    const client = connect(alpn, key);
    seen.add(JSON.stringify(await client.closed));
    const event = events.at(-1);
    assert.ok(event?.kind === "refused");
    assert.deepEqual([event.alpn, event.fingerprint, event.reason], [alpn, key, reason]);
    const { level, message } = lines.at(-1)!;
    assert.equal(level, "info");
    assert.equal(message, `key ${key ?? "no key"} refused for ${alpn}: ${reason}`);
    await assert.rejects(client.accepted, { code: "UNAVAILABLE" });
  }
  assert.deepEqual(
    [...seen],
    [JSON.stringify({ by: "peer", code: CloseCode.UNAVAILABLE, name: "UNAVAILABLE", reason: "" })],
    "each of them sees the same",
  );
  assert.equal(echo.calls.length, 0);
  assert.deepEqual(limits.stats(), { pending: 0, connections: 0, blocks: 1 });
});

test("route() has a log line for each of the first refusals of a source, and one a minute for the rest", async () => {
  const { connect, clock, lines, events, router } = setup([handler("alknet/echo")], undefined, {
    exempt: ["192.0.2.0/24"],
  });
  for (let i = 0; i < 100; i++) await connect("alknet/echo", OTHER_KEY).closed;
  const said = (level: string): string[] =>
    lines.filter((line) => line.level === level).map(({ message }) => message);
  const line = `key ${OTHER_KEY} refused for alknet/echo: not a peer`;
  assert.deepEqual(
    said("info"),
    Array.from({ length: 8 }, () => line),
  );
  assert.deepEqual(
    said("debug"),
    Array.from({ length: 92 }, () => line),
  );
  assert.equal(events.length, 100, "who listens hears of all");
  lines.length = 0;
  clock.advance(60_000);
  assert.deepEqual(said("info"), ["refused 92 more from the same source"]);
  // What is kept back at the end is said then.
  await connect("alknet/echo").closed;
  await router.close();
  assert.deepEqual(said("info").slice(1), ["refused 1 more from the same source"]);
});

test("route() lets any key to a handler for keys, and anybody to one for anyone", () => {
  const keyed = handler("alknet/register", { access: "keyed" });
  const open = handler("dot", { access: "anyone", tls: "web" });
  const { connect, events } = setup([keyed, open]);
  connect("alknet/register", OTHER_KEY);
  connect("alknet/register", KEY);
  connect("dot");
  assert.equal(keyed.calls.length, 2);
  assert.equal(open.calls.length, 1);
  connect("alknet/register");
  assert.ok(events.at(-1)?.kind === "refused");
});

test("route() refuses what is over a limit, as LIMIT", async () => {
  const echo = handler("alknet/echo");
  const { connect, events } = setup([echo], staticIdentities([alice]), {
    caps: { connectionsPerPeer: 2 },
  });
  connect("alknet/echo", KEY);
  connect("alknet/echo", KEY);
  const third = connect("alknet/echo", KEY);
  assert.equal((await third.closed).name, "LIMIT");
  const event = events.at(-1);
  assert.ok(event?.kind === "refused" && event.reason === "limit");
  echo.calls[0]!.resolve();
  await echo.calls[0]!.connection.closed;
  await settle();
  connect("alknet/echo", KEY);
  assert.equal(echo.calls.length, 3, "one has ended, and another may come");
});

test("whatever a handler does ends its own connection only", async () => {
  const odd: ProtocolHandler = {
    alpns: ["alknet/odd"],
    access: "peers",
    tls: "node",
    handle() {
      throw new Error("thrown at once");
    },
  };
  const echo = handler("alknet/echo");
  const { connect, lines, router } = setup([odd, echo]);
  const bystander = connect("alknet/echo", KEY);
  const thrown = connect("alknet/odd", KEY);
  assert.deepEqual(await thrown.closed, {
    by: "peer",
    code: CloseCode.INTERNAL,
    name: "INTERNAL",
    reason: "",
  });
  const failure = lines.find(({ level }) => level === "error");
  assert.ok(failure !== undefined);
  assert.equal(failure.message, "handler failed");
  assert.equal((failure.fields as { alpn: string }).alpn, "alknet/odd");

  const late = connect("alknet/echo", KEY);
  const denied = connect("alknet/echo", KEY);
  await settle();
  echo.calls[1]!.reject(new Error("late"));
  assert.equal((await late.closed).name, "INTERNAL");
  echo.calls[2]!.reject(new AccessDenied("ssh:shell", "lacks ssh:shell", "ssh:shell"));
  assert.equal((await denied.closed).name, "UNAVAILABLE");
  assert.equal(lines.filter(({ level }) => level === "error").length, 2, "denied is no fault");

  // One that never settles, and whose connection ends.
  const forgotten = connect("alknet/echo", KEY);
  forgotten.abort(CloseCode.OK);
  await settle();
  assert.deepEqual(
    [...router.live].map(({ connection }) => connection),
    [echo.calls[0]!.connection],
  );
  bystander.abort(CloseCode.OK);
  await settle();
  const before = lines.length;
  echo.calls[0]!.reject(new Error("after the end of its connection"));
  await settle();
  assert.equal(lines.length, before, "and is of no interest");
});

test("a listener of events that throws harms nothing", async () => {
  const echo = handler("alknet/echo");
  const { lines, limits } = setup([]);
  const router = createRouter({
    handlers: [echo],
    logger: {
      debug() {},
      info() {},
      warn() {},
      error: (fields, message) => lines.push({ level: "error", fields, message }),
    },
    onevent: () => {
      throw new Error("a mistake");
    },
  });
  const admission = limits.begin({ address: "192.0.2.1", validated: true }, "tcp", () => {});
  assert.ok(admission.outcome === "accept");
  const identities = staticIdentities([alice]);
  const { client, server } = memoryConnections({
    alpn: "alknet/echo",
    client: { auth: authenticate(identities, undefined) },
    server: { auth: authenticate(identities, { kind: "fingerprint", fingerprint: KEY }) },
  });
  router.route(server, admission.handshake);
  assert.equal(echo.calls.length, 1);
  assert.equal(lines[0]?.message, "listener of router events failed");
  client.abort(CloseCode.OK);
  await server.closed;
});

test("a key that is taken back ends its connections, and only these", async () => {
  const bob: PeerEntry = { ...alice, peerId: "bob", fingerprints: [OTHER_KEY] };
  const identities = staticIdentities([alice, bob]);
  const { connect } = setup([handler("alknet/echo")], identities);
  const ofAlice = connect("alknet/echo", KEY);
  const ofBob = connect("alknet/echo", OTHER_KEY);
  identities.replace([bob]);
  assert.equal((await ofAlice.closed).name, "REVOKED");
  const first = await Promise.race([ofBob.closed, settle()]);
  assert.equal(first, undefined, "the other stands");
});

test("close() lets handlers finish within the drain time, then cuts off who is left", async () => {
  const echo = handler("alknet/echo");
  const { connect, clock, router, events } = setup([echo]);
  const quick = connect("alknet/echo", KEY);
  const slow = connect("alknet/echo", KEY);
  const closing = router.close();
  assert.equal(router.close(), closing);
  await settle();
  assert.equal(echo.calls[0]!.connection.draining.aborted, true);
  assert.equal(await echo.calls[0]!.connection.accept(), undefined);
  echo.calls[0]!.resolve();
  assert.equal((await quick.closed).name, "OK");

  const refused = connect("alknet/echo", KEY);
  assert.equal((await refused.closed).name, "DRAINING");
  const stranger = connect("alknet/echo", OTHER_KEY);
  assert.equal((await stranger.closed).name, "UNAVAILABLE", "strangers are not told that either");

  clock.advance(1_999);
  assert.equal(await Promise.race([slow.closed, settle()]), undefined);
  clock.advance(1);
  assert.equal((await slow.closed).name, "DRAINING");
  await closing;
  assert.equal([...router.live].length, 0);
  assert.deepEqual(events.map(({ kind }) => kind).filter((kind) => kind === "closed").length, 2);
});
