/**
 * `close()`: what was begun is finished within the drain time, and what was sent before it arrives.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { Connection } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import type { ProtocolHandler } from "@alknet/core/handler";
import { dialerOf, site, TRANSPORTS, type Transport } from "./attack.ts";

const MIB = 2 ** 20;

/** More than the buffers of both ends hold together, over either transport. */
const LONG = 96 * MIB;

for (const transport of TRANSPORTS) {
  const on = { transports: [transport] };

  test(`a download in progress at close() finishes inside the drain time, over ${transport}`, async () => {
    await using place = await site({ handlers: [downloads(LONG)], drain: 30_000 });
    await using client = dialerOf(place.peer);
    const connection = await client.dial(place.target, "alknet/download", on);
    const stream = await begun(connection);
    // It is under way, and far from done: we have not read on.
    const closed = place.node.close();
    await refused(client, place.target, transport);
    assert.equal(await count(stream), LONG);
    await connection.close();
    assert.equal((await connection.closed).name, "OK");
    await closed;
  });

  test(`an upload in progress at close() finishes inside the drain time, over ${transport}`, async () => {
    const received = Promise.withResolvers<number>();
    const begun = Promise.withResolvers<void>();
    const upload = handler("alknet/upload", async (connection) => {
      const stream = await connection.accept();
      assert.ok(stream !== undefined);
      await once(stream, "readable");
      begun.resolve();
      await once(connection.draining, "abort");
      received.resolve(await count(stream));
      stream.end("all of it");
    });
    await using place = await site({ handlers: [upload], drain: 30_000 });
    await using client = dialerOf(place.peer);
    const connection = await client.dial(place.target, "alknet/upload", on);
    const stream = await connection.open();
    const written = write(stream, LONG);
    await begun.promise;
    const closed = place.node.close();
    await written;
    assert.equal(await received.promise, LONG);
    assert.equal(await count(stream), "all of it".length);
    await connection.close();
    assert.equal((await connection.closed).name, "OK");
    await closed;
  });

  test(`a transfer that cannot finish is cut at the end of the drain time, over ${transport}`, async () => {
    const drain = 400;
    await using place = await site({ handlers: [downloads(LONG)], drain });
    await using client = dialerOf(place.peer);
    const connection = await client.dial(place.target, "alknet/download", on);
    const stream = await begun(connection);
    const from = performance.now();
    await place.node.close();
    const took = performance.now() - from;
    assert.ok(took >= drain - 5, `cut after ${took} ms already`);
    // The engine waits for its peers to know, three seconds at most.
    assert.ok(took < drain + 5_000, `cut only after ${took} ms`);
    assert.deepEqual([...place.node.connections], []);
    assert.equal(place.node.limits.stats().connections, 0);
    // Never a clean end: most of it is missing.
    await assert.rejects(count(stream), /clos|reset|cut|ECONNRESET/i);
    const { by, name } = await connection.closed;
    assert.deepEqual(
      [by, name],
      transport === "quic" ? ["peer", "DRAINING"] : ["transport", "CUT"],
    );
  });

  test(`no byte that was written before close() is lost: 1,000 short connections, over ${transport}`, async () => {
    const CONNECTIONS = 1_000;
    const AT_ONCE = 16;
    let uploaded = 0;
    const uploads: number[] = [];
    const upload = handler("alknet/upload", async (connection) => {
      const stream = await connection.accept();
      if (stream === undefined) return;
      uploads[uploaded++] = await count(stream);
      stream.end();
    });
    await using place = await site({ handlers: [upload, downloads(MIB)] });
    await using client = dialerOf(place.peer);
    const downloaded: number[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let i = next++; i < CONNECTIONS; i = next++) {
        // In turn: we write and close at once, and the node does.
        const alpn = i % 2 === 0 ? "alknet/upload" : "alknet/download";
        const connection = await client.dial(place.target, alpn, on);
        const stream = await connection.open();
        if (i % 2 === 0) {
          stream.write(BLOCK);
        } else {
          stream.on("error", () => {}).write("?");
          downloaded.push(await count(stream));
        }
        await connection.close();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    // Until its handlers have done: what they count is then final.
    await place.node.close();
    const whole = (numbers: readonly number[]): number => numbers.filter((it) => it === MIB).length;
    assert.equal(whole(downloaded), CONNECTIONS / 2, "downloads that are whole");
    assert.equal(whole(uploads), CONNECTIONS / 2, "uploads that are whole");
  });
}

const BLOCK: Buffer = Buffer.alloc(MIB, "alknet");

function handler(alpn: string, handle: ProtocolHandler["handle"]): ProtocolHandler {
  return { alpns: [alpn], access: "peers", tls: "node", handle };
}

/** `alknet/download`: `length` bytes at the first byte of the stream, then the handler is done. */
function downloads(length: number): ProtocolHandler {
  return handler("alknet/download", async (connection) => {
    const stream = await connection.accept();
    if (stream === undefined) return;
    stream.on("error", () => {});
    await once(stream, "readable");
    stream.read();
    await write(stream, length);
  });
}

/** Write, with regard for the reader. Nothing is said of when it arrives. */
async function write(stream: Duplex, length: number): Promise<void> {
  for (let left = length; left > 0; left -= MIB) {
    if (!stream.write(BLOCK.subarray(0, left))) await once(stream, "drain");
  }
  stream.end();
}

/** Ask for the download, and read the first of it. */
async function begun(connection: Connection): Promise<Duplex> {
  const stream = await connection.open();
  stream.write("?");
  await once(stream, "readable");
  return stream;
}

/** Read to the end. @throws what the stream fails with. */
async function count(stream: Duplex): Promise<number> {
  let length = 0;
  // Or the end of what is read would take with it what is still to be written.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
  }
  return length;
}

/** A node that drains takes nobody new. */
async function refused(
  client: Dialer,
  target: Parameters<Dialer["dial"]>[0],
  transport: Transport,
): Promise<void> {
  await assert.rejects(
    async () => {
      const late = await client.dial(target, "alknet/download", { transports: [transport] });
      await late.accepted;
    },
    (error: Error & { code?: string }) => typeof error.code === "string",
  );
}
