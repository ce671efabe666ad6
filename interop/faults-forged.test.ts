/**
 * Datagrams from addresses that nobody has proved: they get little back, and cost their owner nothing.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { ping, pingHandler } from "@alknet/core/ping";
import { dialerOf, site, until } from "./attack.ts";
import { captureInitials } from "./captured.ts";
import { forge, unknownVersion } from "./forger.ts";

/** Milliseconds. */
const HANDSHAKE = 600;

/** What a forger names as its source; it hears what is sent there, so that we can count it. */
const VICTIM = "127.0.0.77";

test("a node sends no more than three times what an unproved address has sent", async (t) => {
  // Long enough for the node to repeat what nobody acknowledges.
  await using place = await site({ handlers: [], handshakeTimeout: 3_500 });
  const [half, whole, twice, short] = [
    await captureInitials(1),
    await captureInitials(2),
    await captureInitials(2),
    await captureInitials(1),
  ];
  const kinds: Record<string, readonly Buffer[]> = {
    "half a ClientHello": half,
    "a whole ClientHello": whole,
    "the same twice": [...twice, ...twice],
    "an unknown version": [unknownVersion()],
    "an unknown connection": [Buffer.concat([Buffer.from([0x40]), randomBytes(1_199)])],
    "a short one for an unknown connection": [
      Buffer.concat([Buffer.from([0x40]), randomBytes(30)]),
    ],
    "random bytes": [randomBytes(1_200)],
    "an Initial that is too short": [short[0]!.subarray(0, 1_199)],
  };
  const tried = Object.entries(kinds).map(async ([kind, datagrams]) => {
    using forger = await forge(VICTIM);
    const sent = await forger.send(place.port, datagrams);
    await forger.echo(place.port);
    // What the node repeats, it has given up then.
    await until(
      () => place.node.limits.stats().pending === 0,
      () => place.node.limits.stats(),
    );
    await forger.echo(place.port);
    return { kind, sent, received: forger.received };
  });
  for (const { kind, sent, received } of await Promise.all(tried)) {
    t.diagnostic(`${kind}: ${sent} bytes sent, ${received} came back`);
    assert.ok(received <= 3 * sent, `${kind}: ${received} bytes for ${sent}`);
    const answered = /whole|twice|version/.test(kind);
    if (answered) assert.ok(received > 0, `${kind}: there was no answer`);
  }
});

test("asked to prove its address, a client gets back less than it sent", async (t) => {
  await using place = await site({
    handlers: [],
    handshakeTimeout: HANDSHAKE,
    limits: { caps: { retry: 1 } },
  });
  using first = await forge(VICTIM);
  await first.send(place.port, await captureInitials(2));
  await until(
    () => place.node.limits.stats().pending === 1,
    () => place.node.limits.stats(),
  );
  using second = await forge(VICTIM);
  const sent = await second.send(place.port, await captureInitials(1));
  const { length } = await second.answer();
  t.diagnostic(`${sent} bytes sent, a Retry of ${length} came back`);
  assert.ok(length < sent);
  assert.equal(place.node.limits.stats().pending, 1, "a Retry holds a handshake");
});

test("forged source addresses never earn a penalty for their owner", async () => {
  const FORGED = 40;
  await using place = await site({ handlers: [], handshakeTimeout: HANDSHAKE });
  using forger = await forge(VICTIM);
  for (let i = 0; i < FORGED; i++) await forger.send(place.port, await captureInitials(2));
  // More than the block may have pending, all of which fail in a way that has a penalty.
  await forger.echo(place.port);
  await until(
    () => place.node.limits.stats().pending === 0,
    () => place.node.limits.stats(),
  );
  const failed = place.events.filter(
    (event) => event.kind === "handshake failed" && event.remoteAddress === VICTIM,
  );
  assert.ok(failed.length >= 16, `only ${failed.length} handshakes have failed`);
  assert.ok(
    failed.every((event) => event.kind === "handshake failed" && event.reason === "timeout"),
  );
  assert.equal(place.node.limits.penalty(VICTIM), 0);
});

test("who is forged can connect while the forger is at it", async () => {
  await using place = await site({ handlers: [pingHandler()], handshakeTimeout: 30_000 });
  using forger = await forge(VICTIM);
  for (let i = 0; i < 40; i++) await forger.send(place.port, await captureInitials(2));
  await until(
    () => place.node.limits.stats().pending >= 16,
    () => place.node.limits.stats(),
  );
  await using owner = dialerOf(place.peer, VICTIM);
  const connection = await owner.dial(place.target, "alknet/ping", { transports: ["quic"] });
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  await connection.close();
});
