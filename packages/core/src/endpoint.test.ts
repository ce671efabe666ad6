import assert from "node:assert/strict";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
} from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import tls from "node:tls";
import { bind } from "@alknet/quic/endpoint";
import { extension, issueCertificate } from "@alknet/quic/self-signed";
import { TlsClientConfig } from "@alknet/quic/tls";
import { createToken, hashToken, tokenPrefix } from "./api-key.ts";
import { CloseCode } from "./close-code.ts";
import type { Connection } from "./connection.ts";
import { createDialer, type Dialer } from "./dialer.ts";
import {
  createEndpoint,
  type Endpoint,
  type EndpointEvent,
  type EndpointOptions,
} from "./endpoint.ts";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import { FakeClock } from "./fake-clock.ts";
import type { ProtocolHandler } from "./handler.ts";
import { createIdentity, type NodeIdentity } from "./identity-file.ts";
import { silentLogger } from "./log.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities, type StaticIdentities } from "./static-identities.ts";
import { ping, pingHandler } from "./ping.ts";
import { resetCodeOf } from "./quic-connection.ts";
import { echo } from "./test-dialer.ts";
import { freePort } from "./testing-port.ts";
import { handMadeClient } from "./tls-test-client.ts";

const TRANSPORTS = ["quic", "tcp"] as const;

const node = createIdentity();
const alice = createIdentity();
const stranger = createIdentity();

function peer(peerId: string, { fingerprint }: NodeIdentity): PeerEntry {
  return { peerId, fingerprints: [fingerprint], scopes: [], enabled: true };
}

interface World extends AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly port: number;
  readonly identities: StaticIdentities;
  readonly events: EndpointEvent[];
  /** The next event of a kind, past or to come. */
  event<Kind extends EndpointEvent["kind"]>(kind: Kind): Promise<EndpointEvent & { kind: Kind }>;
  /** Dials from a socket of its own. */
  readonly dialer: Dialer;
  dial(transport: "quic" | "tcp", alpn?: string, identity?: NodeIdentity): Promise<Connection>;
}

/** A node on loopback whose one peer is alice. No address is ever penalized, unless the test wants it. */
async function world(options: Partial<EndpointOptions> = {}): Promise<World> {
  const identities = staticIdentities([peer("alice", alice)]);
  const events: EndpointEvent[] = [];
  const taken = new Map<string, number>();
  let wake: (() => void)[] = [];
  const endpoint = await createEndpoint({
    identity: node,
    identities,
    handlers: [echo],
    listen: ["127.0.0.1:0"],
    limits: { exempt: ["127.0.0.0/8"] },
    drain: 500,
    onevent: (event) => {
      events.push(event);
      const waiting = wake;
      wake = [];
      for (const resolve of waiting) resolve();
    },
    ...options,
  });
  const dialer = createDialer({
    identities: staticIdentities([]),
    bind: () => bind({ address: "127.0.0.1", resetCodeOf }),
    drain: 500,
  });
  const { port } = endpoint.addresses[0]!;
  return {
    endpoint,
    port,
    identities,
    events,
    dialer,
    async event(kind) {
      for (;;) {
        const of = events.filter((event) => event.kind === kind);
        const next = of[taken.get(kind) ?? 0];
        if (next !== undefined) {
          taken.set(kind, (taken.get(kind) ?? 0) + 1);
          return next as EndpointEvent & { kind: typeof kind };
        }
        await new Promise<void>((resolve) => wake.push(resolve));
      }
    },
    dial: (transport, alpn = "alknet/echo", identity = alice) =>
      dialer.dial(`${node.fingerprint}@127.0.0.1:${port}`, alpn, {
        identity,
        transports: [transport],
      }),
    async [Symbol.asyncDispose]() {
      await dialer.close();
      await endpoint.close();
    },
  };
}

/** All bytes to the end; `node:stream/consumers` would destroy the other half too. */
async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** Ask the echo. */
async function ask(connection: Connection, text: string): Promise<string> {
  const stream = await connection.open();
  stream.end(text);
  return (await readAll(stream)).toString();
}

