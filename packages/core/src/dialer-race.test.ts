import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { staticIdentities } from "./static-identities.ts";
import { ask, dialer, node, serve, settle, target } from "./test-dialer.ts";
import { ELSEWHERE, LOOPBACK, udpOnly, withoutUdp } from "./test-paths.ts";

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
