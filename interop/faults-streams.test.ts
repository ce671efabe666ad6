/**
 * Peers that use their streams badly: that open all they may and never read, and that reset them at every state.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import type { Connection } from "@alknet/core/connection";
import { dialerOf, TRANSPORTS, until } from "./attack.ts";
import { withBystander } from "./bystander.ts";

const MIB = 2 ** 20;

test("a peer that opens all its streams and never reads holds up nobody else, and little memory", async (t) => {
  let open = 0;
  let written = 0;
  const send = async (stream: Duplex): Promise<void> => {
    open++;
    let wake = (): void => {};
    stream.on("error", () => {});
    stream.on("close", () => wake());
    stream.on("drain", () => wake());
    while (!stream.destroyed) {
      written += MIB / 16;
      if (stream.write(Buffer.alloc(MIB / 16))) continue;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    open--;
  };
  await using bench = await withBystander("quic", "alknet/send", async (connection) => {
    const sending: Promise<void>[] = [];
    for (let stream; (stream = await connection.accept()) !== undefined;)
      sending.push(send(stream));
    await Promise.all(sending);
  });
  const { site } = bench;
  const window = MIB;
  await using greedy = dialerOf(site.peer, "127.0.0.1", {
    receiveWindow: window,
    streamReceiveWindow: window / 16,
  });
  const connection = await greedy.dial(site.target, "alknet/send", { transports: ["quic"] });
  const stop = new AbortController();
  let opened = 0;
  const opening = (async () => {
    for (; opened < 100_000; opened++) {
      const stream = await connection.open({ signal: stop.signal });
      stream.on("error", () => {});
      stream.write("?");
    }
  })();
  const stopped = assert.rejects(opening, { name: "AbortError" });
  // It has come to its limit when nothing moves while the bystander goes back and forth.
  for (let before = -1; before !== opened + written;) {
    before = opened + written;
    for (let i = 0; i < 5; i++) await bench.bystanderIsWell();
  }
  stop.abort();
  await stopped;
  t.diagnostic(
    `${opened} streams, ${(written / MIB).toFixed(1)} MiB written for ${window / MIB} MiB of window`,
  );
  assert.ok(opened >= 64, `it has opened only ${opened}`);
  assert.ok(opened <= 4_096, `it has opened ${opened}, and nobody kept it from going on`);
  assert.equal(open, opened);
  // What the engine takes ahead of the peer's window, and one write for each stream.
  assert.ok(written <= window + 24 * MIB + (opened * MIB) / 16, `${written} bytes wait for it`);
  connection.abort(0);
  await until(
    () => open === 0 && site.node.limits.stats().connections === 1,
    () => ({ open, ...site.node.limits.stats() }),
  );
  await bench.bystanderIsWell();
});

/** What a stream has been through when its peer resets it. */
const states: Record<string, (stream: Duplex) => Promise<unknown>> = {
  "nothing was sent": async () => {},
  "a byte was sent": async (stream) => stream.write("?"),
  "much was sent, and not read back": async (stream) => stream.write(Buffer.alloc(4 * MIB)),
  "some has come back": async (stream) => {
    stream.write(Buffer.alloc(MIB));
    await once(stream, "readable");
    stream.read();
  },
  "the write side has ended": async (stream) => {
    stream.end(Buffer.alloc(MIB));
    await once(stream, "readable");
  },
  "it is over": async (stream) => {
    stream.end("?");
    for await (const _ of stream);
  },
};

for (const transport of TRANSPORTS) {
  test(`streams that are reset at every state end alone, over ${transport}`, async () => {
    await using bench = await withBystander(transport, "alknet/back", async (connection) => {
      const live: Promise<void>[] = [];
      for (let stream; (stream = await connection.accept()) !== undefined;) {
        live.push(pipeline(stream, stream).catch(() => {}));
      }
      await Promise.all(live);
    });
    const { site, client } = bench;
    const on = { transports: [transport] };
    const shared = await client.dial(site.target, "alknet/back", on);
    const EACH = 20;
    const reset = async ([state, enter]: (typeof entries)[number]): Promise<void> => {
      for (let i = 0; i < EACH; i++) {
        // Over TCP a stream is a connection.
        const connection: Connection =
          transport === "quic" ? shared : await client.dial(site.target, "alknet/back", on);
        const stream = await connection.open();
        const closed = new Promise<void>((resolve) => stream.once("close", resolve));
        stream.on("error", () => {});
        await enter(stream);
        stream.destroy(i % 2 === 0 ? new Error(`reset when ${state}`) : undefined);
        await closed;
        if (transport === "tcp") await connection.closed;
      }
    };
    const entries = Object.entries(states);
    await Promise.all(entries.map(reset));
    // The connection itself is none the worse for it.
    const fresh = transport === "quic" ? shared : await client.dial(site.target, "alknet/back", on);
    const stream = await fresh.open();
    stream.end("still here");
    assert.equal((await stream.toArray()).join(""), "still here");
    await Promise.all([fresh.close(), shared.close()]);
    await bench.bystanderIsWell();
    await until(
      () => site.node.limits.stats().connections === 1,
      () => site.node.limits.stats(),
    );
  });
}