async function turn(): Promise<undefined> {
  await new Promise((resolve) => setImmediate(resolve));
  return undefined;
}

/** An identity with any kind of key, for clients only. */
function identityOf(
  type: "rsa" | "ec" | "ed25519",
  options: { notBefore?: Date; notAfter?: Date; issuer?: string; size?: number } = {},
): NodeIdentity {
  const { privateKey } =
    type === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: 2_048 })
      : type === "ec"
        ? generateKeyPairSync("ec", { namedCurve: "P-256" })
        : generateKeyPairSync("ed25519");
  const { size, issuer, ...dates } = options;
  const comment = "6086480186f842010d";
  const certificate = issueCertificate({
    ...dates,
    publicKey: createPublicKey(privateKey).export({ format: "der", type: "spki" }),
    issuerKey: issuer === undefined ? privateKey : stranger.privateKey,
    subject: "client",
    issuer: issuer ?? "client",
    extensions: size === undefined ? [] : [extension(comment, false, Buffer.alloc(size, 32))],
  });
  return {
    privateKey,
    privateKeyDer: privateKey.export({ format: "der", type: "pkcs8" }),
    publicKey: new Uint8Array(),
    // Nobody names one that is too large.
    fingerprint: size === undefined ? fingerprintOfCertificate(certificate) : stranger.fingerprint,
    certificate,
    derive: () => new Uint8Array(),
  };
}

