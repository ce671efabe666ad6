import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import { bind } from "./endpoint.ts";
import type { RawStream } from "./stream.ts";
import { ALPN, dial, LOOPBACK, pair, serve } from "./test-identity.ts";
import { relay } from "./test-relay.ts";

function event<T>(arm: (listener: (value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve) => arm(resolve));
}

/** Let everything that is queued on this loop happen. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

suite("a connection", () => {
  test("knows what the handshake said, on both sides", async () => {
    await using sides = await pair({ connect: { serverName: "server.test" } });
    const { near, far } = sides;
    assert.deepEqual([near.side, far.side], ["client", "server"]);
    assert.deepEqual([near.alpn, far.alpn], [ALPN, ALPN]);
    assert.equal(far.serverName, "server.test");
    assert.equal(near.remoteAddress, LOOPBACK);
    assert.equal(near.remotePort, sides.server.address.port);
    assert.equal(far.remoteAddress, LOOPBACK);
    assert.equal(far.remotePort, sides.client.address.port);
  });

  test("exports the same keying material on both sides, and other material for another context", async () => {
    await using sides = await pair();
    const { near, far } = sides;
    const context = Buffer.from("context");
    const ours = near.exportKeyingMaterial("EXPORTER-test", context, 48);
    assert.equal(ours.length, 48);
    assert.deepEqual(ours, far.exportKeyingMaterial("EXPORTER-test", context, 48));
    assert.notDeepEqual(ours, near.exportKeyingMaterial("EXPORTER-test", undefined, 48));
    assert.notDeepEqual(ours, near.exportKeyingMaterial("EXPORTER-other", context, 48));
    assert.equal(near.exportKeyingMaterial("EXPORTER-test", context, 8160).length, 8160);
    assert.throws(() => near.exportKeyingMaterial("EXPORTER-test", context, 8161), /8160/);
    near.close();
    assert.throws(
      () => near.exportKeyingMaterial("EXPORTER-test", context, 8),
      QuicConnectionClosed,
    );
  });

  test("counts what it sends and receives", async () => {
    await using sides = await pair();
    const before = sides.near.stats();
    sides.far.onstream = (stream) => (stream.ondata = () => {});
    sides.near.openRaw(randomBytes(100_000), true);
    await sides.near.flushed();
    const stats = sides.near.stats();
    assert.ok(stats.rtt > 0 && stats.rtt < 10_000);
    assert.ok(stats.mtu >= 1200);
    assert.ok(stats.congestionWindow > 0);
    assert.ok(stats.bytesSent - before.bytesSent > 100_000);
    assert.ok(stats.bytesReceived > before.bytesReceived);
    assert.ok(stats.datagramsSent > before.datagramsSent);
    assert.ok(stats.datagramsReceived > before.datagramsReceived);
    assert.ok(stats.sentPackets > before.sentPackets);
    assert.equal(stats.pathChanges, 0);
    assert.ok(sides.far.stats().bytesReceived > 100_000);
  });

  test("carries datagrams both ways, up to the size it names", async () => {
    await using sides = await pair();
    const received = event<Buffer>((listener) => (sides.far.ondatagram = listener));
    const size = sides.near.maxDatagramSize;
    assert.ok(size >= 1_000, `${size}`);
    const sent = randomBytes(size);
    assert.equal(sides.near.sendDatagram(sent), true);
    assert.deepEqual(await received, sent);
    assert.equal(sides.near.sendDatagram(randomBytes(70_000)), false);
    const back = event<Buffer>((listener) => (sides.near.ondatagram = listener));
    assert.equal(sides.far.sendDatagram(Buffer.alloc(0)), true);
    assert.equal((await back).length, 0);
  });

  test("loses no datagram of a burst that fits the buffers, large ones neither", async () => {
    const transport = { initialMtu: 10_000, mtuUpperBound: 10_000, datagramBuffer: 8 * 2 ** 20 };
    await using sides = await pair({ server: { transport }, client: { transport } });
    let received = 0;
    const size = sides.near.maxDatagramSize;
    assert.ok(size > 2 * 4096);
    const all = event<void>((listener) => {
      sides.far.ondatagram = (data) => {
        assert.equal(data.length, size);
        if (++received === 100) listener();
      };
    });
    const data = randomBytes(size);
    for (let count = 0; count < 100; count++) assert.equal(sides.near.sendDatagram(data), true);
    await all;
  });

  test("sends no datagrams to a peer that takes none", async () => {
    await using sides = await pair({ server: { transport: { datagramBuffer: 0 } } });
    assert.equal(sides.near.maxDatagramSize, 0);
    assert.equal(sides.near.sendDatagram(Buffer.from("x")), false);
  });

  test("bounds the datagrams that wait to be sent", async () => {
    await using sides = await pair({ client: { transport: { datagramBuffer: 10_000 } } });
    const data = Buffer.alloc(1_000);
    let taken = 0;
    while (sides.near.sendDatagram(data)) taken++;
    assert.ok(taken >= 5 && taken <= 10, `${taken}`);
  });
});

suite("stream limits", () => {
  test("more streams than the limit wait, and open as others end", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 2 } } });
    sides.far.setLimits({ maxStreams: 2 });
    let most = 0;
    let open = 0;
    let served = 0;
    sides.far.onstream = (stream) => {
      most = Math.max(most, ++open);
      stream.ondata = (data, fin) => {
        if (!fin) return;
        served++;
        open--;
        stream.end(data);
      };
    };
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const stream = await sides.near.open();
        stream.end(`${index}`);
        return await text(stream);
      }),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 20 }, (_, index) => `${index}`),
    );
    assert.equal(served, 20);
    assert.ok(most <= 2, `${most} at once`);
  });

  test("raw streams keep their data until the limit allows them, unidirectional ones too", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 1 } } });
    sides.far.setLimits({ maxStreams: 1 });
    const seen: string[] = [];
    const all = event<void>((listener) => {
      sides.far.onstream = (stream, unidirectional) => {
        assert.equal(unidirectional, true);
        stream.ondata = (data, fin) => {
          assert.ok(fin);
          seen.push(String(data));
          if (seen.length === 10) listener();
        };
      };
    });
    const streams = Array.from({ length: 10 }, (_, index) =>
      sides.near.openRawUni(Buffer.from(`${index}`), true),
    );
    assert.equal(streams[9]?.id, 0);
    await all;
    assert.deepEqual(seen, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    await sides.near.flushed();
    await until(() => sides.near.streamCount === 0);
    assert.equal(sides.near.streamCount, 0);
  });

  test("the limit rises with use, up to the ceiling of setLimits()", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 2 } } });
    sides.far.setLimits({ maxStreams: 50 });
    const arrived: RawStream[] = [];
    const fifty = event<void>((listener) => {
      sides.far.onstream = (stream) => {
        arrived.push(stream);
        if (arrived.length === 50) listener();
      };
    });
    const streams = Array.from({ length: 60 }, () => sides.near.openRaw(Buffer.from("x")));
    await fifty;
    await turns(20);
    assert.equal(arrived.length, 50);
    assert.equal(streams.filter(({ id }) => id !== 0).length, 50);
  });

  test("setLimits() opens the door of a connection that began with no streams at all", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 0 } } });
    const opening = sides.near.open();
    sides.far.setLimits({ maxStreams: 4 });
    const stream = await opening;
    stream.end("in");
    assert.equal(await text((await sides.far.accept())!), "in");
    stream.destroy();
  });

  test("setLimits() refuses what would cost the machine's memory", async () => {
    await using sides = await pair();
    assert.throws(() => sides.far.setLimits({ maxStreams: 2 ** 40 }), RangeError);
    assert.throws(() => sides.far.setLimits({ receiveWindow: Number.NaN }), RangeError);
    assert.throws(() => sides.far.setLimits({ sendWindow: 1.5 }), RangeError);
  });

  test("streams that wait for the limit fail with the connection's end", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 0 } } });
    const opening = sides.near.open();
    const raw = sides.near.openRawUni(Buffer.from("never"), true);
    const closed = event<QuicCloseReason>((listener) => (raw.onclose = listener));
    sides.far.close(3, "no streams here");
    const reason = { kind: "application", by: "peer", code: 3, reason: "no streams here" };
    await assert.rejects(opening, { code: "QUIC_CONNECTION_CLOSED", closeReason: reason });
    assert.deepEqual(await closed, reason);
  });

  test("reset() of a stream that waits for the limit ends it for good", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 1 } } });
    sides.far.setLimits({ maxStreams: 1 });
    const first = sides.near.openRaw(Buffer.from("first"));
    first.onstop = () => first.reset(0);
    const second = sides.near.openRaw(Buffer.from("second"));
    const third = sides.near.openRaw(Buffer.from("third"));
    second.reset(1);
    assert.equal(second.receiving, false);
    assert.equal(second.sending, false);
    const seen: string[] = [];
    const both = event<void>((listener) => {
      sides.far.onstream = (stream) => {
        stream.ondata = (data) => {
          seen.push(String(data));
          stream.reset(0);
          stream.stop(0);
          if (seen.length === 2) listener();
        };
      };
    });
    await both;
    assert.deepEqual(seen, ["first", "third"]);
    third.reset(0);
  });

  test("stop() of a stream that waits for the limit is sent with its code when it opens", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 0 } } });
    const stream = sides.near.openRaw(Buffer.from("no answer, please"));
    stream.stop(42);
    const stopped = event<number>((listener) => {
      sides.far.onstream = (other) => (other.onstop = listener);
    });
    sides.far.setLimits({ maxStreams: 1 });
    assert.equal(await stopped, 42);
  });
});

suite("close()", () => {
  test("tells both sides the code and the reason, and each who did it", async () => {
    await using sides = await pair();
    sides.near.close(2 ** 33, "that is all");
    const reason = { kind: "application", code: 2 ** 33, reason: "that is all" };
    assert.deepEqual(await sides.near.closed, { ...reason, by: "local" });
    assert.deepEqual(await sides.far.closed, { ...reason, by: "peer" });
    sides.near.close(9, "again");
    sides.far.close(9, "too late");
    assert.deepEqual(await sides.far.closed, { ...reason, by: "peer" });
  });

  test("cuts a reason that would not fit a packet", async () => {
    await using sides = await pair();
    sides.near.close(1, "x".repeat(10_000));
    const reason = await sides.far.closed;
    assert.ok(reason.kind === "application");
    assert.equal(reason.reason, "x".repeat(512));
  });

  test("refuses a code that cannot be sent", async () => {
    await using sides = await pair();
    for (const code of [-1, 1.5, Number.NaN, 2 ** 62]) {
      assert.throws(() => sides.near.close(code), RangeError);
    }
    const stream = sides.near.openRaw();
    assert.throws(() => stream.reset(-1), RangeError);
    assert.throws(() => stream.stop(1e300), RangeError);
  });

  test("ends every wait: accept() with undefined, open() and streams with the reason", async () => {
    await using sides = await pair();
    const accepting = [sides.near.accept(), sides.near.acceptUni(), sides.far.accept()];
    const stream = await sides.near.open();
    const failed = once(stream, "error");
    stream.resume();
    sides.far.close(4, "over");
    assert.deepEqual(await Promise.all(accepting), [undefined, undefined, undefined]);
    const reason = { kind: "application", by: "peer", code: 4, reason: "over" };
    const [error] = (await failed) as [unknown];
    assert.ok(error instanceof QuicConnectionClosed);
    assert.deepEqual(error.closeReason, reason);
    await assert.rejects(sides.near.open(), { closeReason: reason });
    assert.throws(() => sides.near.openRaw(), { closeReason: reason });
    assert.equal(sides.near.sendDatagram(Buffer.from("x")), false);
    assert.equal(sides.near.maxDatagramSize, 0);
    assert.equal(await sides.near.accept(), undefined);
    await sides.near.flushed();
  });

  test("what came before the peer's close stays readable, then the stream fails with the reason", async () => {
    await using sides = await pair();
    for (const size of [1, 3_000, 100_000]) {
      const near = await dial(sides.client, sides.server);
      const far = (await sides.server.accept())!;
      const sent = randomBytes(size);
      const stream = near.openRaw(sent);
      const other = (await far.accept())!;
      await until(() => far.stats().bytesReceived > size);
      near.close(8, "in the middle");
      assert.equal((await far.closed).kind, "application");
      const chunks: Buffer[] = [];
      await assert.rejects(
        async () => {
          for await (const chunk of other) chunks.push(chunk as Buffer);
        },
        (error) => {
          assert.ok(error instanceof QuicConnectionClosed);
          assert.deepEqual(error.closeReason, {
            kind: "application",
            by: "peer",
            code: 8,
            reason: "in the middle",
          });
          return true;
        },
      );
      assert.ok(Buffer.concat(chunks).equals(sent));
      assert.equal(stream.sending, false);
    }
  });

  test("a stream that ended and was closed upon can be accepted and read to its end", async () => {
    await using sides = await pair();
    sides.near.openRaw(Buffer.from("last words"), true);
    await sides.near.flushed();
    sides.near.close(0);
    await sides.far.closed;
    const other = (await sides.far.accept())!;
    other.on("error", () => {});
    assert.equal(await text(other), "last words");
    await until(() => sides.server.connectionCount === 0);
  });

  test("an end that comes with the close leaves no stream and no connection behind", async () => {
    await using sides = await pair();
    const ended: Promise<QuicCloseReason>[] = [];
    const open = new Set<RawStream>();
    for (let count = 0; count < 10; count++) {
      const stream = sides.near.openRaw(Buffer.from("question"));
      open.add(stream);
      ended.push(event((listener) => (stream.onclose = listener)));
      stream.ondata = () => {};
    }
    let answered = 0;
    sides.far.onstream = (stream) => {
      stream.end(Buffer.alloc(3_000));
      if (++answered < 10) return;
      // Data, FINs and the close are read in one batch.
      sides.server.flush();
      sides.far.close(6, "done");
      sides.server.flush();
    };
    for (const reason of await Promise.all(ended)) {
      assert.deepEqual(reason, { kind: "application", by: "peer", code: 6, reason: "done" });
    }
    for (const stream of open) assert.deepEqual([stream.sending, stream.receiving], [false, false]);
    assert.equal(sides.near.streamCount, 0);
    assert.equal(sides.client.connectionCount, 0);
  });

  test("ping() says that the peer is alive, and how long it was silent", async () => {
    await using server = serve();
    await using way = await relay(server.address.port);
    await using client = bind({ address: LOOPBACK });
    const near = await dial(client, server, { port: way.port });
    assert.equal(await near.ping(), true);
    const answered = near.stats();
    assert.ok(answered.silence < 1_000);

    // The path dies without a word.
    way.pass = () => false;
    const first = near.ping();
    assert.equal(near.ping(), first, "one answer for all");
    await until(() => near.stats().datagramsSent > answered.datagramsSent + 1);
    assert.equal(near.stats().datagramsReceived, answered.datagramsReceived);
    assert.ok(near.stats().silence > 0);
    assert.equal(await Promise.race([first, turns(10)]), undefined);

    // It comes back: retransmissions find out.
    way.pass = () => true;
    assert.equal(await first, true);

    way.pass = () => false;
    const last = near.ping();
    near.close();
    assert.equal(await last, false);
    assert.equal(await near.ping(), false);
  });

  test("ping() is not answered by datagrams that anybody can send", async () => {
    await using server = serve();
    await using way = await relay(server.address.port);
    await using client = bind({ address: LOOPBACK });
    const near = await dial(client, server, { port: way.port });
    assert.equal(await near.ping(), true);
    const { datagramsReceived } = near.stats();
    // Forged: the right connection ID, and an end that does not authenticate.
    way.pass = (datagram, to) => {
      if (to === "toServer") return true;
      datagram[datagram.length - 1]! ^= 1;
      return true;
    };
    const ping = near.ping();
    await until(() => near.stats().datagramsReceived > datagramsReceived + 1);
    assert.equal(await Promise.race([ping, turns(10)]), undefined);
  });

  test("a pending write fails at the peer's close, though nobody reads what came", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    const stream = await sides.near.open();
    const failed = once(stream, "error");
    while (stream.write(Buffer.alloc(64 * 1024)));
    const other = (await sides.far.accept())!;
    other.on("error", () => {});
    other.write("an answer that nobody reads");
    const before = sides.near.stats().bytesReceived;
    await until(() => sides.near.stats().bytesReceived > before);
    sides.far.close(7);
    const [error] = (await failed) as [unknown];
    assert.ok(error instanceof QuicConnectionClosed);
  });

  test("a local close() drops what has come", async () => {
    await using sides = await pair();
    sides.near.openRaw(Buffer.from("unread"), true);
    await until(() => sides.far.streamCount === 1);
    sides.far.close();
    assert.equal(await sides.far.accept(), undefined);
    assert.equal(sides.server.connectionCount, 0);
  });

  test("close() after the peer's lets go of what nobody read", async () => {
    await using sides = await pair();
    sides.near.openRaw(Buffer.from("unread"));
    await until(() => sides.far.streamCount === 1);
    const stream = (await sides.far.accept())!;
    stream.on("error", () => {});
    sides.near.close();
    await sides.far.closed;
    assert.equal(sides.server.connectionCount, 1);
    const gone = once(stream, "close");
    sides.far.close();
    assert.equal(sides.server.connectionCount, 0);
    assert.equal(sides.far.streamCount, 0);
    await gone.catch(() => {});
  });

  test("[Symbol.asyncDispose]() waits for what was ended, then closes", async () => {
    await using sides = await pair();
    const received = event<number>((listener) => {
      sides.far.onstream = (stream) => {
        let length = 0;
        stream.ondata = (data, fin) => {
          length += data.length;
          if (fin) listener(length);
        };
      };
    });
    {
      await using connection = sides.near;
      connection.openRaw(Buffer.alloc(3_000_000), true);
    }
    assert.equal(await received, 3_000_000);
    assert.deepEqual(await sides.far.closed, {
      kind: "application",
      by: "peer",
      code: 0,
      reason: "",
    });
  });
});

suite("keep-alive and idle time", () => {
  /** Resolves when a connection with this idle time and without a stream has ended, some times over. */
  async function idleTimes(count: number, idleTimeout: number): Promise<void> {
    await using server = serve({ transport: { idleTimeout } });
    await using client = bind({ address: LOOPBACK, transport: { idleTimeout } });
    for (let round = 0; round < count; round++) await (await dial(client, server)).closed;
  }

  test("a connection without a stream ends by its idle time, with a stream it is kept alive", async () => {
    const transport = { idleTimeout: 600, keepAlive: 150 };
    await using sides = await pair({ server: { transport }, client: { transport } });
    const idle = await dial(sides.client, sides.server);
    const idleFar = (await sides.server.accept())!;
    let ended = false;
    void sides.near.closed.then(() => (ended = true));
    const stream = sides.near.openRaw(Buffer.from("held"));
    assert.equal((await idle.closed).kind, "timeout");
    assert.equal((await idleFar.closed).kind, "timeout");
    await idleTimes(3, 600);
    assert.equal(ended, false);
    // With its last stream goes its keep-alive.
    (await sides.far.accept())?.on("error", () => {}).destroy();
    stream.reset(0);
    stream.stop(0);
    assert.equal((await sides.near.closed).kind, "timeout");
  });

  test("the side that accepted a stream keeps it alive by itself", async () => {
    const idleTimeout = 600;
    await using sides = await pair({
      server: { transport: { idleTimeout, keepAlive: 150 } },
      client: { transport: { idleTimeout, keepAlive: 0 } },
    });
    let ended = false;
    void sides.far.closed.then(() => (ended = true));
    sides.near.openRaw(Buffer.from("held"));
    (await sides.far.accept())?.on("error", () => {});
    await idleTimes(3, idleTimeout);
    assert.equal(ended, false);
  });

  test("a stream that was opened and never written keeps its connection alive", async () => {
    const idleTimeout = 600;
    await using sides = await pair({
      server: { transport: { idleTimeout } },
      client: { transport: { idleTimeout, keepAlive: 150 } },
    });
    let ended = false;
    void sides.near.closed.then(() => (ended = true));
    await turns(10);
    const stream = await sides.near.open();
    await idleTimes(3, idleTimeout);
    assert.equal(ended, false);
    stream.destroy();
  });

  test("keepAlive 0 sends nothing", async () => {
    const transport = { idleTimeout: 400, keepAlive: 0 };
    await using sides = await pair({ server: { transport }, client: { transport } });
    sides.near.openRaw(Buffer.from("held"));
    assert.equal((await sides.near.closed).kind, "timeout");
  });
});

