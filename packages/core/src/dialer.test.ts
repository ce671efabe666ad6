import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Duplex, duplexPair } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { bind } from "@alknet/quic/endpoint";
import { issueCertificate } from "@alknet/quic/self-signed";
import { TlsServerConfig } from "@alknet/quic/tls";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import type { Connection } from "./connection.ts";
import { createDialer, type Dialer, type DialerOptions } from "./dialer.ts";
import { createEndpoint, type Endpoint, type EndpointOptions } from "./endpoint.ts";
import { FakeClock } from "./fake-clock.ts";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { createIdentity } from "./identity-file.ts";
import { staticIdentities } from "./static-identities.ts";
import { resetCodeOf } from "./quic-connection.ts";
import type { Connect } from "./tcp-dial.ts";
import { pemOf } from "./tls-context.ts";

const node = createIdentity();
const alice = createIdentity();
const LOOPBACK = "127.0.0.1";
/** Loopback too, where no other test listens: a port that is taken for UDP only is refused over TCP. */
const ELSEWHERE = "127.77.31.5";

const echo: ProtocolHandler = {
  alpns: ["alknet/echo"],
  access: "peers",
  tls: "node",
  async handle(connection) {
    for (;;) {
      const stream = await connection.accept();
      if (stream === undefined) return;
      void pipeline(stream, stream).catch(() => {});
    }
  },
};

async function serve(options: Partial<EndpointOptions> = {}): Promise<Endpoint & { port: number }> {
  const endpoint = await createEndpoint({
    identity: node,
    identities: staticIdentities([
      { peerId: "alice", fingerprints: [alice.fingerprint], scopes: [], enabled: true },
    ]),
    handlers: [echo],
    listen: [`${LOOPBACK}:0`],
    limits: { exempt: ["127.0.0.0/8"] },
    drain: 500,
    ...options,
  });
  return Object.assign(endpoint, { port: endpoint.addresses[0]!.port });
}

function dialer(options: Partial<DialerOptions> = {}): Dialer {
  return createDialer({
    identity: alice,
    identities: staticIdentities([]),
    bind: () => bind({ address: LOOPBACK, resetCodeOf }),
    drain: 500,
    ...options,
  });
}

/** A UDP port that takes everything and answers nothing, and a TCP port of the same number that leads to `to`. */
async function withoutUdp(
  to: number,
): Promise<
  AsyncDisposable & { port: number; datagrams: () => number; nextDatagram: () => Promise<void> }
> {
  const sockets = new Set<net.Socket>();
  const relay = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: to, host: LOOPBACK, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket.setNoDelay(true));
      socket.on("error", () => {});
      socket.once("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  relay.listen(0, LOOPBACK);
  await once(relay, "listening");
  const { port } = relay.address() as net.AddressInfo;
  const udp = dgram.createSocket("udp4");
  udp.bind(port, LOOPBACK);
  await once(udp, "listening");
  let datagrams = 0;
  udp.on("message", () => datagrams++);
  return {
    port,
    datagrams: () => datagrams,
    async nextDatagram() {
      await once(udp, "message");
    },
    async [Symbol.asyncDispose]() {
      udp.close();
      relay.close();
      for (const socket of sockets) socket.destroy();
      await once(relay, "close");
    },
  };
}

/** A UDP port that holds back what comes until the test lets it through to `to`; nothing listens on TCP. */
async function udpOnly(
  to: number,
): Promise<AsyncDisposable & { port: number; held: () => number; letThrough: () => void }> {
  const near = dgram.createSocket("udp4");
  const far = dgram.createSocket("udp4");
  near.bind(0, ELSEWHERE);
  far.bind(0, LOOPBACK);
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  const held: Buffer[] = [];
  let open = false;
  let client = 0;
  near.on("message", (message, { port }) => {
    client = port;
    if (open) far.send(message, to, LOOPBACK);
    else held.push(message);
  });
  far.on("message", (message) => near.send(message, client, LOOPBACK));
  return {
    port: near.address().port,
    held: () => held.length,
    letThrough() {
      open = true;
      for (const message of held.splice(0)) far.send(message, to, LOOPBACK);
    },
    async [Symbol.asyncDispose]() {
      const closed = [once(near, "close"), once(far, "close")];
      near.close();
      far.close();
      await Promise.all(closed);
    },
  };
}

/**
 * A UDP relay to `to`. From `forget` on, packets of the connections it has seen are swallowed, as by a router
 * that has lost its table; those of new ones pass, unless `cut`.
 */