test("createEndpoint() has one port number for UDP and TCP, on each of its addresses", async () => {
  await using it = await world({ listen: ["127.0.0.1:0", "[::1]:0"] });
  const [four, six] = it.endpoint.addresses;
  assert.equal(four?.host, "127.0.0.1");
  assert.equal(six?.host, "::1");
  for (const { host, port } of [four, six]) {
    for (const transport of TRANSPORTS) {
      const target = {
        fingerprint: node.fingerprint,
        address: net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`,
      };
      await using connection = await it.endpoint.dialer.dial(target, "alknet/echo", {
        identity: alice,
        transports: [transport],
      });
      assert.equal(connection.transport, transport);
      assert.equal(await ask(connection, "hello"), "hello");
    }
  }
});

test("createEndpoint() says which port it could not have, and leaves none behind", async () => {
  const port = await freePort();
  const udp = dgram.createSocket("udp4");
  udp.bind(port, "127.0.0.1");
  await once(udp, "listening");
  await assert.rejects(world({ listen: ["127.0.0.1:0", `127.0.0.1:${port}`] }), {
    code: "EADDRINUSE",
  });
  udp.close();
  await once(udp, "close");
  await using it = await world({ listen: [`127.0.0.1:${port}`] });
  assert.equal(it.port, port, "the port is free after that");
  await assert.rejects(world({ listen: [`127.0.0.1:${port}`] }), { code: "EADDRINUSE" });
  await assert.rejects(world({ listen: ["nonsense:"] }), { code: "ADDRESS_INVALID" });
});

for (const transport of TRANSPORTS) {
  test(`${transport}: a peer gets to the handler, which knows who it is`, async () => {
    const seen: Connection[] = [];
    const handler: ProtocolHandler = {
      ...echo,
      handle(connection) {
        seen.push(connection);
        return echo.handle(connection);
      },
    };
    await using it = await world({ handlers: [handler] });
    await using connection = await it.dial(transport);
    assert.equal(await ask(connection, "hello"), "hello");
    await connection.accepted;
    assert.equal(connection.auth.fingerprint, node.fingerprint);
    const [served] = seen;
    assert.equal(served?.transport, transport);
    assert.equal(served?.alpn, "alknet/echo");
    assert.equal(served?.auth.peer?.id, "alice");
    assert.equal(served?.auth.fingerprint, alice.fingerprint);
    assert.match(served?.remoteAddress ?? "", /^127\.0\.0\.1:\d+$/);
    assert.equal([...it.endpoint.connections].length, 1);
    const opened = await it.event("opened");
    assert.deepEqual([opened.peer, opened.transport], ["alice", transport]);
  });

  test(`${transport}: a stranger sees one and the same, whatever is served`, async () => {
    await using it = await world();
    const seen = new Set<string>();
    for (const [alpn, identity] of [
      ["alknet/echo", stranger],
      ["alknet/nothing", stranger],
      ["alknet/nothing", alice],
    ] as const) {
      const connection = await it.dial(transport, alpn, identity);
      await assert.rejects(connection.accepted, { code: "UNAVAILABLE" });
      seen.add(JSON.stringify(await connection.closed));
      const event = await it.event("refused");
      assert.equal(event.alpn, alpn);
      assert.equal(event.fingerprint, identity.fingerprint);
      assert.equal(event.reason, identity === alice ? "not served" : "not a peer");
    }
    const nobody = createDialer({
      identities: staticIdentities([]),
      bind: () => bind({ address: "127.0.0.1" }),
    });
    for (const alpn of ["alknet/echo", "alknet/nothing"]) {
      const target = `${node.fingerprint}@127.0.0.1:${it.port}`;
      const connection = await nobody.dial(target, alpn, { transports: [transport] });
      await assert.rejects(connection.accepted, { code: "UNAVAILABLE" });
      seen.add(JSON.stringify(await connection.closed));
      assert.equal((await it.event("refused")).reason, "no key");
    }
    await nobody.close();
    assert.equal(seen.size, 1, [...seen].join("\n"));
  });

  test(`${transport}: a stranger cannot tell by the time it takes either`, async () => {
    await using it = await world();
    const times: Record<string, number[]> = { "alknet/echo": [], "alknet/nothing": [] };
    for (let round = 0; round < 64; round++) {
      // In turn, so that whatever else the machine does falls on both.
      for (const alpn of round % 2 === 0 ? Object.keys(times) : Object.keys(times).toReversed()) {
        const begin = performance.now();
        const connection = await it.dial(transport, alpn, stranger);
        await connection.closed;
        if (round >= 4) times[alpn]!.push(performance.now() - begin);
      }
    }
    // The fastest of each: of a busy machine the others say what else it does.
    const [served, unserved] = Object.values(times).map((list) => Math.min(...list)) as [
      number,
      number,
    ];
    const ratio = served / unserved;
    assert.ok(ratio > 0.5 && ratio < 2, `${served} ms and ${unserved} ms`);
  });

  test(`${transport}: leafs of other kinds are named by their hash, and their dates and signers mean nothing`, async () => {
    const past = { notBefore: new Date("2001-01-01"), notAfter: new Date("2002-01-01") };
    const future = { notBefore: new Date("2090-01-01"), notAfter: new Date("2091-01-01") };
    const ca = { issuer: "some CA" };
    const kinds = [
      identityOf("rsa"),
      identityOf("ec"),
      identityOf("ec", past),
      identityOf("rsa", future),
      identityOf("ec", ca),
      identityOf("ed25519", past),
      identityOf("ed25519", future),
      identityOf("ed25519", ca),
    ];
    await using it = await world();
    it.identities.replace(kinds.map((identity, i) => peer(`peer-${i}`, identity)));
    for (const [i, identity] of kinds.entries()) {
      await using connection = await it.dial(transport, "alknet/echo", identity);
      assert.equal(await ask(connection, "hello"), "hello");
      const { peer: name, fingerprint } = await it.event("opened");
      assert.equal(name, `peer-${i}`);
      assert.match(fingerprint ?? "", i < 5 ? /^SHA256:/ : /^ed25519:/);
    }
  });

  test(`${transport}: a certificate above 16 KiB is refused`, async () => {
    await using it = await world();
    for (const size of [20_000, 110_000]) {
      const large = identityOf("ed25519", { size });
      const outcome = it
        .dial(transport, "alknet/echo", large)
        .then((connection) => connection.accepted);
      await assert.rejects(outcome);
      const { reason } = await it.event("handshake failed");
      assert.ok(reason === "malformed" || reason === "auth", reason);
    }
    assert.equal([...it.endpoint.connections].length, 0);
  });

  test(`${transport}: an unknown ALPN is refused in the handshake`, async () => {
    await using it = await world();
    for (const alpn of ["nope", "alknet", "alknet/\u0001", "h2"]) {
      await assert.rejects(it.dial(transport, alpn), { code: "UNKNOWN_ALPN" }, alpn);
    }
  });

  test(`${transport}: a handler is offered on its own transports only`, async () => {
    const other = transport === "quic" ? "tcp" : "quic";
    const here: ProtocolHandler = { ...echo, alpns: ["alknet/here"], transports: [transport] };
    const open: ProtocolHandler = { ...here, alpns: ["x-here"], access: "anyone", tls: "web" };
    await using it = await world({ handlers: [here, open] });
    await using connection = await it.dial(transport, "alknet/here");
    assert.equal(await ask(connection, "hello"), "hello");
    const elsewhere = await it.dial(other, "alknet/here");
    await assert.rejects(elsewhere.accepted, { code: "UNAVAILABLE" });
    await assert.rejects(it.dial(other, "x-here"), { code: "UNKNOWN_ALPN" });
  });

  test(`${transport}: a key that is taken back ends its connections, and no others`, async () => {
    const bob = createIdentity();
    await using it = await world();
    it.identities.replace([peer("alice", alice), peer("bob", bob)]);
    const ofAlice = await it.dial(transport);
    await using ofBob = await it.dial(transport, "alknet/echo", bob);
    const stream = await ofAlice.open();
    stream.write("hello");
    await once(stream, "readable");
    assert.equal(await ask(ofBob, "hello"), "hello");
    stream.resume();
    it.identities.replace([peer("bob", bob)]);
    const { name } = await ofAlice.closed;
    assert.equal(name, transport === "quic" ? "REVOKED" : "CUT");
    if (transport === "quic") assert.equal(await ask(ofBob, "still here"), "still here");
    let closed = await it.event("closed");
    while (closed.peer !== "alice") closed = await it.event("closed");
    assert.equal(closed.reason.name, "REVOKED");
  });

  test(`${transport}: a handler that aborts at once, or destroys its stream, harms nothing else`, async () => {
    const rude: ProtocolHandler = {
      ...echo,
      alpns: ["alknet/rude"],
      handle(connection) {
        connection.abort(CloseCode.LIMIT, "go away");
        return Promise.resolve();
      },
    };
    const worse: ProtocolHandler = {
      ...echo,
      alpns: ["alknet/worse"],
      async handle(connection) {
        const stream = await connection.accept();
        stream?.destroy(new Error("worse"));
      },
    };
    const late: ProtocolHandler = {
      ...echo,
      alpns: ["alknet/late"],
      async handle(connection) {
        await echo.handle(connection);
        await connection.closed;
        throw new Error("late");
      },
    };
    await using it = await world({ handlers: [echo, rude, worse, late] });
    for (let i = 0; i < 10; i++) {
      const refused = await it.dial(transport, "alknet/rude");
      const { name } = await refused.closed;
      assert.equal(name, transport === "quic" ? "LIMIT" : "CUT");
      const broken = await it.dial(transport, "alknet/worse");
      const stream = await broken.open();
      stream.write("!");
      await assert.rejects(readAll(stream));
      await broken.close();
      const late = await it.dial(transport, "alknet/late");
      assert.equal(await ask(late, "hello"), "hello");
      await late.close();
    }
    await using connection = await it.dial(transport);
    assert.equal(await ask(connection, "hello"), "hello");
  });

  test(`${transport}: last words arrive, from many short connections at once`, async () => {
    const sent = randomBytes(2 ** 20);
    const speaker: ProtocolHandler = {
      ...echo,
      alpns: ["alknet/last-words"],
      async handle(connection) {
        const stream =
          connection.multiplexed && connection.transport === "quic"
            ? await connection.open()
            : await connection.accept();
        stream?.write(sent);
        // And returns: the connection is closed in order.
      },
    };
    await using it = await world({ handlers: [speaker], drain: 5_000 });
    const listen = async (): Promise<void> => {
      const connection = await it.dial(transport, "alknet/last-words");
      const stream = transport === "quic" ? await connection.accept() : await connection.open();
      assert.ok(stream !== undefined);
      assert.ok((await readAll(stream)).equals(sent));
      stream.end();
      await connection.close();
    };
    for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 16 }, listen));
  });

  test(`${transport}: close() lets a transfer finish that can within the drain time, and cuts one that cannot`, async () => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const talker: ProtocolHandler = {
      ...echo,
      alpns: ["alknet/finishes", "alknet/goes-on"],
      async handle(connection) {
        const stream = await connection.accept();
        assert.ok(stream !== undefined);
        stream.on("error", () => {});
        stream.resume();
        stream.write("first half, ");
        begin();
        await once(connection.draining, "abort");
        if (connection.alpn === "alknet/goes-on") await connection.closed;
        else stream.end("second half");
        await connection.closed;
      },
    };
    const listen = [`127.0.0.1:${await freePort()}`];
    const it = await world({ handlers: [talker], listen, drain: 300 });
    const finishing = await it.dial(transport, "alknet/finishes");
    const stuck = await it.dial(transport, "alknet/goes-on");
    const first = await finishing.open();
    first.write("!");
    const second = await stuck.open();
    second.write("!");
    await once(second, "readable");
    const text = readAll(first);
    await begun;
    const closing = it.endpoint.close();
    assert.equal((await text).toString(), "first half, second half");
    first.end();
    const cut = assert.rejects(readAll(second));
    await cut;
    assert.equal((await stuck.closed).name, transport === "quic" ? "DRAINING" : "CUT");
    await closing;
    await it.dialer.close();
    // Both ports are free again.
    await using again = await world({ listen });
    assert.equal(again.port, it.port);
  });

  test(`${transport}: who asks too often as a stranger has to wait, and nobody else`, async () => {
    await using it = await world({ limits: {} });
    // A second's penalty each, and it takes effect at fifteen: this address is refused then, whoever asks.
    for (let i = 0; i < 20 && it.endpoint.limits.penalty("127.0.0.1") === 0; i++) {
      const connection = await it.dial(transport, "alknet/echo", stranger);
      await connection.closed;
    }
    const stop = new AbortController();
    const refused = assert.rejects(
      it.dialer.dial(`${node.fingerprint}@127.0.0.1:${it.port}`, "alknet/echo", {
        identity: alice,
        transports: [transport],
        signal: stop.signal,
      }),
    );
    assert.equal((await it.event("turned away")).reason, "penalty");
    // Over QUIC the source may be forged, and gets no answer.
    stop.abort(new Error("enough"));
    await refused;
    assert.ok(it.endpoint.limits.penalty("127.0.0.1") > 10_000);
    assert.equal(it.endpoint.limits.penalty("127.0.0.2"), 0);
  });

  test(`${transport}: alknet/ping answers, and tells how far away the node is`, async () => {
    await using it = await world({ handlers: [pingHandler()] });
    await using connection = await it.dial(transport, "alknet/ping");
    const numbers: number[] = [];
    for await (const { number, rtt } of ping(connection, { count: 3, interval: 1 })) {
      numbers.push(number);
      assert.ok(rtt > 0 && rtt < 5_000);
    }
    assert.deepEqual(numbers, [0, 1, 2]);
  });
}

test("a client's certificate with another private key is refused over TCP, and is a failed authentication", async () => {
  await using it = await world({ limits: {} });
  const wrong = createPrivateKey({
    key: Buffer.from(stranger.privateKeyDer),
    format: "der",
    type: "pkcs8",
  });
  for (let i = 0; i < 3 || it.endpoint.limits.penalty("127.0.0.1") === 0; i++) {
    assert.ok(i < 6);
    const { alert, data } = await handMadeClient({
      port: it.port,
      alpn: ["alknet/echo"],
      certificate: alice.certificate,
      sign: (content) => ({ scheme: 0x0807, signature: sign(null, content, wrong) }),
      send: Buffer.from("hello"),
    });
    const DECRYPT_ERROR = 51;
    assert.equal(alert, DECRYPT_ERROR);
    assert.equal(data.length, 0);
    assert.equal((await it.event("handshake failed")).reason, "auth");
  }
  assert.ok(it.endpoint.limits.penalty("127.0.0.1") > 10_000, "five seconds each");
  assert.equal(it.events.filter(({ kind }) => kind === "opened").length, 0);
});

test("web ALPNs show the web certificate and ask for no key, also without ALPN; alknet/* shows the node's", async () => {
  const page: ProtocolHandler = {
    alpns: ["http/1.1"],
    access: "anyone",
    tls: "web",
    transports: ["tcp"],
    async handle(connection) {
      const stream = await connection.accept();
      stream?.end(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`);
      stream?.resume();
    },
  };
  await using it = await world({ handlers: [page, echo] });
  for (const ALPNProtocols of [["http/1.1"], ["http/1.0", "http/1.1"], undefined]) {
    const socket = tls.connect({
      port: it.port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }),
    });
    const certificate = once(socket, "secureConnect").then(() => socket.getPeerX509Certificate());
    socket.end("GET / HTTP/1.1\r\n\r\n");
    assert.match((await readAll(socket)).toString(), /200 OK/);
    assert.equal((await certificate)?.publicKey.asymmetricKeyType, "ec");
  }
  const { certificateRequested } = await handMadeClient({ port: it.port, alpn: ["http/1.1"] });
  assert.equal(certificateRequested, false);
  const own = await handMadeClient({ port: it.port, alpn: ["alknet/echo"], serverName: "\0" });
  assert.equal(own.certificateRequested || own.alert !== undefined, true);
  await using bare = await world();
  const { alert } = await handMadeClient({ port: bare.port, alpn: [] });
  assert.equal(alert, 120, "no ALPN and no web handler: no_application_protocol");
});

