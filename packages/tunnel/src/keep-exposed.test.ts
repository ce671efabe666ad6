import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import type { DialWithConnection } from "./open-flow.ts";
import { keepExposed, type KeepExposedOptions } from "./keep-exposed.ts";
import { dialOver, readAll, type TunnelPair, tcpServer, tunnelPair } from "./testing.ts";

const PLACE = { host: "127.0.0.1", port: 0 };

/** Whoever stands at the moment; `undefined`: nobody answers. */
function network(): { node: TunnelPair | undefined; readonly dial: DialWithConnection } {
  const state: { node: TunnelPair | undefined; readonly dial: DialWithConnection } = {
    node: tunnelPair(["tunnel:listen:127.0.0.1:*"]),
    dial: async (options) => {
      if (state.node === undefined) throw new Error("no way there");
      return await dialOver(state.node.client)(options);
    },
  };
  return state;
}

/** What it tells, and turns of the loop until it has told so much. */
function listening(clock: FakeClock): {
  readonly told: string[];
  readonly options: Pick<KeepExposedOptions, "place" | "clock" | "onlost" | "onback">;
  readonly until: (count: number) => Promise<void>;
} {
  const told: string[] = [];
  return {
    told,
    options: {
      place: PLACE,
      clock,
      onlost: ({ message }, delay) => told.push(`${message}: ${delay}`),
      onback: () => told.push("back"),
    },
    async until(count) {
      while (told.length < count) await new Promise(setImmediate);
    },
  };
}

test("keepExposed() asks again when the far side is lost, after 1, 2, 4 … 30 s, and tells so", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  const clock = new FakeClock();
  const net = network();
  const { told, options, until } = listening(clock);
  const kept = await keepExposed(net.dial, { ...options, target: target.to });
  const first = net.node!;
  net.node = undefined;
  first.client.abort(6, "restarted");
  const delays = [1, 2, 4, 8, 16, 30, 30].map((seconds) => seconds * 1_000);
  for (const [index, delay] of delays.entries()) {
    await until(index + 1);
    assert.match(told[index]!, new RegExp(`: ${delay}$`));
    clock.advance(delay - 1);
    assert.equal(told.length, index + 1);
    if (index === delays.length - 1) net.node = tunnelPair(["tunnel:listen:127.0.0.1:*"]);
    clock.advance(1);
  }
  await until(delays.length + 1);
  assert.equal(told.at(-1), "back");
  assert.match(told[1]!, /^no way there/);
  const socket = connect({
    ...(kept.place as { host: string; port: number }),
    allowHalfOpen: true,
  });
  socket.end("again");
  assert.equal(String(await readAll(socket)), "again");
  // Having been back, it begins with one second again.
  net.node!.client.abort(6, "restarted");
  await until(delays.length + 2);
  assert.match(told.at(-1)!, /: 1000$/);
  await kept.close();
});

test("keepExposed() fails at once if it cannot be had at first", async () => {
  const net = network();
  net.node!.rights();
  const { told, options } = listening(new FakeClock());
  const target = { host: "127.0.0.1", port: 1 };
  await assert.rejects(keepExposed(net.dial, { ...options, target }), { refusal: "not-allowed" });
  assert.deepEqual(told, []);
});

test("keepExposed() goes on while the right is away, and what it carried before goes on, too", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  const clock = new FakeClock();
  const net = network();
  const { told, options, until } = listening(clock);
  const kept = await keepExposed(net.dial, { ...options, target: target.to });
  const node = net.node!;
  node.rights();
  await until(1);
  clock.advance(1_000);
  await until(2);
  assert.match(told[1]!, /lacks tunnel:listen:localhost:0: 2000$/);
  node.rights("tunnel:listen:127.0.0.1:*");
  clock.advance(2_000);
  await until(3);
  assert.equal(told[2], "back");

  // A node that drains finishes what it has, while another has its place.
  const socket = connect({
    ...(kept.place as { host: string; port: number }),
    allowHalfOpen: true,
  });
  socket.write("begun, ");
  await once(socket, "data");
  net.node = tunnelPair(["tunnel:listen:127.0.0.1:*"]);
  node.server.drain();
  await until(4);
  clock.advance(1_000);
  await until(5);
  assert.equal(told[4], "back");
  assert.equal(kept.connections, 1);
  const closed = kept.close();
  socket.end("finished");
  assert.equal(String(await readAll(socket)), "finished");
  await closed;
});

test("close() ends a wait, and an attempt that is under way", async () => {
  const clock = new FakeClock();
  const net = network();
  const { told, options, until } = listening(clock);
  const target = { host: "127.0.0.1", port: 1 };
  const kept = await keepExposed(net.dial, { ...options, target });
  net.node!.client.abort(6, "gone");
  await until(1);
  await kept.close();
  assert.equal(told.length, 1);
  assert.equal(kept.connections, 0);
});