async function forgetfulPath(to: number): Promise<
  AsyncDisposable & {
    readonly port: number;
    readonly swallowed: () => number;
    forget(): void;
    remember(): void;
    cut: boolean;
    /** Lets nothing through to the client; nothing from it. */
    deaf: boolean;
    mute: boolean;
    /** The first packet to the client comes along. */
    onanswer: () => void;
  }
> {
  const near = dgram.createSocket("udp4");
  const far = dgram.createSocket("udp4");
  near.bind(0, ELSEWHERE);
  far.bind(0, LOOPBACK);
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  const seen = new Set<string>();
  const forgotten = new Set<string>();
  let swallowed = 0;
  let client = 0;
  const passes = (message: Buffer): boolean => {
    if (path.cut) return false;
    // Handshakes have the long header (RFC 9000 §17.2); all others begin with the connection's ID.
    if ((message[0]! & 0x80) !== 0) return true;
    const id = message.toString("hex", 1, 5);
    seen.add(id);
    if (!forgotten.has(id)) return true;
    swallowed++;
    return false;
  };
  near.on("message", (message, { port }) => {
    client = port;
    if (!path.mute && passes(message)) far.send(message, to, LOOPBACK);
  });
  far.on("message", (message) => {
    path.onanswer();
    if (!path.deaf && passes(message)) near.send(message, client, LOOPBACK);
  });
  const path = {
    port: near.address().port,
    cut: false,
    deaf: false,
    mute: false,
    onanswer: () => {},
    swallowed: () => swallowed,
    forget() {
      for (const id of seen) forgotten.add(id);
    },
    remember: () => forgotten.clear(),
    async [Symbol.asyncDispose]() {
      const over = [once(near, "close"), once(far, "close")];
      near.close();
      far.close();
      await Promise.all(over);
    },
  };
  return path;
}

function target(port: number, host: string = LOOPBACK): string {
  return `${node.fingerprint}@${host}:${port}`;
}

async function readAll(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

async function ask(stream: Duplex, text: string): Promise<string> {
  stream.end(text);
  return await readAll(stream);
}

/** Many turns of the loop: what was started gets as far as it can without more time. */
async function settle(turns: number = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

test("dial() goes over QUIC, and TCP is not even tried", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  for (let i = 0; i < 5; i++) {
    await using connection = await it.dial(target(endpoint.port), "alknet/echo");
    assert.equal(connection.transport, "quic");
    assert.equal(await ask(await connection.open(), "hello"), "hello");
  }
});

test("dial() takes TCP when QUIC has not connected after 300 ms, and remembers that for a minute", async () => {
  await using endpoint = await serve();
  await using blocked = await withoutUdp(endpoint.port);
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const first = blocked.nextDatagram();
  const dialing = it.dial(target(blocked.port), "alknet/echo");
  await first;
  clock.advance(299);
  await settle();
  assert.equal(endpoint.limits.stats().pending, 0, "TCP has not begun");
  clock.advance(1);
  const connection = await dialing;
  assert.equal(connection.transport, "tcp");
  assert.equal(await ask(await connection.open(), "hello"), "hello");

  // QUIC has two seconds more to show that UDP does get through.
  clock.advance(2_000);
  await settle();
  const before = blocked.datagrams();
  const second = await it.dial(target(blocked.port), "alknet/echo");
  assert.equal(second.transport, "tcp", "without any time having passed");
  await settle();
  assert.equal(blocked.datagrams(), before);
  second.abort(0);

  clock.advance(60_000);
  const probe = blocked.nextDatagram();
  const third = it.dial(target(blocked.port), "alknet/echo");
  await probe;
  clock.advance(300);
  assert.equal((await third).transport, "tcp");

  // What was learnt about one network says nothing about the next.
  clock.advance(2_000);
  await settle();
  it.networkChanged();
  const again = blocked.nextDatagram();
  const fourth = it.dial(target(blocked.port), "alknet/echo");
  await again;
  clock.advance(300);
  (await fourth).abort(0);
  (await third).abort(0);
  connection.abort(0);
});

test("dial() goes on to TCP at once when QUIC fails at once", async () => {
  await using endpoint = await serve();
  const clock = new FakeClock();
  await using it = dialer({
    clock,
    bind: () => {
      throw Object.assign(new Error("cannot bind UDP"), { code: "EPERM" });
    },
  });
  await using connection = await it.dial(target(endpoint.port), "alknet/echo");
  assert.equal(connection.transport, "tcp");
});

test("dial() ends with the peer's answer, and tries nothing else", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const other = createIdentity();
  await assert.rejects(
    it.dial(`${other.fingerprint}@${LOOPBACK}:${endpoint.port}`, "alknet/echo"),
    {
      code: "PEER_KEY_MISMATCH",
      seen: node.fingerprint,
      expected: [other.fingerprint],
    },
  );
  await assert.rejects(it.dial(target(endpoint.port), "nope"), { code: "UNKNOWN_ALPN" });
  const stranger = createIdentity();
  const connection = await it.dial(target(endpoint.port), "alknet/echo", { identity: stranger });
  await assert.rejects(connection.accepted, { code: "UNAVAILABLE" });
  assert.equal(endpoint.limits.stats().connections, 0);
});

