/**
 * Handlers that misbehave: each ends its own connection, and no more than that.
 */

import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { TRANSPORTS, type Transport, until } from "./attack.ts";
import { withBystander } from "./bystander.ts";

for (const transport of TRANSPORTS) {
  test(`a handler that throws at once ends its own connection only, over ${transport}`, async () => {
    await using bench = await withBystander(transport, "alknet/throws", () => {
      throw new Error("thrown at once");
    });
    const { site, client } = bench;
    const connection = await client.dial(site.target, "alknet/throws", on(transport));
    const reason = await connection.closed;
    assertFault(reason, transport);
    await bench.bystanderIsWell();
  });

  test(`a handler that rejects late ends its own connection only, over ${transport}`, async () => {
    await using bench = await withBystander(transport, "alknet/late", async (connection) => {
      const stream = await connection.accept();
      stream?.on("error", () => {});
      await new Promise<void>((resolve) => stream?.once("data", () => resolve()));
      stream?.write("half an answer");
      throw new Error("rejected late");
    });
    const { site, client } = bench;
    const connection = await client.dial(site.target, "alknet/late", on(transport));
    const stream = await connection.open();
    const failed = failure(stream);
    stream.resume().write("question");
    assertFault(await connection.closed, transport);
    // Never a clean end: what came was not all.
    assert.match((await failed).message, /closed|reset|cut|abort/i);
    await bench.bystanderIsWell();
  });

  test(`a handler that never settles keeps its own connection only, over ${transport}`, async () => {
    await using bench = await withBystander(
      transport,
      "alknet/stuck",
      () => new Promise<void>(() => {}),
    );
    const { site, client } = bench;
    const { node } = site;
    const connections = await Promise.all(
      Array.from({ length: 20 }, () => client.dial(site.target, "alknet/stuck", on(transport))),
    );
    for (const connection of connections)
      (await connection.open()).on("error", () => {}).write("?");
    await until(
      () => node.limits.stats().connections === 21,
      () => node.limits.stats(),
    );
    await bench.bystanderIsWell();
    // They go with their peers, whatever the handler still waits for.
    for (const connection of connections) connection.abort(0);
    await until(
      () => node.limits.stats().connections === 1,
      () => node.limits.stats(),
    );
    await bench.bystanderIsWell();
    // And do not keep the node from closing.
    const last = await client.dial(site.target, "alknet/stuck", on(transport));
    (await last.open()).on("error", () => {}).write("?");
    await until(
      () => node.limits.stats().connections === 2,
      () => node.limits.stats(),
    );
    await node.close();
    const { name } = await last.closed;
    assert.equal(name, transport === "quic" ? "DRAINING" : "CUT");
  });

  test(`a handler that floods its stream holds up its own connection only, over ${transport}`, async () => {
    let written = 0;
    let failed: Error | undefined;
    await using bench = await withBystander(transport, "alknet/flood", async (connection) => {
      const stream = await connection.accept();
      assert.ok(stream !== undefined);
      const chunk = Buffer.alloc(64 * 1024);
      // No regard for what `write` returns: all of it is buffered, here, on this connection's account.
      const error = new Promise<void>((resolve) => {
        stream.once("error", (cause) => {
          failed = cause;
          resolve();
        });
      });
      for (; written < 64 * 2 ** 20; written += chunk.length) stream.write(chunk);
      stream.end();
      await error;
    });
    const { site, client } = bench;
    const connection = await client.dial(site.target, "alknet/flood", on(transport));
    const stream = await connection.open();
    stream.on("error", () => {}).write("?");
    // A peer that reads the first of it, and then nothing more.
    await new Promise<void>((resolve) => {
      stream.once("readable", () => {
        stream.read(1);
        resolve();
      });
    });
    assert.equal(written, 64 * 2 ** 20);
    await bench.bystanderIsWell();
    connection.abort(0);
    await until(
      () => site.node.limits.stats().connections === 1,
      () => site.node.limits.stats(),
    );
    assert.ok(failed !== undefined, "the flood has not been told that its peer is gone");
    await bench.bystanderIsWell();
  });

  test(`a handler that opens streams without end is held by the peer's limit, over ${transport}`, async () => {
    let opened = 0;
    const refused = Promise.withResolvers<Error>();
    await using bench = await withBystander(transport, "alknet/opens", async (connection) => {
      try {
        for (;;) {
          const stream = await connection.open();
          stream.on("error", () => {});
          stream.write("one more");
          opened++;
        }
      } catch (error) {
        refused.resolve(error as Error);
        throw error;
      }
    });
    const { site, client } = bench;
    const connection = await client.dial(site.target, "alknet/opens", on(transport));
    if (transport === "tcp") {
      // The one stream is the peer's to open.
      assert.equal(((await refused.promise) as Error & { code?: string }).code, "STREAM_LIMIT");
      await connection.closed;
    } else {
      await until(
        () => opened >= 64,
        () => opened,
      );
      await bench.bystanderIsWell();
      connection.abort(0);
      await refused.promise;
      assert.ok(opened <= 4_096, `it opened ${opened} streams that nobody took`);
    }
    await bench.bystanderIsWell();
  });
}

test("what a handler throws that is no Error ends its own connection only", async () => {
  await using bench = await withBystander("quic", "alknet/odd", () =>
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors
    Promise.reject(undefined as unknown as Error),
  );
  const { site, client } = bench;
  const connection = await client.dial(site.target, "alknet/odd", on("quic"));
  assertFault(await connection.closed, "quic");
  await bench.bystanderIsWell();
});

function on(transport: Transport): { transports: readonly Transport[] } {
  return { transports: [transport] };
}

function assertFault(reason: { by: string; name: string }, transport: Transport): void {
  // TCP has no codes: the peer sees a cut.
  if (transport === "quic") assert.deepEqual([reason.by, reason.name], ["peer", "INTERNAL"]);
  else assert.notEqual(reason.by, "local");
}

async function failure(stream: Duplex): Promise<Error> {
  return await new Promise((resolve) => stream.once("error", resolve));
}
