/**
 * Limits and penalties of a node, by the real program: they are shared by all services and both transports,
 * counted by source, shown by `alknet status`, and over when their time is.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { ConnectionClosed } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import { createIdentity } from "@alknet/core/identity-file";
import { formatInvitation, parseInvitation } from "@alknet/core/invitation-ticket";
import type { LimitsReport } from "@alknet/core/limits";
import { PING_ALPN } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import {
  type Program,
  run,
  start,
  type TestHome,
  testHome,
} from "../packages/alknet/src/testing.ts";
import { dialerOf, type Transport, TRANSPORTS, until } from "./attack.ts";

/** Over QUIC a dialer comes from the address it is bound to; this one is nobody else's here. */
const NEIGHBOUR = "127.0.0.9";

interface Place extends AsyncDisposable {
  readonly home: TestHome;
  readonly program: Program;
  readonly node: Target;
  /** Of the node's only peer; from 127.0.0.1, and from its neighbour's address. */
  readonly inside: Dialer;
  readonly neighbour: Dialer;
  limits(): Promise<LimitsReport>;
}

async function place(...settings: readonly string[]): Promise<Place> {
  await using made = new AsyncDisposableStack();
  const home = made.use(testHome());
  const peer = createIdentity();
  home.config(
    'listen = ["127.0.0.1:0"]',
    ...settings,
    "[peers.laptop]",
    `fingerprint = "${peer.fingerprint}"`,
  );
  const program = made.use(start(home, ["up", "--json"]));
  const { fingerprint, addresses } = (await program.ready) as Record<string, string> & {
    addresses: string[];
  };
  const inside = made.use(dialerOf(peer));
  const neighbour = made.use(dialerOf(peer, NEIGHBOUR));
  const owned = made.move();
  return {
    home,
    program,
    node: { address: addresses[0]!, fingerprint: fingerprint! },
    inside,
    neighbour,
    async limits() {
      const { stdout } = await run(home, ["status", "--json"]);
      return (JSON.parse(stdout) as { limits: LimitsReport }).limits;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Penalties that take effect at once, and are over soon; but not before a slow machine has looked. */
const SHORT = ["unknown_key", "auth", "malformed", "maximum"].reduce(
  (lines, name) => [...lines, `${name} = "8s"`],
  ["[limits.penalties]", 'minimum = "1s"'],
);

/** Name of the reason for which a dial, or the connection that it gave, has ended. */
async function refusal(
  dialer: Dialer,
  node: Target,
  alpn: string,
  transport: Transport,
): Promise<string> {
  try {
    const connection = await dialer.dial(node, alpn, { transports: [transport] });
    await connection.open().catch(() => {});
    return (await connection.closed).name;
  } catch (error) {
    return error instanceof ConnectionClosed ? error.code : (error as { code: string }).code;
  }
}

/** It gets a connection, and an answer on it. */
async function enters(dialer: Dialer, node: Target, transport: Transport): Promise<void> {
  const connection = await dialer.dial(node, PING_ALPN, { transports: [transport] });
  const stream = await connection.open();
  const answer = once(stream, "data");
  stream.write(Buffer.alloc(8));
  await answer;
  await connection.close();
}

/** Mistakes of somebody at 127.0.0.1, each once. */
const MISTAKES: Readonly<Record<string, (at: Place) => Promise<void>>> = {
  async "an unknown key over quic"({ node }) {
    await using stranger = dialerOf(createIdentity());
    assert.equal(await refusal(stranger, node, "alknet/tunnel", "quic"), "UNAVAILABLE");
  },
  async "an unknown key over tcp"({ node }) {
    await using stranger = dialerOf(createIdentity());
    assert.equal(await refusal(stranger, node, "alknet/nothing", "tcp"), "UNAVAILABLE");
  },
  async "a hello that is none"({ node }) {
    const { port } = new URL(`tcp://${(node as { address: string }).address}`);
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => {});
    const gone = new Promise((resolve) => socket.once("close", resolve));
    // A record of a handshake, and in it no message that there is.
    socket.write(Buffer.from([22, 3, 1, 0, 4, 255, 0, 0, 0]));
    socket.resume();
    await gone;
  },
  async "an invitation that was guessed"(at) {
    using stranger = testHome();
    const made = await start(at.home, ["invite", "--name", "friend", "--json"]).exited;
    const { ticket } = JSON.parse(made.stdout) as { ticket: string };
    const right = parseInvitation(ticket);
    const guess = formatInvitation({ ...right, secret: new Uint8Array(right.secret.length) });
    const { stdout } = await start(stranger, ["join", guess, "--json"]).exited;
    assert.match(stdout, /"INVITATION_UNKNOWN"/);
  },
};

for (const [mistake, make] of Object.entries(MISTAKES)) {
  test(`${mistake} costs its source a while, for all services, and no neighbour`, async () => {
    await using at = await place(...SHORT);
    await make(at);
    const before = await at.limits();
    assert.deepEqual(
      before.penalized.map(({ source }) => source),
      ["127.0.0.1"],
    );
    assert.ok(before.penalized[0]!.left > 0 && before.penalized[0]!.left <= 8_000);
    // Another address notices nothing of it.
    await enters(at.neighbour, at.node, "quic");
    // When its time is over it gets in again.
    const penalized = async (): Promise<number> => (await at.limits()).penalizedCount;
    await until(async () => (await penalized()) === 0, penalized);
    for (const transport of TRANSPORTS) await enters(at.inside, at.node, transport);
  });
}

test("who is kept out is kept out over both transports, whatever key it has", async () => {
  await using at = await place("[limits.penalties]", 'minimum = "1s"', 'unknown_key = "10m"');
  await MISTAKES["an unknown key over quic"]!(at);
  for (const transport of TRANSPORTS) {
    const signal = AbortSignal.timeout(1_000);
    await assert.rejects(
      at.inside.dial(at.node, PING_ALPN, { transports: [transport], signal }),
      `over ${transport}`,
    );
  }
  await enters(at.neighbour, at.node, "quic");
  const { penalized } = await at.limits();
  assert.ok(penalized[0]!.left > 300_000, JSON.stringify(penalized));
});

for (const transport of TRANSPORTS) {
  test(`a peer has so many connections, over ${transport}; the next is refused with LIMIT, and the log says so`, async () => {
    await using at = await place("[limits]", "connections_per_peer = 3");
    const dial = async () => await at.inside.dial(at.node, PING_ALPN, { transports: [transport] });
    const held = [];
    for (let number = 0; number < 3; number++) {
      const connection = await dial();
      const stream = await connection.open();
      stream.on("error", () => {});
      const answer = once(stream, "data");
      stream.write(Buffer.alloc(8));
      await answer;
      held.push(connection);
    }
    const name = await refusal(at.inside, at.node, PING_ALPN, transport);
    // TCP has no word for why; the log has.
    if (transport === "quic") assert.equal(name, "LIMIT");
    await until(
      () => /"peer":"laptop".*refused for alknet\/ping: limit/.test(at.program.stderr()),
      () => at.program.stderr(),
    );
    const { peers, penalizedCount } = await at.limits();
    assert.deepEqual(peers, [{ peer: "laptop", connections: 3 }]);
    assert.equal(penalizedCount, 0);
    // One that goes makes room.
    await held[0]!.close();
    const count = async (): Promise<number> => (await at.limits()).connections;
    await until(async () => (await count()) === 2, count);
    await enters(at.inside, at.node, transport);
  });
}