test("dial() over QUIC does not tell an impostor who dials", async () => {
  const seen: (string | undefined)[] = [];
  await using endpoint = await serve({
    onevent: (event) => {
      if ("fingerprint" in event) seen.push(event.fingerprint);
    },
  });
  await using it = dialer();
  const other = createIdentity();
  await assert.rejects(
    it.dial(`${other.fingerprint}@${LOOPBACK}:${endpoint.port}`, "alknet/echo", {
      transports: ["quic"],
    }),
    { code: "PEER_KEY_MISMATCH", seen: node.fingerprint, expected: [other.fingerprint] },
  );
  // Once more as nobody, to see whom it met.
  while (seen.length === 0) await settle(1);
  assert.deepEqual(seen, [undefined]);
});

test("dial() over QUIC is not taken in by a server that shows the right key only when it is asked again", async () => {
  const impostor = createIdentity();
  const [wrong, right] = [impostor, node].map(
    ({ certificate, privateKeyDer }) =>
      new TlsServerConfig({ certificates: [certificate], privateKey: privateKeyDer }),
  ) as [TlsServerConfig, TlsServerConfig];
  let asked = 0;
  await using server = bind({
    address: LOOPBACK,
    server: { configure: ({ alpn }) => ({ tls: asked++ === 0 ? wrong : right, alpn: alpn[0]! }) },
  });
  await using it = dialer();
  await assert.rejects(it.dial(target(server.address.port), "alknet/echo"), {
    code: "HANDSHAKE_FAILED",
    message: /it showed another key/,
  });
  assert.equal(asked, 2, "and nothing else was tried");
});

test("dial() tries all addresses of a peer, a little apart", async () => {
  await using endpoint = await serve();
  await using first = await withoutUdp(endpoint.port);
  await using second = await withoutUdp(endpoint.port);
  const clock = new FakeClock();
  const resolved: string[] = [];
  await using it = dialer({
    clock,
    identities: staticIdentities([
      {
        peerId: "den",
        fingerprints: [node.fingerprint],
        addresses: [
          `${LOOPBACK}:${first.port}`,
          `${LOOPBACK}:${second.port}`,
          `den.example:${endpoint.port}`,
        ],
        scopes: [],
        enabled: true,
      },
    ]),
    resolve: async (host) => {
      resolved.push(host);
      return [LOOPBACK];
    },
  });
  const begun = first.nextDatagram();
  const dialing = it.dial("den", "alknet/echo", { transports: ["quic"] });
  await begun;
  await settle();
  assert.equal(second.datagrams(), 0);
  const next = second.nextDatagram();
  clock.advance(250);
  await next;
  clock.advance(250);
  const connection = await dialing;
  assert.equal(connection.remoteAddress, `${LOOPBACK}:${endpoint.port}`);
  assert.equal(connection.serverName, "den.example");
  assert.equal(connection.auth.peer?.id, "den", "and it is known by its key");
  assert.deepEqual(resolved, ["den.example"]);
  await connection.close();
});