test("a client that stalls in its handshake is let go at the deadline, and told of", async () => {
  await using it = await world({ handshakeTimeout: 100 });
  const socket = net.connect(it.port, "127.0.0.1");
  socket.write(Buffer.from([22, 3, 1, 2, 0, 1]));
  socket.on("error", () => {});
  const { reason, transport, detail } = await it.event("handshake failed");
  assert.deepEqual([reason, transport], ["timeout", "tcp"]);
  assert.equal(detail, "not done after 100 ms");
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
});

test("handshakes that fail by the dozen have one log line, and another one each minute", async () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const info = (fields: object, message: string): void => {
    if ("count" in fields || message.startsWith("handshake failed")) lines.push(message);
  };
  const logger = { ...silentLogger, info };
  const it = await world({ clock, logger });
  const fail = async (bytes: string): Promise<void> => {
    const socket = net.connect(it.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.end(bytes);
    await it.event("handshake failed");
  };
  for (let i = 0; i < 20; i++) await fail("GET / HTTP/1.1\r\n\r\n");
  for (let i = 0; i < 20; i++) await fail("");
  assert.deepEqual(lines.splice(0), ["handshake failed: malformed", "handshake failed: cut"]);
  clock.advance(60_000);
  assert.deepEqual(lines.splice(0).toSorted(), [
    "19 more handshakes failed: cut",
    "19 more handshakes failed: malformed",
  ]);
  await fail("");
  assert.deepEqual(lines, []);
  await it[Symbol.asyncDispose]();
  assert.deepEqual(lines, ["1 more handshakes failed: cut"]);
});