suite("AbortSignal", () => {
  const aborted = { name: "AbortError" };

  test("ends accept() and open(), before and during the wait", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 0 } } });
    const { near, far } = sides;
    const waits = ["accept", "acceptUni", "open", "openUni"] as const;
    for (const wait of waits) {
      await assert.rejects(near[wait]({ signal: AbortSignal.abort() }), aborted);
      const abort = new AbortController();
      const waiting = near[wait]({ signal: abort.signal });
      await turns(2);
      abort.abort();
      await assert.rejects(waiting, aborted);
    }
    // Nobody takes the place of the waits that were given up.
    far.setLimits({ maxStreams: 10 });
    const stream = await near.open();
    stream.end("still fine");
    const other = (await far.accept())!;
    other.end();
    assert.deepEqual(await Promise.all([text(other), text(stream)]), ["still fine", ""]);
  });

  test("an aborted accept() takes no stream with it", async () => {
    await using sides = await pair();
    const abort = new AbortController();
    const waiting = sides.far.accept({ signal: abort.signal });
    abort.abort();
    await assert.rejects(waiting, aborted);
    (await sides.near.openUni()).end("not this one");
    sides.near.openRaw(Buffer.from("kept"), true);
    const other = (await sides.far.accept())!;
    other.end();
    assert.equal(await text(other), "kept");
  });
});

suite("numbers of the engine", () => {
  test("nothing is left in the engine of streams and connections that ended", async () => {
    await using sides = await pair({ server: { transport: { maxStreams: 16 } } });
    sides.far.onstream = (stream) => {
      stream.ondata = (data, fin) => {
        if (fin) stream.end(data);
      };
    };
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        Array.from({ length: 32 }, async () => {
          const stream = sides.near.openRaw(Buffer.from("x"), true);
          await event<void>((listener) => {
            stream.ondata = (_data, fin) => fin && listener();
          });
        }),
      );
    }
    await until(() => sides.near.streamCount === 0 && sides.far.streamCount === 0);
    // The server's wait for acknowledgements still.
    await until(() => sides.client.counts.streams + sides.server.counts.streams === 0);
    assert.equal(sides.client.counts.connections, 1);
    sides.near.close();
    await sides.far.closed;
    // They linger until late packets have died out (RFC 9000 §10.2).
    await until(() => sides.client.counts.connections + sides.server.counts.connections === 0);
  });
});
