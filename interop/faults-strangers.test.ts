/**
 * What a stranger can learn of a node, and how long it lets one try.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionClosed } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import type { ProtocolHandler } from "@alknet/core/handler";
import { createIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { FakeClock } from "@alknet/core/testing";
import { ping, pingHandler } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import { dialerOf, median, site, TRANSPORTS, type Transport } from "./attack.ts";

const keyed: ProtocolHandler = {
  alpns: ["alknet/keyed"],
  access: "keyed",
  tls: "node",
  handle: () => new Promise<void>(() => {}),
};

/** No limit and no penalty: what they would do to hundreds of attempts is not asked here. */
const UNLIMITED = { limits: { exempt: ["127.0.0.0/8"] } };

/** Registered and not; for a key that nobody knows, and for none. */
const NAMES = ["alknet/ping", "alknet/nothing"] as const;

for (const transport of TRANSPORTS) {
  for (const who of ["a stranger's key", "no key"] as const) {
    const identity = (): NodeIdentity | undefined =>
      who === "no key" ? undefined : createIdentity();

    test(`${who} sees the same for what is served and what is not, over ${transport}`, async (t) => {
      const TRIES = 50;
      await using place = await site({ handlers: [pingHandler()], ...UNLIMITED });
      await using client = dialerOf(identity());
      const seen: Record<string, Refused[]> = { "alknet/ping": [], "alknet/nothing": [] };
      // In turn, so that whatever else this machine does falls on both.
      for (let i = 0; i < 2 * TRIES; i++) {
        const alpn = NAMES[i % 2]!;
        seen[alpn]!.push(await knock(client, place.target, alpn, transport));
      }
      const looks = NAMES.map((alpn) => new Set(seen[alpn]!.map(({ look }) => look)));
      assert.deepEqual(looks[0], looks[1]);
      assert.equal(looks[0]!.size, 1, `it is not always the same: ${[...looks[0]!].join("; ")}`);
      assert.match([...looks[0]!][0]!, /UNAVAILABLE/);
      const [served, unknown] = NAMES.map((alpn) => median(seen[alpn]!.map(({ took }) => took)));
      t.diagnostic(`served: ${served!.toFixed(2)} ms, not: ${unknown!.toFixed(2)} ms`);
      // Roughly: a lookup that only one of them took, or another turn of the network, would be twice that.
      assert.ok(
        Math.max(served!, unknown!) / Math.min(served!, unknown!) < 1.5,
        `${served} ${unknown}`,
      );
      // The owner learns what it was.
      const told = place.events.flatMap((event) => (event.kind === "refused" ? event : []));
      assert.equal(told.length, 2 * TRIES);
      const reason = who === "no key" ? "no key" : "not a peer";
      assert.deepEqual(new Set(told.map((event) => event.reason)), new Set([reason]));
      assert.deepEqual(new Set(told.map(({ alpn }) => alpn)), new Set(NAMES));
    });
  }

  test(`what is not served looks so to a peer as well, and its block earns nothing, over ${transport}`, async () => {
    await using place = await site({ handlers: [pingHandler()] });
    await using client = dialerOf(place.peer);
    for (let i = 0; i < 30; i++) {
      const { look } = await knock(client, place.target, "alknet/nothing", transport);
      assert.match(look, /UNAVAILABLE/);
    }
    assert.equal(place.node.limits.penalty("127.0.0.1"), 0);
    await enters(client, place.target, transport);
  });

  test(`unknown keys are refused after a while, by block, and forgiven later, over ${transport}`, async () => {
    const clock = new FakeClock();
    await using place = await site({ handlers: [pingHandler(), keyed], limits: { clock } });
    // Over TCP the dialer comes from 127.0.0.1; there the block that is served is the one of QUIC's dials.
    await using stranger = dialerOf(createIdentity(), "127.0.0.1");
    await using neighbour = dialerOf(place.peer, "127.0.0.9");
    await using inside = dialerOf(place.peer, "127.0.0.1");

    // A second each: at fifteen they take effect.
    for (let i = 1; i <= 15; i++) {
      assert.equal(place.node.limits.penalty("127.0.0.1"), 0, `after ${i - 1} keys`);
      const { look } = await knock(stranger, place.target, "alknet/ping", transport);
      assert.match(look, /UNAVAILABLE/);
    }
    assert.equal(place.node.limits.penalty("127.0.0.1"), 15_000);
    // From now on nobody of that block gets as far as a handshake, whatever key they have.
    for (const client of [stranger, inside]) {
      const signal = AbortSignal.timeout(500);
      await assert.rejects(
        client.dial(place.target, "alknet/ping", { transports: [transport], signal }),
      );
    }
    await place.event(
      (event) =>
        event.kind === "turned away" &&
        event.transport === transport &&
        event.remoteAddress === "127.0.0.1" &&
        event.reason === "penalty",
    );
    // Its neighbours are served,
    await enters(neighbour, place.target, "quic");
    // and so is the block itself, when its time is over.
    clock.advance(15_001);
    assert.equal(place.node.limits.penalty("127.0.0.1"), 0);
    await enters(inside, place.target, transport);
  });
}

interface Refused {
  /** All that there is to be seen of it, but the time. */
  readonly look: string;
  /** Milliseconds from the dial to the end. */
  readonly took: number;
}

/** Dial, and send at once, as protocols do in which the client speaks first. */
async function knock(
  client: Dialer,
  target: Target,
  alpn: string,
  transport: Transport,
): Promise<Refused> {
  const from = performance.now();
  const stages: string[] = [];
  try {
    const connection = await client.dial(target, alpn, { transports: [transport] });
    stages.push("dialed");
    const rejected = assert.rejects(connection.accepted, (error) => {
      assert.ok(error instanceof ConnectionClosed);
      return true;
    });
    const { by, code, name, reason } = await connection.closed;
    await rejected;
    stages.push(`closed ${JSON.stringify({ by, code, name, reason })}`);
  } catch (error) {
    // The refusal may be here before the dial is done.
    if (!(error instanceof ConnectionClosed)) throw error;
    const { by, code, name, reason } = error.reason;
    stages.push("dialed", `closed ${JSON.stringify({ by, code, name, reason })}`);
  }
  return { look: stages.join(", "), took: performance.now() - from };
}

async function enters(client: Dialer, target: Target, transport: Transport): Promise<void> {
  const connection = await client.dial(target, "alknet/ping", { transports: [transport] });
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  await connection.close();
}
