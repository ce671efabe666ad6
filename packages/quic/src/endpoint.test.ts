import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { buffer, text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import type { QuicConnection } from "./connection.ts";
import { bind } from "./endpoint.ts";
import type { Admission, ClientHello, HandshakeFailure, Source } from "./handshake.ts";
import { run, start } from "./test-child.ts";
import { ALPN, clientTls, dial, LOOPBACK, pair, serve, serverTls } from "./test-identity.ts";
import { relay } from "./test-relay.ts";

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function reasonOf(dialing: Promise<QuicConnection>): Promise<QuicCloseReason> {
  try {
    return await (
      await dialing
    ).closed;
  } catch (error) {
    assert.ok(error instanceof QuicConnectionClosed, String(error));
    return error.closeReason;
  }
}

const NO_ANSWER = 'cannot admit: expected accept, retry, refuse or ignore, got "maybe"';

/** Why nothing is heard of ports where nobody listens. */
const deaf = process.platform === "linux" ? false : "ICMP is heard on Linux alone";

/** An address that nobody answers at. */
async function blackHole(): Promise<AsyncDisposable & { port: number }> {
  const socket = createSocket("udp4");
  socket.bind(0, LOOPBACK);
  await once(socket, "listening");
  return {
    port: socket.address().port,
    async [Symbol.asyncDispose]() {
      socket.close();
    },
  };
}

suite("bind()", () => {
  test("says where it is, and what the kernel gave", async () => {
    await using endpoint = bind({ address: LOOPBACK });
    const { address, port, family } = endpoint.address;
    assert.equal(address, LOOPBACK);
    assert.ok(port > 0);
    assert.equal(family, "IPv4");
    assert.ok(endpoint.socketBuffers.receive > 0);
    assert.ok(endpoint.socketBuffers.send > 0);
    assert.deepEqual(endpoint.sendErrors, { count: 0, last: undefined });
    assert.equal(endpoint.connectionCount, 0);
    assert.equal(endpoint.handshakeCount, 0);
  });

  test("fails with the system's code", async () => {
    await using first = bind({ address: LOOPBACK });
    const { port } = first.address;
    assert.throws(() => bind({ address: LOOPBACK, port }), {
      code: "EADDRINUSE",
      syscall: "bind",
      address: LOOPBACK,
      port,
    });
    assert.throws(() => bind({ address: "192.0.2.1" }), { code: "EADDRNOTAVAIL" });
    assert.throws(() => bind({ address: "localhost" }), { code: "EINVAL" });
  });

  test("checks its numbers by name", () => {
    for (const port of [-1, 65_536, 1.5, Number.NaN, "7" as never]) {
      assert.throws(() => bind({ port }), { name: "RangeError", message: /port/ });
    }
    assert.throws(() => bind({ socketBuffer: -1 }), RangeError);
    assert.throws(() => bind({ resetKey: randomBytes(31) }), RangeError);
    for (const transport of [
      { idleTimeout: -1 },
      { keepAlive: Number.POSITIVE_INFINITY },
      { handshakeTimeout: Number.NaN },
      { maxStreams: 10 ** 6 },
      { streamReceiveWindow: 2 ** 50 },
      { receiveWindow: 0.5 },
      { sendWindow: -1 },
      { initialMtu: 1_199 },
      { mtuUpperBound: 100_000 },
      { datagramBuffer: 2 ** 40 },
    ]) {
      const [name] = Object.keys(transport);
      assert.throws(() => bind({ transport }), { name: "RangeError", message: new RegExp(name!) });
    }
    assert.throws(() => bind({ transport: { congestion: "vegas" as never } }), TypeError);
  });

  for (const congestion of ["cubic", "newreno", "bbr"] as const) {
    test(`carries a transfer with ${congestion}`, async () => {
      const transport = { congestion };
      await using sides = await pair({ server: { transport }, client: { transport } });
      sides.near.openRaw(randomBytes(2_000_000), true);
      const other = (await sides.far.accept())!;
      other.end();
      assert.equal((await buffer(other)).length, 2_000_000);
    });
  }
});

suite("addresses", () => {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ family }) => family === "IPv6"),
  );
  const skip = hasIpv6 ? false : "this machine has no IPv6";

  test("a dual-stack endpoint is reached both ways and shows IPv4 as IPv4", { skip }, async () => {
    const sources: Source[] = [];
    await using server = serve({
      address: "::",
      server: {
        admit: (source) => {
          sources.push(source);
          return "accept";
        },
      },
    });
    assert.equal(server.address.family, "IPv6");
    const { port } = server.address;
    for (const [from, to] of [
      [LOOPBACK, LOOPBACK],
      ["::1", "::1"],
      ["::", LOOPBACK],
      ["::", "::1"],
      ["::", "::ffff:127.0.0.1"],
      [LOOPBACK, "::ffff:127.0.0.1"],
    ] as const) {
      const plain = to === "::1" ? "::1" : LOOPBACK;
      await using client = bind({ address: from });
      const connecting = client.connect({ address: to, port, tls: clientTls() });
      const [near, far] = await Promise.all([connecting, server.accept()]);
      assert.equal(near.remoteAddress, plain);
      assert.equal(far?.remoteAddress, plain);
      assert.equal(sources.at(-1)?.address, plain);
      near.close();
    }
  });

  test("an IPv4 endpoint cannot dial IPv6, and says so", async () => {
    await using client = bind({ address: LOOPBACK });
    const dialing = client.connect({ address: "::1", port: 9, tls: clientTls() });
    await assert.rejects(dialing, { code: "EINVAL", message: /bound to IPv4/ });
  });

  test("the default is dual stack", { skip }, async () => {
    await using endpoint = bind();
    assert.equal(endpoint.address.address, "::");
  });

  test("one endpoint serves and dials on one port", async () => {
    await using one = serve();
    await using two = serve();
    const [near, far] = await Promise.all([dial(one, two), two.accept()]);
    assert.equal(far?.remotePort, one.address.port);
    const [back, there] = await Promise.all([dial(two, one), one.accept()]);
    assert.equal(there?.remotePort, two.address.port);
    assert.equal(one.connectionCount, 2);
    near.close();
    back.close();
  });
});