test("stalled handshakes make room for others, the oldest first, and a peer gets in", async () => {
  await using it = await world({ limits: { caps: { pendingPerBlock: 8, pending: 8 } } });
  const stalled: net.Socket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = net.connect(it.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    await once(socket, "connect");
    stalled.push(socket);
  }
  await using connection = await it.dial("tcp");
  assert.equal(await ask(connection, "hello"), "hello");
  assert.ok(it.endpoint.limits.stats().pending <= 8);
  await Promise.all(
    stalled.slice(0, 10).map(async (socket) => {
      if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
    }),
  );
  for (const socket of stalled) socket.destroy();
});

test("with 1,024 handshakes stalled, the oldest of the fullest block makes room for each newcomer", async () => {
  const ALL = 1_024;
  await using it = await world({ limits: {}, handshakeTimeout: 600_000 });
  const { limits } = it.endpoint;
  const stalled: { socket: net.Socket; from: string }[] = [];
  const stall = async (from: string): Promise<void> => {
    const socket = net.connect({ port: it.port, host: "127.0.0.1", localAddress: from });
    socket.on("error", () => {});
    socket.resume();
    stalled.push({ socket, from });
    await once(socket, "connect");
  };
  const dropped = async (count: number): Promise<string[]> => {
    while (stalled.filter(({ socket }) => socket.closed).length < count) await turn();
    return stalled.filter(({ socket }) => socket.closed).map(({ from }) => from);
  };
  // One address has sixteen, the others have fifteen at most.
  for (let i = 0; i < 16; i++) await stall("127.1.0.1");
  for (let i = 16; i < ALL; i++) await stall(`127.1.1.${1 + (i % 70)}`);
  while (limits.stats().pending < ALL) await turn();
  assert.deepEqual(await dropped(0), []);

  await stall("127.1.2.1");
  assert.deepEqual(await dropped(1), ["127.1.0.1"]);
  assert.equal(stalled[0]!.socket.closed, true, "its oldest");
  assert.equal(limits.stats().pending, ALL);

  // A peer gets in, whose address nobody has seen before.
  await using overTcp = await it.dial("tcp");
  assert.equal(await ask(overTcp, "hello"), "hello");
  await dropped(2);
  await stall("127.1.2.2");
  while (limits.stats().pending < ALL) await turn();
  await using overQuic = await it.dial("quic");
  assert.equal(await ask(overQuic, "hello"), "hello");
  const gone = await dropped(3);
  assert.equal(gone.length, 3, "one for each who came when it was full");
  assert.ok(
    gone.every((from) => !from.startsWith("127.1.2.")),
    "and not of who has just come",
  );
  assert.equal(limits.stats().pending, ALL - 1);
  for (const from of gone) assert.equal(limits.penalty(from), 0, "to make room is no penalty");
  for (const { socket } of stalled) socket.destroy();
});