test("dial() says what it tried when nothing answers, after ten seconds at most", async () => {
  const clock = new FakeClock();
  await using dead = await withoutUdp(1);
  await using it = dialer({ clock });
  const begun = dead.nextDatagram();
  const dialing = it.dial(target(dead.port), "alknet/echo", { transports: ["quic"] });
  const rejected = assert.rejects(dialing, {
    code: "UNREACHABLE",
    message: `cannot reach ${LOOPBACK}:${dead.port} for alknet/echo within 10 s (QUIC ${LOOPBACK}:${dead.port}: no answer)`,
  });
  await begun;
  clock.advance(10_000);
  await rejected;

  const closed = net.createServer();
  closed.listen(0, LOOPBACK);
  await once(closed, "listening");
  const { port } = closed.address() as net.AddressInfo;
  closed.close();
  await assert.rejects(it.dial(target(port), "alknet/echo", { transports: ["tcp"] }), {
    code: "UNREACHABLE",
    message: `cannot reach ${LOOPBACK}:${port} over TCP: ECONNREFUSED`,
  });
  await assert.rejects(it.dial("nobody", "alknet/echo"), { code: "PEER_UNKNOWN" });
  await using lost = dialer({
    resolve: async () => {
      throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
    },
  });
  await assert.rejects(lost.dial(`${node.fingerprint}@den.example`, "alknet/echo"), {
    code: "NAME_NOT_FOUND",
  });
});

/** Until one more wait has begun on the clock: what it waits for needs no more time. */
async function nextWait(clock: FakeClock): Promise<void> {
  const before = clock.pending;
  while (clock.pending === before) await settle(1);
}

test("dial() fails 1.2 s after TCP was refused everywhere, when QUIC is silent", async () => {
  const clock = new FakeClock();
  await using down = await udpOnly(1);
  await using it = dialer({ clock });
  const dialing = it.dial(target(down.port, ELSEWHERE), "alknet/echo");
  const rejected = assert.rejects(dialing, {
    code: "UNREACHABLE",
    message:
      `cannot reach ${ELSEWHERE}:${down.port} for alknet/echo ` +
      `(QUIC ${ELSEWHERE}:${down.port}: no answer; TCP ${ELSEWHERE}:${down.port}: connection refused)`,
  });
  while (down.held() === 0) await settle(1);
  // TCP joins, and is refused.
  clock.advance(300);
  await nextWait(clock);
  clock.advance(1_199);
  await settle();
  assert.equal(await Promise.race([dialing, settle()]), undefined, "QUIC has its grace");
  clock.advance(1);
  await rejected;

  // Nothing was learnt about UDP from a node that is down: it goes first again.
  const before = down.held();
  const stop = new AbortController();
  const again = assert.rejects(
    it.dial(target(down.port, ELSEWHERE), "alknet/echo", { signal: stop.signal }),
  );
  while (down.held() === before) await settle(1);
  stop.abort(new Error("enough"));
  await again;
});

test("dial() gets through over QUIC, however late in its grace, though TCP was refused", async () => {
  await using endpoint = await serve();
  const clock = new FakeClock();
  await using path = await udpOnly(endpoint.port);
  await using it = dialer({ clock });
  const dialing = it.dial(target(path.port, ELSEWHERE), "alknet/echo");
  while (path.held() === 0) await settle(1);
  clock.advance(300);
  await nextWait(clock);
  clock.advance(1_199);
  await settle();
  path.letThrough();
  const connection = await dialing;
  assert.equal(connection.transport, "quic");
  assert.equal(await ask(await connection.open(), "hello"), "hello");
  connection.abort(0);
});

test("dial() counts the grace of QUIC from its last address", async () => {
  const clock = new FakeClock();
  await using first = await udpOnly(1);
  await using second = await udpOnly(1);
  await using third = await udpOnly(1);
  const ports = [first.port, second.port, third.port];
  await using it = dialer({
    clock,
    identities: staticIdentities([
      {
        peerId: "den",
        fingerprints: [node.fingerprint],
        addresses: ports.map((port) => `${ELSEWHERE}:${port}`),
        scopes: [],
        enabled: true,
      },
    ]),
  });
  const dialing = it.dial("den", "alknet/echo");
  const rejected = assert.rejects(dialing, { code: "UNREACHABLE" });
  while (first.held() === 0) await settle(1);
  clock.advance(250);
  while (second.held() === 0) await settle(1);
  // TCP is refused at all three without any time passing; the third over QUIC begins at 500 ms.
  clock.advance(50);
  await nextWait(clock);
  clock.advance(200);
  while (third.held() === 0) await settle(1);
  clock.advance(1_199);
  assert.equal(await Promise.race([dialing, settle()]), undefined);
  clock.advance(1);
  await rejected;
});

test("dial() heeds its signal, and leaves nothing behind", async () => {
  await using dead = await withoutUdp(1);
  await using it = dialer();
  const stop = new AbortController();
  const reason = new Error("enough");
  const begun = dead.nextDatagram();
  const dialing = assert.rejects(
    it.dial(target(dead.port), "alknet/echo", { signal: stop.signal }),
    reason,
  );
  await begun;
  stop.abort(reason);
  await dialing;
  await assert.rejects(it.dial(target(dead.port), "alknet/echo", { signal: stop.signal }), reason);
});