suite("connect()", () => {
  test("refuses what is no address, port or name", async () => {
    await using client = bind({ address: LOOPBACK });
    const tls = clientTls();
    for (const port of [0, 65_536, Number.NaN]) {
      await assert.rejects(client.connect({ address: LOOPBACK, port, tls }), RangeError);
    }
    for (const options of [
      { address: "example.org", port: 1 },
      { address: LOOPBACK, port: 1, serverName: "not a name" },
      { address: "0.0.0.0", port: 1 },
    ]) {
      await assert.rejects(client.connect({ ...options, tls }), { code: "EINVAL" });
    }
    assert.deepEqual([client.connectionCount, client.handshakeCount], [0, 0]);
  });

  test("ends with its signal, before and during the handshake", async () => {
    await using hole = await blackHole();
    await using client = bind({ address: LOOPBACK });
    const dialing = { address: LOOPBACK, port: hole.port, tls: clientTls() };
    const reason = new Error("enough");
    await assert.rejects(
      client.connect({ ...dialing, signal: AbortSignal.abort(reason) }),
      (error) => error === reason,
    );
    const abort = new AbortController();
    const waiting = client.connect({ ...dialing, signal: abort.signal });
    assert.equal(client.handshakeCount, 1);
    abort.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    assert.equal(client.handshakeCount, 0);
  });

  test("a signal that fires after the handshake does nothing", async () => {
    const abort = new AbortController();
    await using sides = await pair({ connect: { signal: abort.signal } });
    abort.abort();
    const stream = await sides.near.openUni();
    stream.end("still here");
    assert.equal(await text((await sides.far.acceptUni())!), "still here");
  });

  test("ends with the handshake time", async () => {
    await using hole = await blackHole();
    await using client = bind({ address: LOOPBACK });
    const reason = await reasonOf(
      client.connect({
        address: LOOPBACK,
        port: hole.port,
        tls: clientTls(),
        transport: { handshakeTimeout: 300 },
      }),
    );
    assert.deepEqual(reason, { kind: "timeout", reason: "handshake time passed" });
    assert.equal(client.handshakeCount, 0);
  });

  test("fails where nobody listens, long before the handshake time", { skip: deaf }, async () => {
    const hole = await blackHole();
    await hole[Symbol.asyncDispose]();
    await using client = bind({ address: LOOPBACK, transport: { handshakeTimeout: 0 } });
    const dialing = client.connect({ address: LOOPBACK, port: hole.port, tls: clientTls() });
    const reason = "nothing listens on that UDP port";
    assert.deepEqual(await reasonOf(dialing), { kind: "unreachable", reason });
    assert.equal(client.handshakeCount, 0);
    assert.deepEqual(client.sendErrors, { count: 0, last: undefined });
  });

  test("takes its transport from the endpoint, and what it says itself", async () => {
    await using server = serve({ transport: { keepAlive: 0 } });
    await using client = bind({
      address: LOOPBACK,
      transport: { idleTimeout: 200, datagramBuffer: 0, keepAlive: 0 },
    });
    const options = { transport: { datagramBuffer: 10_000, idleTimeout: undefined } };
    const [near, far] = await Promise.all([dial(client, server, options), server.accept()]);
    assert.ok(far!.maxDatagramSize > 0);
    assert.equal((await near.closed).kind, "timeout");
  });
});