test("stalled QUIC handshakes make room for others, and a peer gets in", async () => {
  const caps = { pendingPerBlock: 4, pending: 4, retry: 100 };
  await using it = await world({ limits: { caps } });
  // Connections whose packets go out and whose answers never arrive: nobody reads this socket.
  const sender = dgram.createSocket("udp4");
  sender.bind(0, "127.0.0.1");
  await once(sender, "listening");
  const relay = dgram.createSocket("udp4");
  relay.bind(0, "127.0.0.1");
  await once(relay, "listening");
  relay.on("message", (message) => sender.send(message, it.port, "127.0.0.1"));
  const dead = bind({ address: "127.0.0.1" });
  const stop = new AbortController();
  const config = new TlsClientConfig({
    alpn: ["alknet/echo"],
    verify: { dangerouslyAcceptAny: true },
  });
  const dials = Array.from({ length: 12 }, () =>
    dead
      .connect({
        address: "127.0.0.1",
        port: relay.address().port,
        tls: config,
        signal: stop.signal,
      })
      .catch(() => {}),
  );
  while (it.endpoint.limits.stats().pending < 4) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await using connection = await it.dial("quic");
  assert.equal(await ask(connection, "hello"), "hello");
  assert.ok(it.endpoint.limits.stats().pending <= 4);
  stop.abort(new Error("over"));
  await Promise.all(dials);
  await dead.close();
  relay.close();
  sender.close();
});