test("dial() over QUIC says so when the node's time for the handshake has run out", async () => {
  const over = Promise.withResolvers<void>();
  await using endpoint = await serve({
    handshakeTimeout: 100,
    onevent: ({ kind }) => {
      if (kind === "handshake failed") over.resolve();
    },
  });
  await using path = await forgetfulPath(endpoint.port);
  await using it = dialer();
  // The node hears us, and we do not hear the node until it has given up.
  path.deaf = true;
  const dialing = it.dial(target(path.port, ELSEWHERE), "alknet/echo", { transports: ["quic"] });
  const failed = assert.rejects(dialing, { code: "HANDSHAKE_TIMEOUT", message: /gave up/ });
  await over.promise;
  path.deaf = false;
  await failed;
});

test("dial() over QUIC has a connection that ends as HANDSHAKE_TIMEOUT when the node never hears its end", async () => {
  await using endpoint = await serve({ handshakeTimeout: 100 });
  await using path = await forgetfulPath(endpoint.port);
  await using it = dialer();
  path.onanswer = () => (path.mute = true);
  const connection = await it.dial(target(path.port, ELSEWHERE), "alknet/echo", {
    transports: ["quic"],
  });
  assert.equal((await connection.closed).name, "HANDSHAKE_TIMEOUT");
  await assert.rejects(connection.accepted, { code: "HANDSHAKE_TIMEOUT" });
});

test("dial() trusts nobody for an address without a key, and names what it saw", async () => {
  await using endpoint = await serve();
  await using it = dialer({ resolve: async () => [LOOPBACK] });
  for (const transports of [["quic"], ["tcp"], undefined] as const) {
    for (const address of [`${LOOPBACK}:${endpoint.port}`, `den.example:${endpoint.port}`]) {
      await assert.rejects(
        it.dial({ address }, "alknet/echo", { transports }),
        {
          code: "PEER_UNPINNED",
          seen: node.fingerprint,
          hint: new RegExp(`dial ${node.fingerprint}@${LOOPBACK}`),
        },
        address,
      );
    }
  }
});