suite("accept()", () => {
  test("ends with its signal and takes no connection with it", async () => {
    await using server = serve();
    await using client = bind({ address: LOOPBACK });
    await assert.rejects(server.accept({ signal: AbortSignal.abort() }), { name: "AbortError" });
    const abort = new AbortController();
    const waiting = server.accept({ signal: abort.signal });
    abort.abort();
    await assert.rejects(waiting, { name: "AbortError" });
    const [near, far] = await Promise.all([dial(client, server), server.accept()]);
    assert.equal(far?.remotePort, client.address.port);
    near.close();
  });

  test("is undefined once close() has begun, and stays so", async () => {
    const server = serve();
    await using client = bind({ address: LOOPBACK });
    await dial(client, server);
    await until(() => server.connectionCount === 1);
    const queued = server.close();
    assert.equal(await server.accept(), undefined);
    await queued;
    assert.equal(await server.accept(), undefined);
  });

  test("pending ones end with close()", async () => {
    const server = serve();
    const waiting = [server.accept(), server.accept()];
    await server.close();
    assert.deepEqual(await Promise.all(waiting), [undefined, undefined]);
  });
});

suite("admit()", () => {
  /** A server that answers first packets by `answer`. */
  function admitting(answer: (source: Source) => Admission) {
    const sources: Source[] = [];
    const failures: HandshakeFailure[] = [];
    const server = serve({
      server: {
        admit: (source) => {
          sources.push(source);
          return answer(source);
        },
        handshakeFailed: (failure) => failures.push(failure),
      },
    });
    return { server, sources, failures };
  }

  test("accept: the source is not validated", async () => {
    const { server, sources } = admitting(() => "accept");
    await using _server = server;
    await using client = bind({ address: LOOPBACK });
    await dial(client, server);
    assert.deepEqual(sources, [{ address: LOOPBACK, port: client.address.port, validated: false }]);
  });

  test("retry: the client comes again, validated", async () => {
    const { server, sources } = admitting(({ validated }) => (validated ? "accept" : "retry"));
    await using _server = server;
    await using client = bind({ address: LOOPBACK });
    const hello = await dial(client, server);
    assert.equal(hello.alpn, ALPN);
    // A ClientHello is two datagrams, and each of them a first packet.
    assert.deepEqual(
      sources.map(({ validated }) => validated),
      [false, false, true],
    );
  });

  test("retry of a client that did it refuses it", async () => {
    const { server, sources } = admitting(() => "retry");
    await using _server = server;
    await using client = bind({ address: LOOPBACK });
    const reason = await reasonOf(dial(client, server));
    assert.ok(reason.kind === "transport" && reason.by === "peer" && reason.code === 2);
    assert.ok(sources.some(({ validated }) => validated));
  });

  test("refuse: the client is told at once", async () => {
    const { server, failures } = admitting(() => "refuse");
    await using _server = server;
    await using client = bind({ address: LOOPBACK });
    const reason = await reasonOf(dial(client, server));
    // CONNECTION_REFUSED, RFC 9000 §20.1
    assert.ok(reason.kind === "transport" && reason.by === "peer" && reason.code === 2);
    assert.equal(reason.alert, undefined);
    assert.equal(server.counts.connections, 0);
    assert.deepEqual(failures, []);
  });

  test("ignore: the client hears nothing", async () => {
    const { server, sources } = admitting(() => "ignore");
    await using _server = server;
    await using client = bind({ address: LOOPBACK });
    const transport = { handshakeTimeout: 500 };
    assert.equal((await reasonOf(dial(client, server, { transport }))).kind, "timeout");
    assert.ok(sources.length >= 1);
    assert.equal(server.counts.connections, 0);
  });

  test("what it throws, and what is no answer, are uncaught exceptions and refusals", async () => {
    const { said, status, stderr } = await run(`
      process.on("uncaughtException", (error) => say(error.message));
      for (const admit of [() => { throw new Error("admit failed"); }, () => "maybe" as "accept"]) {
        const server = serve({ server: { admit } });
        const client = bind({ address: LOOPBACK });
        await dial(client, server).catch((error) => say(error.closeReason.code));
        await Promise.all([client.close(), server.close()]);
      }
    `);
    assert.deepEqual([status, stderr], [0, ""]);
    // CONNECTION_REFUSED; a ClientHello is two datagrams, and each is asked about.
    assert.deepEqual(new Set(said), new Set([2, "admit failed", NO_ANSWER]));
  });

  test("cannot use its own endpoint", async () => {
    let tried: unknown;
    let closing: Promise<unknown> | undefined;
    const { server } = admitting(() => {
      try {
        void server.socketBuffers;
      } catch (error) {
        tried = error;
      }
      closing ??= server.close().catch((error: unknown) => error);
      return "accept";
    });
    await using client = bind({ address: LOOPBACK });
    await dial(client, server);
    assert.match(String(tried), /inside its own admit or configure/);
    assert.match(String(await closing), /inside its own admit or configure/);
    await server.close();
  });

  test("stopAccepting() refuses handshakes and leaves connections alone", async () => {
    await using sides = await pair();
    sides.server.stopAccepting();
    const reason = await reasonOf(dial(sides.client, sides.server));
    assert.ok(reason.kind === "transport" && reason.code === 2);
    sides.near.openRaw(Buffer.from("alive"), true);
    const other = (await sides.far.accept())!;
    other.end();
    assert.equal(await text(other), "alive");
  });

  test("an endpoint without a server answers nobody", async () => {
    await using silent = bind({ address: LOOPBACK });
    await using client = bind({ address: LOOPBACK });
    const transport = { handshakeTimeout: 300 };
    assert.notEqual((await reasonOf(dial(client, silent, { transport }))).kind, "application");
    assert.equal(silent.counts.connections, 0);
  });
});