test("who is no peer may have 1 MiB on its way to a node over QUIC, a peer more", async () => {
  const open: ProtocolHandler = {
    ...echo,
    alpns: ["alknet/reads-nothing"],
    access: "anyone",
    async handle(connection) {
      const stream = await connection.accept();
      await connection.closed;
      stream?.destroy();
    },
  };
  await using it = await world({ handlers: [open] });
  await using client = bind({ address: "127.0.0.1" });
  const MIB = 2 ** 20;
  const sent = async (identity: NodeIdentity, least: number): Promise<number> => {
    const connection = await client.connect({
      address: "127.0.0.1",
      port: it.port,
      tls: new TlsClientConfig({
        alpn: open.alpns,
        verify: { publicKeys: [node.publicKey] },
        certificates: [identity.certificate],
        privateKey: identity.privateKeyDer,
      }),
    });
    connection.setLimits({ sendWindow: 32 * MIB });
    connection.openRaw(Buffer.alloc(8 * MIB));
    while (connection.stats().bytesSent < least) await turn();
    // Had it been allowed more, it would have gone out by now.
    for (let i = 0; i < 8; i++) assert.equal(await connection.ping(), true);
    const { bytesSent } = connection.stats();
    connection.close();
    return bytesSent;
  };
  const ofStranger = await sent(stranger, MIB);
  assert.ok(ofStranger < 1.5 * MIB, `${ofStranger} bytes`);
  await sent(alice, 8 * MIB);
});

