/**
 * Flows of one QUIC connection do not wait for each other's lost packets, as they would on one TCP connection.
 *
 * By order, not by time: all that one of twenty flows sends is lost until the nineteen others have brought what was
 * written after it.
 */

import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { createEndpoint } from "@alknet/core/endpoint";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { relay } from "@alknet/quic/test-relay";
import { openFlow } from "@alknet/tunnel/open-flow";
import { tcpServer } from "@alknet/tunnel/testing";
import { ALPN, tunnel } from "@alknet/tunnel/tunnel";
import { dialerOf, until } from "./attack.ts";

const FLOWS = 20;
/** Bytes of each datagram at most: of one size, so that the flow which loses fills its own. */
const MTU = 1_200;
/** A datagram of so many bytes is full of the flow which loses: the others' messages do not fill one together. */
const FULL = 1_000;
/** Of the flow that loses, in bytes: more than a datagram takes. */
const LONG = 1_300;
/** Of each of the others. */
const SHORT = 20;

test("flows that one loses packets for go on: 19 bring their messages before the lost one's are let through", async () => {
  await using stack = new AsyncDisposableStack();
  /** Bytes that have come at the target, by flow: each says its number first. */
  const come = new Map<number, number>();
  const target = stack.use(
    await tcpServer((socket) => {
      let flow: number | undefined;
      socket.on("data", (data: Buffer) => {
        const length = flow === undefined ? data.length - 1 : data.length;
        flow ??= data.readUInt8();
        come.set(flow, (come.get(flow) ?? 0) + length);
      });
    }),
  );
  const [node, peer] = [createIdentity(), createIdentity()];
  const scopes = [`tunnel:dial:127.0.0.1:${target.to.port}`];
  const endpoint = stack.use(
    await createEndpoint({
      identity: node,
      identities: staticIdentities([
        { peerId: "peer", fingerprints: [peer.fingerprint], scopes, enabled: true },
      ]),
      handlers: [tunnel()],
      listen: ["127.0.0.1:0"],
    }),
  );
  const way = stack.use(await relay(endpoint.addresses[0]!.port));
  const dialer = stack.use(dialerOf(peer, "127.0.0.1", { mtuUpperBound: MTU }));
  const to = { address: `127.0.0.1:${way.port}`, fingerprint: node.fingerprint };
  const flows: Duplex[] = [];
  for (let flow = 0; flow < FLOWS; flow++) {
    const dial = () => dialer.open(to, ALPN, { transports: ["quic"] });
    const opened = await openFlow(dial, target.to);
    opened.write(Buffer.of(flow));
    flows.push(opened);
  }
  const bytes = (): number[] => flows.map((_, flow) => come.get(flow) ?? -1);
  await until(() => !bytes().includes(-1), bytes);
  assert.equal([...endpoint.connections].length, 1, "they share a connection");

  for (const [loser, flow] of flows.entries()) {
    const before = bytes();
    let lost = 0;
    way.pass = (datagram, direction) => {
      const passes = direction === "toClient" || datagram.length < FULL;
      if (!passes) lost++;
      return passes;
    };
    // In one turn, the one that loses first: on a line that keeps all in order nothing would come past it.
    flow.write(Buffer.alloc(LONG));
    for (const other of flows) if (other !== flow) other.write(Buffer.alloc(SHORT));
    const others = before.map((count, at) => (at === loser ? count : count + SHORT));
    await until(() => isAtLeast(bytes(), others), bytes);
    assert.deepEqual(bytes(), others);
    assert.ok(lost > 0, "something was lost");
    way.pass = () => true;
    await until(() => come.get(loser) === before[loser]! + LONG, bytes);
  }
});

function isAtLeast(counts: readonly number[], wanted: readonly number[]): boolean {
  return counts.every((count, at) => count >= wanted[at]!);
}