suite("configure()", () => {
  test("sees what the client offers and chooses by it", async () => {
    const hellos: ClientHello[] = [];
    const tls = serverTls();
    await using server = serve({
      server: {
        configure: (hello) => {
          hellos.push(hello);
          return { tls, alpn: "second" };
        },
      },
    });
    await using client = bind({ address: LOOPBACK });
    const alpn = ["first", "second", "\u00ff\u0001"];
    const near = await dial(client, server, {
      tls: clientTls({ alpn }),
      serverName: "some.where.test",
    });
    assert.equal(near.alpn, "second");
    assert.deepEqual(hellos, [
      {
        alpn,
        serverName: "some.where.test",
        source: { address: LOOPBACK, port: client.address.port, validated: false },
      },
    ]);
  });

  test("its alert is what the client gets, and handshakeFailed() is told", async () => {
    const failures: HandshakeFailure[] = [];
    await using server = serve({
      server: {
        configure: () => ({ alert: 120 }),
        handshakeFailed: (failure) => failures.push(failure),
      },
    });
    await using client = bind({ address: LOOPBACK });
    const reason = await reasonOf(dial(client, server));
    assert.ok(reason.kind === "transport");
    assert.deepEqual([reason.alert, reason.code, reason.by], [120, 0x178, "peer"]);
    assert.equal(failures.length, 1);
    const [failure] = failures;
    assert.equal(failure?.source.address, LOOPBACK);
    assert.equal(failure?.source.port, client.address.port);
    assert.equal(failure?.source.validated, false);
    assert.ok(failure?.reason.kind === "transport" && failure.reason.by === "local");
    assert.equal(server.handshakeCount, 0);
  });

  test("a client without ALPN shows an empty list", async () => {
    await using server = serve();
    await using client = bind({ address: LOOPBACK });
    const reason = await reasonOf(dial(client, server, { tls: clientTls({ alpn: [] }) }));
    assert.ok(reason.kind === "transport" && reason.alert === 120);
  });

  test("what it throws, and a name nobody offered, are internal_error and uncaught", async () => {
    const { said, status, stderr } = await run(`
      import { serverTls } from "./test-identity.ts";
      process.on("uncaughtException", (error) => say(error.message));
      const tls = serverTls();
      let answer = (): string => { throw new Error("configure failed"); };
      const server = serve({ server: { configure: () => ({ tls, alpn: answer() }) } });
      const client = bind({ address: LOOPBACK });
      await dial(client, server).catch((error) => say(error.closeReason.alert));
      answer = () => "unheard";
      await dial(client, server).catch((error) => say(error.closeReason.alert));
      answer = () => "test";
      say((await dial(client, server)).alpn);
      await Promise.all([client.close(), server.close()]);
    `);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.deepEqual(said.map(String).sort(), [
      "80",
      "80",
      'cannot select ALPN "unheard": the client offers ["test"]',
      "configure failed",
      "test",
    ]);
  });

  test("a client that leaves in the handshake is told of, validated when it had answered", async () => {
    const failures: HandshakeFailure[] = [];
    await using server = serve({
      transport: { handshakeTimeout: 400 },
      server: { handshakeFailed: (failure) => failures.push(failure) },
    });
    await using client = bind({ address: LOOPBACK });
    // Its answers never arrive: the client cannot have proved its address.
    await using oneWay = await relay(server.address.port, (_datagram, way) => way === "toServer");
    const abort = new AbortController();
    const dialing = client.connect({
      address: LOOPBACK,
      port: oneWay.port,
      tls: clientTls(),
      signal: abort.signal,
    });
    await until(() => failures.length === 1);
    abort.abort();
    await assert.rejects(dialing);
    assert.equal(failures[0]?.source.validated, false);
    assert.deepEqual(failures[0]?.reason, { kind: "timeout", reason: "handshake time passed" });
    // It got our flight, and refused it.
    const tls = clientTls({ verify: { publicKeys: [] } });
    await assert.rejects(dial(client, server, { tls }));
    await until(() => failures.length === 2);
    assert.equal(failures[1]?.reason.kind, "transport");
  });
});

