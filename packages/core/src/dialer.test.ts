import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import type { Connection } from "./connection.ts";
import { FakeClock } from "./fake-clock.ts";
import { staticIdentities } from "./static-identities.ts";
import type { Connect } from "./tcp-dial.ts";
import { alice, ask, dialer, echo, node, serve, settle, target } from "./test-dialer.ts";
import { ELSEWHERE, LOOPBACK, forgetfulPath, udpOnly, withoutUdp } from "./test-paths.ts";

/** Where nobody listens any more. */
async function closedPort(): Promise<{ readonly port: number }> {
  await using path = await udpOnly(1);
  return path;
}

const deaf = process.platform === "linux" ? false : "ICMP is heard on Linux alone";

test("dial() goes over QUIC, and TCP is not even tried", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  for (let i = 0; i < 5; i++) {
    await using connection = await it.dial(target(endpoint.port), "alknet/echo");
    assert.equal(connection.transport, "quic");
    assert.equal(await ask(await connection.open(), "hello"), "hello");
  }
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

test(
  "dial() says that nothing listens where ICMP does, and learns nothing about UDP from it",
  { skip: deaf },
  async () => {
    // Whose time stands still: nothing else ends it.
    const clock = new FakeClock();
    await using it = dialer({ clock });
    const { port } = await closedPort();
    await assert.rejects(
      it.dial(target(port, ELSEWHERE), "alknet/echo", { transports: ["quic"] }),
      {
        code: "UNREACHABLE",
        message: `cannot reach ${ELSEWHERE}:${port} over QUIC: nothing listens on that UDP port`,
      },
    );
    const tried = `QUIC ${ELSEWHERE}:${port}: connection refused; TCP ${ELSEWHERE}:${port}: connection refused`;
    // QUIC goes first again: that nobody is there says nothing of the way.
    for (let round = 0; round < 2; round++) {
      await assert.rejects(it.dial(target(port, ELSEWHERE), "alknet/echo"), {
        code: "UNREACHABLE",
        message: `cannot reach ${ELSEWHERE}:${port} for alknet/echo (${tried})`,
      });
    }
  },
);

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