test("a QUIC connection without a stream ends as IDLE, one that listens for datagrams does not", async () => {
  const clock = new FakeClock();
  const messages: string[] = [];
  const datagrams: ProtocolHandler = {
    ...echo,
    alpns: ["alknet/datagrams"],
    async handle(connection) {
      connection.datagrams?.listen((message) => messages.push(Buffer.from(message).toString()));
      await connection.closed;
    },
  };
  await using it = await world({ clock, handlers: [echo, datagrams] });
  const idle = await it.dial("quic");
  const listening = await it.dial("quic", "alknet/datagrams");
  assert.equal(await ask(idle, "hello"), "hello");
  await it.event("opened");
  await it.event("opened");
  const stream = await idle.open();
  stream.write("more");
  await once(stream, "readable");
  clock.advance(30_000);
  stream.resume().end();
  await once(stream, "close");
  // Until the server has seen the end of its stream, too.
  while ((await Promise.race([idle.closed, turn()])) === undefined) clock.advance(1_000);
  assert.equal((await idle.closed).name, "IDLE");
  assert.equal(listening.datagrams?.send(Buffer.from("still here")), true);
  while (messages.length === 0) await turn();
  listening.abort(CloseCode.OK);
});

test("close() of an endpoint that nobody uses is quick, and the same promise each time", async () => {
  const it = await world({ drain: 60_000 });
  const first = it.endpoint.close();
  assert.equal(it.endpoint.close(), first);
  await first;
  await it.dialer.close();
});

for (const transport of TRANSPORTS) {
  test(`${transport}: a connection that stands on an API key ends with it, at its moment`, async () => {
    const clock = new FakeClock();
    const token = createToken();
    const expiresAt = Math.floor(clock.wallTime() / 1_000) + 60;
    const key = { prefix: tokenPrefix(token), hash: hashToken(token), scopes: [], expiresAt };
    const identities = staticIdentities([], { apiKeys: [key], clock });
    const bearer: ProtocolHandler = {
      alpns: ["alknet/bearer"],
      access: "keyed",
      tls: "node",
      async handle(connection) {
        const stream = await connection.accept();
        if (stream === undefined) return;
        stream.on("error", () => {});
        const [shown] = (await once(stream, "data")) as [Buffer];
        const auth = connection.authenticate({ kind: "token", token: shown });
        stream.write(auth?.peer?.id ?? "nobody");
        await connection.closed;
      },
    };
    await using it = await world({ identities, handlers: [bearer] });
    const connection = await it.dial(transport, "alknet/bearer", stranger);
    const stream = await connection.open();
    stream.on("error", () => {});
    stream.write(token);
    const [name] = (await once(stream, "data")) as [Buffer];
    assert.equal(name.toString(), key.prefix);
    clock.advance(59_000);
    assert.equal([...it.endpoint.connections].length, 1);
    clock.advance(1_001);
    const { reason } = await it.event("closed");
    assert.deepEqual([reason.by, reason.name], ["local", "REVOKED"]);
    await connection.closed;
  });
}