suite("a connection's end", () => {
  test("is a timeout when the peer falls silent", async () => {
    await using server = serve({ transport: { idleTimeout: 400 } });
    await using between = await relay(server.address.port);
    await using client = bind({ address: LOOPBACK, transport: { idleTimeout: 400 } });
    const [near, far] = await Promise.all([
      client.connect({ address: LOOPBACK, port: between.port, tls: clientTls() }),
      server.accept(),
    ]);
    between.pass = () => false;
    near.openRaw(Buffer.from("into the void"));
    assert.deepEqual(await near.closed, { kind: "timeout", reason: "idle time passed" });
    assert.deepEqual(await far?.closed, { kind: "timeout", reason: "idle time passed" });
  });

  test("is a reset when the server was killed and came back with its reset key", async () => {
    const program = (port: number): string => `
      const server = serve({
        port: ${port},
        resetKey: new Uint8Array(32).fill(9),
        server: { connection: (connection) => { connection.onstream = () => {}; } },
      });
      say(server.address.port);
    `;
    const first = start(program(0));
    const port = (await first.said()) as number;
    await using client = bind({ address: LOOPBACK });
    // Whose socket stays: what of the first is still asked for meanwhile is not refused.
    await using between = await relay(port);
    const way = { address: LOOPBACK, port: between.port, tls: clientTls() };
    const connection = await client.connect(way);
    const stream = await connection.open();
    stream.write("before");
    first.process.kill("SIGKILL");
    await first.ended;
    await using second = start(program(port));
    assert.equal(await second.said(), port);
    const failed = once(stream, "error");
    stream.write("after");
    assert.deepEqual(await connection.closed, { kind: "reset" });
    const [error] = (await failed) as [unknown];
    assert.ok(error instanceof QuicConnectionClosed);
    // And the one who came back serves.
    const again = await client.connect(way);
    again.close();
  });

  test(
    "is unreachable when either process was killed, long before its idle time",
    { skip: deaf },
    async () => {
      const transport = { idleTimeout: 0, keepAlive: 200 };
      const program = `
      const endpoint = serve({ transport: ${JSON.stringify(transport)} });
      say(endpoint.address.port);
      process.stdin.once("data", async (port) => {
        const connection = await endpoint.connect({ address: LOOPBACK, port: Number(port), tls: clientTls() });
        connection.openRaw(Buffer.from("held"));
      });
      const connection = await endpoint.accept();
      connection.onstream = () => say("held");
    `;
      await using there = start(program);
      await using here = serve({ transport });
      const port = (await there.said()) as number;
      const near = await here.connect({ address: LOOPBACK, port, tls: clientTls() });
      near.openRaw(Buffer.from("held"));
      assert.equal(await there.said(), "held");
      there.process.stdin?.write(`${here.address.port}\n`);
      const far = await here.accept();
      (await far?.accept())?.on("error", () => {});
      there.process.kill("SIGKILL");
      const reason = "the peer is gone: nothing listens on its UDP port any more";
      assert.deepEqual(await near.closed, { kind: "unreachable", reason });
      assert.deepEqual(await far?.closed, { kind: "unreachable", reason });
      assert.equal(here.sendErrors.count, 0);
    },
  );

  test("is a version mismatch when the server speaks no version of ours", async () => {
    const socket = createSocket("udp4");
    socket.bind(0, LOOPBACK);
    await once(socket, "listening");
    socket.on("message", (datagram, from) => {
      // Version Negotiation, RFC 9000 §17.2.1: its ids the other way round, and one version.
      const destination = datagram.subarray(6, 6 + datagram[5]!);
      const at = 6 + destination.length;
      const source = datagram.subarray(at + 1, at + 1 + datagram[at]!);
      const answer = Buffer.concat([
        Buffer.from([0x80, 0, 0, 0, 0, source.length]),
        source,
        Buffer.from([destination.length]),
        destination,
        Buffer.from("0a1a2a3a", "hex"),
      ]);
      socket.send(answer, from.port, from.address);
    });
    await using client = bind({ address: LOOPBACK });
    const { port } = socket.address();
    const dialing = client.connect({ address: LOOPBACK, port, tls: clientTls() });
    assert.deepEqual(await reasonOf(dialing), { kind: "version" });
    socket.close();
  });
});