test("dial() takes a host name that the system's CAs vouch for, and no other", async () => {
  // A CA of this machine, as the system's OpenSSL would find it; read once in a process, so in another one.
  const ca = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const web = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = (key: typeof ca): Buffer =>
    createPublicKey(key.privateKey).export({ format: "der", type: "spki" });
  const root = issueCertificate({
    publicKey: spki(ca),
    issuerKey: ca.privateKey,
    subject: "a CA",
    ca: true,
  });
  const certificate = issueCertificate({
    publicKey: spki(web),
    issuerKey: ca.privateKey,
    subject: "den.example",
    issuer: "a CA",
    names: ["den.example"],
  });
  const page: ProtocolHandler = {
    ...echo,
    alpns: ["x-page"],
    access: "anyone",
    tls: "web",
  };
  await using endpoint = await serve({
    handlers: [page],
    web: { certificate, privateKey: web.privateKey },
  });
  const folder = mkdtempSync(join(tmpdir(), "alknet-test-"));
  try {
    const roots = join(folder, "roots.pem");
    writeFileSync(roots, pemOf(root));
    const program = `
      import { bind } from "@alknet/quic/endpoint";
      import { createDialer } from "@alknet/core/dialer";
      import { createIdentity } from "@alknet/core/identity-file";
      import { staticIdentities } from "@alknet/core/static-identities";
      const dialer = createDialer({
        identity: createIdentity(),
        identities: staticIdentities([]),
        bind: () => bind({ address: "127.0.0.1" }),
        resolve: async () => ["127.0.0.1"],
      });
      for (const host of ["den.example", "other.example"]) {
        for (const transport of ["quic", "tcp"]) {
          try {
            const connection = await dialer.dial(host + ":${endpoint.port}", "x-page", { transports: [transport] });
            console.log(host, transport, connection.auth.fingerprint);
            await connection.close();
          } catch (error) {
            console.log(host, transport, error.code, error.seen);
          }
        }
      }
      await dialer.close();
    `;
    const child = spawn(
      process.execPath,
      ["--conditions=@alknet/source", "--input-type=module", "--eval", program],
      {
        cwd: import.meta.dirname,
        env: { ...process.env, SSL_CERT_FILE: roots, SSL_CERT_DIR: folder },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const seen = fingerprintOfCertificate(certificate);
    assert.deepEqual((await readAll(child.stdout as unknown as Duplex)).trim().split("\n"), [
      `den.example quic ${seen}`,
      `den.example tcp ${seen}`,
      `other.example quic PEER_UNPINNED ${seen}`,
      `other.example tcp PEER_UNPINNED ${seen}`,
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("open() shares a connection over QUIC with all that want the same, and lets it go after 30 s", async () => {
  await using endpoint = await serve();
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const bob = createIdentity();
  const opened = await Promise.all(
    Array.from({ length: 20 }, () => it.open(target(endpoint.port), "alknet/echo")),
  );
  const [{ connection }] = opened as [(typeof opened)[0]];
  for (const each of opened) {
    assert.equal(each.connection, connection);
    assert.equal(each.multiplexed, true);
  }
  const answers = await Promise.all(opened.map(({ stream }, i) => ask(stream, `${i}`)));
  assert.deepEqual(
    answers,
    opened.map((_, i) => `${i}`),
  );
  const other = await it.open(target(endpoint.port), "alknet/echo", { identity: bob });
  assert.notEqual(other.connection, connection, "another identity, another connection");
  other.stream.destroy();

  await settle();
  clock.advance(29_000);
  const late = await it.open(target(endpoint.port), "alknet/echo");
  assert.equal(late.connection, connection);
  clock.advance(60_000);
  await settle();
  assert.equal(await Promise.race([connection.closed, settle()]), undefined, "it has a stream");
  assert.equal(await ask(late.stream, "hello"), "hello");
  await settle();
  clock.advance(29_999);
  assert.equal(await Promise.race([connection.closed, settle()]), undefined);
  clock.advance(1);
  assert.equal((await connection.closed).name, "OK");
  const fresh = await it.open(target(endpoint.port), "alknet/echo");
  assert.notEqual(fresh.connection, connection);
  fresh.stream.destroy();
});

test("dial() by another way: TLS through a stream of the caller, names as they are, and the key proved as always", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const asked: string[] = [];
  const flows: Duplex[] = [];
  const connect: Connect = async ({ host, port }) => {
    asked.push(`${host}:${port}`);
    const socket = net.connect({ port: endpoint.port, host: LOOPBACK, allowHalfOpen: true });
    // Not a socket, as a flow through another peer is none.
    const flow = Duplex.fromWeb(Duplex.toWeb(socket));
    flows.push(flow);
    return flow;
  };
  const there = { address: "den.invalid:7433", fingerprint: node.fingerprint };
  const connection = await it.dial(there, "alknet/echo", { connect });
  assert.equal(connection.transport, "tcp");
  assert.equal(connection.remoteAddress, "den.invalid:7433");
  const stream = await connection.open();
  assert.equal(await ask(stream, "hello"), "hello");
  await connection.closed;
  assert.deepEqual(asked, ["den.invalid:7433"]);

  await assert.rejects(
    it.dial({ ...there, fingerprint: alice.fingerprint }, "alknet/echo", { connect }),
    { code: "PEER_KEY_MISMATCH" },
  );
  for (const flow of flows) if (!flow.closed) await once(flow, "close");
});

test("dial() by another way tells why that did not lead there, and gives up when asked to", async () => {
  await using it = dialer();
  const there = { address: "den.invalid:7433", fingerprint: node.fingerprint };
  const refused = async () => {
    throw new Error("the gate refused");
  };
  await assert.rejects(it.dial(there, "alknet/echo", { connect: refused }), (error: Error) => {
    assert.match(error.message, /TCP den\.invalid:7433: the gate refused/);
    return true;
  });
  const stop = new AbortController();
  const [flow] = duplexPair();
  const connect: Connect = async () => {
    setImmediate(() => stop.abort(new Error("enough")));
    return flow;
  };
  const { signal } = stop;
  await assert.rejects(it.dial(there, "alknet/echo", { connect, signal }), { message: "enough" });
  assert.ok(flow.destroyed);
});

test("open() over TCP is a connection of its own, which ends with its stream", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const options = { transports: ["tcp"] } as const;
  const opened = await Promise.all(
    Array.from({ length: 5 }, () => it.open(target(endpoint.port), "alknet/echo", options)),
  );
  assert.equal(new Set(opened.map(({ connection }) => connection)).size, 5);
  for (const { stream, connection, multiplexed } of opened) {
    assert.equal(multiplexed, false);
    assert.equal(await ask(stream, "hello"), "hello");
    await connection.closed;
  }
});

test("open() of one who gives up leaves the others their connection", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const stop = new AbortController();
  const reason = new Error("enough");
  const gaveUp = assert.rejects(
    it.open(target(endpoint.port), "alknet/echo", { signal: stop.signal }),
    reason,
  );
  const other = it.open(target(endpoint.port), "alknet/echo");
  stop.abort(reason);
  await gaveUp;
  const { stream } = await other;
  assert.equal(await ask(stream, "hello"), "hello");
});

test("open() dials anew when the peer has come back", async () => {
  const endpoint = await serve();
  const { port } = endpoint;
  await using it = dialer();
  const first = await it.open(target(port), "alknet/echo");
  assert.equal(await ask(first.stream, "hello"), "hello");
  await endpoint.close();
  assert.equal((await first.connection.closed).name, "OK");
  await using again = await serve({ listen: [`${LOOPBACK}:${port}`] });
  const second = await it.open(target(again.port), "alknet/echo");
  assert.notEqual(second.connection, first.connection);
  assert.equal(await ask(second.stream, "hello again"), "hello again");
});

/** Until a connection whose last packet came before now passes for silent. */
async function silence(): Promise<void> {
  const begin = performance.now();
  while (performance.now() - begin < 150) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("open() gives a stream of a fresh connection when the shared one has died without a word", async () => {
  await using endpoint = await serve();
  await using path = await forgetfulPath(endpoint.port);
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const there = target(path.port, ELSEWHERE);
  const old = await it.open(there, "alknet/echo");
  old.stream.write("before");
  await once(old.stream, "readable");
  assert.equal(String(old.stream.read()), "before");
  path.forget();
  await silence();

  // The first one in doubt gets its stream at once; when another connection answers, it ends as by a time-out.
  const doubted = await it.open(there, "alknet/echo");
  assert.equal(doubted.connection, old.connection);
  const ended = assert.rejects(ask(doubted.stream, "is anybody there?"), {
    code: "TIMEOUT",
  });
  while (path.swallowed() === 0) await settle(1);
  clock.advance(5_000);
  const fresh = await it.open(there, "alknet/echo");
  await ended;
  assert.notEqual(fresh.connection, old.connection);
  assert.equal(await ask(fresh.stream, "hello"), "hello");

  // What was there before the doubt is left alone: the path may come back.
  path.remember();
  old.stream.write("after");
  await once(old.stream, "readable");
  assert.equal(String(old.stream.read()), "after");
  old.stream.end();
  old.stream.resume();
  assert.equal((await old.connection.closed).name, "OK", "and with its last stream it goes");
  const last = await it.open(there, "alknet/echo");
  assert.equal(last.connection, fresh.connection);
  last.stream.destroy();
});

test("open() stays with a connection that answers after all", async () => {
  await using endpoint = await serve();
  await using path = await forgetfulPath(endpoint.port);
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const there = target(path.port, ELSEWHERE);
  const old = await it.open(there, "alknet/echo");
  assert.equal(await ask(old.stream, "hello"), "hello");
  await silence();

  // Silent and alive: the answer is there before anybody is in a hurry.
  const second = await it.open(there, "alknet/echo");
  assert.equal(await ask(second.stream, "hello"), "hello");
  clock.advance(5_000);
  const third = await it.open(there, "alknet/echo");
  assert.equal(third.connection, old.connection);
  assert.equal(await ask(third.stream, "hello"), "hello");
  await silence();

  // Nothing passes for a while, old or new: who answers first when it does is not known, and both will do.
  path.cut = true;
  const doubted = await it.open(there, "alknet/echo");
  const answer = ask(doubted.stream, "hello").catch((error: { code: string }) => error.code);
  clock.advance(5_000);
  const waiting = it.open(there, "alknet/echo");
  await settle();
  path.cut = false;
  const { stream, connection } = await waiting;
  assert.equal(await ask(stream, "hello"), "hello");
  assert.equal(await answer, connection === old.connection ? "hello" : "TIMEOUT");
});

test("open() fails as a dial does when the shared connection is dead and there is no way to the peer", async () => {
  await using endpoint = await serve();
  await using path = await forgetfulPath(endpoint.port);
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const there = target(path.port, ELSEWHERE);
  const old = await it.open(there, "alknet/echo");
  assert.equal(await ask(old.stream, "hello"), "hello");
  path.cut = true;
  await silence();
  const doubted = await it.open(there, "alknet/echo");
  doubted.stream.on("error", () => {});
  clock.advance(5_000);
  const stop = new AbortController();
  const reason = new Error("enough");
  const gaveUp = assert.rejects(it.open(there, "alknet/echo", { signal: stop.signal }), reason);
  const failed = assert.rejects(it.open(there, "alknet/echo"), { code: "UNREACHABLE" });
  await settle();
  stop.abort(reason);
  await gaveUp;
  clock.advance(10_000);
  await failed;
  // And when it comes back, the next one has a stream.
  path.cut = false;
  const { stream } = await it.open(there, "alknet/echo");
  assert.equal(await ask(stream, "hello again"), "hello again");
});

test("a node that was killed and came back tells an old connection so at once", async () => {
  const program = `
    import { createEndpoint } from "@alknet/core/endpoint";
    import { identityFromKey } from "@alknet/core/identity-file";
    import { staticIdentities } from "@alknet/core/static-identities";
    import { createPrivateKey } from "node:crypto";
    const key = createPrivateKey(process.env.NODE_KEY);
    const endpoint = await createEndpoint({
      identity: identityFromKey(key),
      identities: staticIdentities([{ peerId: "alice", fingerprints: [process.env.ALICE], scopes: [], enabled: true }]),
      handlers: [{
        alpns: ["alknet/echo"], access: "peers", tls: "node",
        async handle(connection) {
          for (;;) {
            const stream = await connection.accept();
            if (stream === undefined) return;
            stream.pipe(stream);
          }
        },
      }],
      listen: [process.env.LISTEN],
    });
    console.log(endpoint.addresses[0].port);
  `;
  const run = async (listen: string) => {
    const child = spawn(
      process.execPath,
      ["--conditions=@alknet/source", "--input-type=module", "--eval", program],
      {
        cwd: import.meta.dirname,
        env: {
          ...process.env,
          LISTEN: listen,
          ALICE: alice.fingerprint,
          NODE_KEY: node.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
        },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return { child, port: Number(line.toString()) };
  };
  await using it = dialer();
  const before = await run(`${LOOPBACK}:0`);
  const first = await it.open(target(before.port), "alknet/echo");
  first.stream.on("error", () => {});
  first.stream.write("hello");
  await once(first.stream, "readable");
  before.child.kill("SIGKILL");
  await once(before.child, "exit");
  const after = await run(`${LOOPBACK}:${before.port}`);
  try {
    // What is sent now meets a node that knows nothing of it.
    first.stream.write("are you there?");
    const begin = performance.now();
    assert.equal((await first.connection.closed).name, "RESET");
    assert.ok(performance.now() - begin < 5_000, "and not only after the idle time");
    const second = await it.open(target(before.port), "alknet/echo");
    assert.equal(await ask(second.stream, "hello again"), "hello again");
  } finally {
    after.child.kill("SIGKILL");
    await once(after.child, "exit");
  }
});

test("close() of a dialer ends what it owns, and takes no more", async () => {
  await using endpoint = await serve();
  const it = dialer();
  const connections: Connection[] = [];
  for (const transport of ["quic", "tcp"] as const) {
    connections.push(
      await it.dial(target(endpoint.port), "alknet/echo", { transports: [transport] }),
    );
  }
  const opened = await it.open(target(endpoint.port), "alknet/echo");
  opened.stream.on("error", () => {});
  const closing = it.close();
  assert.equal(it.close(), closing);
  await settle();
  for (const { draining } of connections) assert.equal(draining.aborted, true);
  await closing;
  for (const { closed } of [...connections, opened.connection]) {
    assert.equal((await closed).name, "DRAINING");
  }
  await assert.rejects(it.dial(target(endpoint.port), "alknet/echo"), { code: "UNREACHABLE" });
});

test("the dialer of an endpoint dials from the port that listens", async () => {
  await using endpoint = await serve();
  const seen: (string | undefined)[] = [];
  await using other = await serve({
    identities: staticIdentities([
      { peerId: "den", fingerprints: [node.fingerprint], scopes: [], enabled: true },
    ]),
    handlers: [
      {
        ...echo,
        handle(connection) {
          seen.push(connection.remoteAddress);
          return echo.handle(connection);
        },
      },
    ],
  });
  await using connection = await endpoint.dialer.dial(target(other.port), "alknet/echo");
  assert.equal(await ask(await connection.open(), "hello"), "hello");
  assert.deepEqual(seen, [`${LOOPBACK}:${endpoint.port}`]);
});