suite("migration", () => {
  /** Echoes 200 kB three times, moving in between. */
  async function survives(move: (sides: Awaited<ReturnType<typeof pair>>) => void): Promise<void> {
    await using sides = await pair();
    sides.far.onstream = (stream) => {
      const duplex = stream.toDuplex();
      duplex.on("error", () => {});
      duplex.pipe(duplex);
    };
    const bytes = randomBytes(200_000);
    for (let round = 0; round < 3; round++) {
      const stream = await sides.near.open();
      stream.write(bytes.subarray(0, 100_000));
      if (round > 0) move(sides);
      stream.end(bytes.subarray(100_000));
      assert.ok((await buffer(stream)).equals(bytes));
    }
  }

  test("rebind() moves a client's connections to another port", async () => {
    const ports = new Set<number>();
    await survives(({ client, far }) => {
      ports.add(client.address.port);
      client.rebind();
      ports.add(client.address.port);
      assert.equal(typeof far.remotePort, "number");
    });
    assert.equal(ports.size, 3);
  });

  test("the server sees where the client is now", async () => {
    await using sides = await pair();
    const before = sides.far.remotePort;
    sides.client.rebind();
    const { port } = sides.client.address;
    assert.notEqual(port, before);
    sides.near.openRaw(Buffer.from("hello from there"), true);
    const other = (await sides.far.accept())!;
    other.end();
    await text(other);
    assert.equal(sides.far.remotePort, port);
    assert.equal(sides.far.stats().pathChanges, 1);
    assert.equal(sides.near.stats().pathChanges, 0);
  });

  test("rebind() to a port that is taken leaves everything as it was", async () => {
    await using sides = await pair();
    const { port } = sides.client.address;
    assert.throws(() => sides.client.rebind({ port: sides.server.address.port }), {
      code: "EADDRINUSE",
    });
    assert.equal(sides.client.address.port, port);
    sides.near.openRawUni(Buffer.from("still here"), true);
    assert.equal(await text((await sides.far.acceptUni())!), "still here");
  });

  test("rebind() twice in a tick, and close() right after", async () => {
    await using sides = await pair();
    sides.client.rebind();
    sides.client.rebind();
    sides.near.openRawUni(Buffer.from("third socket"), true);
    assert.equal(await text((await sides.far.acceptUni())!), "third socket");
    sides.client.rebind();
  });

  test("addressChanged() makes the client probe at once", async () => {
    await using sides = await pair();
    const before = sides.far.stats().datagramsReceived;
    sides.client.addressChanged();
    await until(() => sides.far.stats().datagramsReceived > before);
  });

  test("a path whose ports change on the way (NAT) is followed", async () => {
    await using server = serve();
    await using between = await relay(server.address.port);
    await using client = bind({ address: LOOPBACK });
    const [near, far] = await Promise.all([
      client.connect({ address: LOOPBACK, port: between.port, tls: clientTls() }),
      server.accept(),
    ]);
    const before = far!.remotePort;
    between.rebind();
    near.openRawUni(randomBytes(50_000), true);
    assert.equal((await buffer((await far!.acceptUni())!)).length, 50_000);
    assert.notEqual(far!.remotePort, before);
    assert.equal(far!.stats().pathChanges, 1);
  });
});

suite("close()", () => {
  test("tells every peer, frees the port, and is one promise", async () => {
    await using client = bind({ address: LOOPBACK });
    const server = serve();
    const near = await dial(client, server);
    // Before that the peer may not be told what the application says (RFC 9000 §10.2.3).
    await until(() => server.connectionCount === 1);
    const { port } = server.address;
    const closing = server.close({ code: 12, reason: "going" });
    assert.equal(server.close({ code: 13 }), closing);
    await closing;
    assert.deepEqual(await near.closed, {
      kind: "application",
      by: "peer",
      code: 12,
      reason: "going",
    });
    await using _again = bind({ address: LOOPBACK, port });
    await server.close();
    assert.throws(() => server.stopAccepting(), { code: "QUIC_ENDPOINT_CLOSED" });
    await assert.rejects(dial(server, client), { code: "QUIC_ENDPOINT_CLOSED" });
    assert.equal(server.handshakeCount, 0);
    assert.equal(server.connectionCount, 0);
  });

  test("does not wait for a peer that knows already", async () => {
    await using server = serve({ server: { configure: () => ({ alert: 120 }) } });
    const client = bind({ address: LOOPBACK });
    await assert.rejects(dial(client, server));
    const began = performance.now();
    await client.close();
    assert.ok(performance.now() - began < 2_000);
  });

  test("ends dials and handshakes under way", async () => {
    await using hole = await blackHole();
    const client = bind({ address: LOOPBACK });
    const dialing = client.connect({ address: LOOPBACK, port: hole.port, tls: clientTls() });
    const refused = assert.rejects(dialing, { code: "QUIC_CONNECTION_CLOSED" });
    await client.close();
    await refused;
  });

  test("leaves streams with unread bytes of an ended connection without a grudge", async () => {
    const sides = await pair();
    sides.near.openRaw(randomBytes(10_000));
    const other = (await sides.far.accept())!;
    await until(() => sides.far.stats().bytesReceived > 10_000);
    sides.near.close(3);
    await sides.far.closed;
    const failed = once(other, "error");
    await sides.server.close();
    const [error] = (await failed) as [unknown];
    assert.ok(error instanceof QuicConnectionClosed);
    // Nothing of these may reach the engine, or another endpoint that has its number now.
    await using _next = bind({ address: LOOPBACK });
    other.destroy();
    other.resume();
    assert.equal(sides.far.stats().bytesSent, 0);
    sides.far.close();
    await sides.client.close();
  });

  test("numbers of a closed endpoint are not another's", async () => {
    const sides = await pair();
    await Promise.all([sides.client.close(), sides.server.close()]);
    await using other = await pair();
    assert.equal(sides.near.maxDatagramSize, 0);
    assert.equal(sides.near.sendDatagram(Buffer.from("x")), false);
    sides.near.close();
    sides.near.setLimits({ maxStreams: 0 });
    assert.throws(() => sides.client.socketBuffers, { code: "QUIC_ENDPOINT_CLOSED" });
    other.near.openRawUni(Buffer.from("undisturbed"), true);
    assert.equal(await text((await other.far.acceptUni())!), "undisturbed");
  });

  test("1,000 endpoints one after the other leave none behind", async () => {
    for (let round = 0; round < 1_000; round++) await bind({ address: LOOPBACK }).close();
    const open = process.getActiveResourcesInfo().length;
    assert.ok(open < 100, `${open}`);
  });
});
