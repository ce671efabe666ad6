import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { buffer, text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { suite, test } from "node:test";
import { QuicConnectionClosed } from "./close-reason.ts";
import type { QuicConnection } from "./connection.ts";
import { QuicStream, QuicStreamReset, QuicStreamStopped, type RawStream } from "./stream.ts";
import { pair } from "./test-identity.ts";

/** The next stream that the peer opens, raw. */
function nextRaw(connection: QuicConnection): Promise<RawStream> {
  return new Promise((resolve) => {
    connection.onstream = (stream) => {
      connection.onstream = undefined;
      resolve(stream);
    };
  });
}

/** A stream from both ends; `near` has sent one byte, which `far` has yet to read. */
async function rawPair(near: QuicConnection, far: QuicConnection): Promise<[RawStream, RawStream]> {
  const arriving = nextRaw(far);
  const stream = near.openRaw(Buffer.from("!"));
  return [stream, await arriving];
}

/** The same as `Duplex`es, which may fail without anybody listening. */
async function duplexPair(
  near: QuicConnection,
  far: QuicConnection,
): Promise<[QuicStream, QuicStream]> {
  const stream = await near.open();
  stream.write("!");
  const other = await far.accept();
  assert.ok(other !== undefined);
  for (const side of [stream, other]) side.on("error", () => {});
  return [stream, other];
}

/** What comes on a raw stream, to its end. */
function readRaw(stream: RawStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    stream.onreset = (code) => reject(new QuicStreamReset(code));
    stream.onclose = (reason) => reject(new QuicConnectionClosed(reason));
    stream.ondata = (data, fin) => {
      chunks.push(data);
      if (fin) resolve(Buffer.concat(chunks));
    };
  });
}

function event<T>(arm: (listener: (value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve) => arm(resolve));
}

suite("Duplex", () => {
  test("carries bytes both ways, half-open", async () => {
    await using sides = await pair();
    const [stream, other] = await duplexPair(sides.near, sides.far);
    stream.end("to the server");
    assert.equal(String(await readAll(other)), "!to the server");
    // Our side ended long ago; the other one speaks only now.
    other.end("and back");
    assert.equal(String(await readAll(stream)), "and back");
  });

  test("carries bytes from the server's streams too", async () => {
    await using sides = await pair();
    const [stream, other] = await duplexPair(sides.far, sides.near);
    stream.end("from the server");
    assert.equal(String(await readAll(other)), "!from the server");
    other.end("thanks");
    assert.equal(String(await readAll(stream)), "thanks");
  });

  test("is writable or readable only when unidirectional", async () => {
    await using sides = await pair();
    const stream = await sides.near.openUni();
    assert.equal(stream.readable, false);
    stream.end("one way");
    const other = await sides.far.acceptUni();
    assert.ok(other !== undefined);
    assert.equal(other.writable, false);
    assert.equal(await text(other), "one way");
    const back = await sides.far.openUni();
    back.end("the other way");
    assert.equal(await text((await sides.near.acceptUni())!), "the other way");
  });

  test("carries 32 MiB unchanged through pipeline()", async () => {
    await using sides = await pair();
    const sent = randomBytes(2 ** 20);
    const echo = (async () => {
      const other = await sides.far.accept();
      assert.ok(other !== undefined);
      await pipeline(other, other);
    })();
    const stream = await sides.near.open();
    const received = buffer(stream);
    for (let round = 0; round < 32; round++) {
      if (!stream.write(sent)) await once(stream, "drain");
    }
    stream.end();
    const bytes = await received;
    assert.equal(bytes.length, 32 * sent.length);
    for (let round = 0; round < 32; round++) {
      assert.ok(bytes.subarray(round * sent.length, (round + 1) * sent.length).equals(sent));
    }
    await echo;
  });

  test("ends without a byte", async () => {
    await using sides = await pair();
    const stream = await sides.near.open();
    stream.end();
    const other = await sides.far.accept();
    assert.ok(other !== undefined);
    other.end();
    assert.deepEqual(await Promise.all([text(other), text(stream)]), ["", ""]);
  });

  test("shows the peer's RESET_STREAM as QuicStreamReset with its code", async () => {
    await using sides = await pair({ client: { resetCodeOf: () => 2 ** 40 + 7 } });
    const [stream, other] = await duplexPair(sides.near, sides.far);
    const reading = text(other);
    stream.destroy(new Error("changed my mind"));
    await once(stream, "error").catch(() => {});
    await assert.rejects(reading, (error) => {
      assert.ok(error instanceof QuicStreamReset);
      assert.equal(error.code, "QUIC_STREAM_RESET");
      assert.equal(error.resetCode, 2 ** 40 + 7);
      return true;
    });
  });

  test("shows the peer's STOP_SENDING as QuicStreamStopped on writes", async () => {
    await using sides = await pair();
    const [stream, other] = await rawPair(sides.near, sides.far);
    const duplex = stream.toDuplex();
    other.stop(77);
    const closed = new Promise((resolve) => duplex.once("close", resolve));
    const [[error]] = (await Promise.all([once(duplex, "error"), fill(duplex), closed])) as [
      [unknown],
      unknown,
      unknown,
    ];
    assert.ok(error instanceof QuicStreamStopped);
    assert.equal(error.code, "QUIC_STREAM_STOPPED");
    assert.equal(error.stopCode, 77);
  });

  test("can be read to its end after the peer's STOP_SENDING", async () => {
    await using sides = await pair();
    const [stream, other] = await rawPair(sides.near, sides.far);
    const duplex = stream.toDuplex();
    const stopped = once(duplex, "stopped");
    const reading = readAll(duplex);
    other.stop(3);
    assert.deepEqual(await stopped, [3]);
    duplex.write("this write fails");
    other.write(randomBytes(300_000));
    other.end();
    assert.equal((await reading).length, 300_000);
  });

  test("sends the code of the error that it is destroyed with, both ways", async () => {
    const codes: Record<string, number> = { E_SEVEN: 7 };
    await using sides = await pair({
      client: {
        resetCodeOf: (error) => codes[(error as { code?: string } | null)?.code ?? ""] ?? 99,
      },
    });
    for (const [error, code] of [
      [Object.assign(new Error("seven"), { code: "E_SEVEN" }), 7],
      [new Error("other"), 99],
    ] as const) {
      const [near, far] = await rawPair(sides.near, sides.far);
      const reset = event<number>((listener) => (far.onreset = listener));
      const stop = event<number>((listener) => (far.onstop = listener));
      far.ondata = () => {};
      const duplex = near.toDuplex();
      duplex.on("error", () => {});
      duplex.destroy(error);
      assert.deepEqual(await Promise.all([reset, stop]), [code, code]);
    }
  });

  test("destroy() without an error after end() leaves the FIN on its way", async () => {
    await using sides = await pair();
    const [stream, other] = await duplexPair(sides.near, sides.far);
    stream.end("all of it");
    await once(stream, "finish");
    stream.destroy();
    assert.equal(await text(other), "!all of it");
  });

  test("destroy() without an error gives up what end() has yet to write", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    const [stream, other] = await duplexPair(sides.near, sides.far);
    // The stream's other side is over, too.
    other.end();
    await once(stream.resume(), "end");
    stream.end(Buffer.alloc(8 * 1024 * 1024));
    stream.destroy();
    await assert.rejects(buffer(other), { code: "QUIC_STREAM_RESET" });
  });

  test("the connection's flushed() waits for what end() has yet to write", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    const [stream, other] = await duplexPair(sides.near, sides.far);
    const order: string[] = [];
    stream.once("finish", () => order.push("finish"));
    stream.end(Buffer.alloc(8 * 1024 * 1024));
    const flushed = sides.near.flushed().then(() => order.push("flushed"));
    await Promise.all([flushed, buffer(other)]);
    assert.deepEqual(order, ["finish", "flushed"]);
  });

  test("takes no more than its windows while the peer does not read", async () => {
    const streamReceiveWindow = 64 * 1024;
    const sendWindow = 128 * 1024;
    await using sides = await pair({
      server: { transport: { streamReceiveWindow } },
      client: { transport: { sendWindow } },
    });
    const [stream, other] = await duplexPair(sides.near, sides.far);
    let taken = 0;
    const chunk = Buffer.alloc(16 * 1024, 1);
    while (stream.write(chunk)) taken += chunk.length;
    // Whatever the peer takes: it never says so before it is read.
    assert.ok(taken <= streamReceiveWindow + sendWindow + 2 * stream.writableHighWaterMark);
    // Reading lets go of everything.
    other.resume();
    await once(stream, "drain");
  });

  test("a reader that pauses stops its writer, and the rest of the connection goes on", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    const [stream] = await duplexPair(sides.near, sides.far);
    while (stream.write(Buffer.alloc(64 * 1024)));
    const [lively, other] = await duplexPair(sides.near, sides.far);
    other.pipe(other);
    lively.end(randomBytes(500_000));
    assert.equal((await buffer(lively)).length, 500_001);
  });
});

/** Write until it fails. */
async function fill(stream: QuicStream): Promise<void> {
  while (!stream.destroyed) {
    if (!stream.write(Buffer.alloc(65_536))) {
      await Promise.race([once(stream, "drain"), once(stream, "close")]).catch(() => {});
    }
    await new Promise(setImmediate);
  }
}

/** Everything until "end", whatever becomes of the writing side. */
async function readAll(stream: QuicStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => stream.once("end", resolve));
  return Buffer.concat(chunks);
}

suite("RawStream", () => {
  test("onfinished comes once the peer has acknowledged the end", async () => {
    await using sides = await pair();
    const arriving = nextRaw(sides.far);
    const stream = sides.near.openRaw();
    const finished = event<void>((listener) => (stream.onfinished = listener));
    stream.end(randomBytes(100_000));
    const other = await arriving;
    assert.equal((await readRaw(other)).length, 100_000);
    await finished;
    assert.equal(stream.sending, false);
    assert.equal(stream.receiving, true);
  });

  test("flushed() waits for the acknowledgement of every end", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    let finished = 0;
    const arriving: RawStream[] = [];
    sides.far.onstream = (stream) => arriving.push(stream);
    for (let count = 0; count < 5; count++) {
      const stream = sides.near.openRaw(Buffer.alloc(200_000), true);
      stream.onfinished = () => finished++;
    }
    let flushed = false;
    const flush = sides.near.flushed().then(() => (flushed = true));
    while (arriving.length < 5) await new Promise(setImmediate);
    assert.equal(flushed, false);
    const read = await Promise.all(arriving.map(readRaw));
    assert.deepEqual(
      read.map(({ length }) => length),
      [200_000, 200_000, 200_000, 200_000, 200_000],
    );
    await flush;
    assert.equal(finished, 5);
    await sides.near.flushed();
  });

  test("reset() and stop() arrive with their codes", async () => {
    await using sides = await pair();
    const [near, far] = await rawPair(sides.near, sides.far);
    far.ondata = () => {};
    const reset = event<number>((listener) => (far.onreset = listener));
    const stop = event<number>((listener) => (far.onstop = listener));
    near.reset(11);
    near.stop(2 ** 50);
    assert.deepEqual(await Promise.all([reset, stop]), [11, 2 ** 50]);
    assert.throws(() => near.write(Buffer.from("more")), { code: "QUIC_STREAM_ENDED" });
    assert.throws(() => far.write(Buffer.from("more")), { code: "QUIC_STREAM_ENDED" });
    near.reset(12);
    near.stop(12);
    far.reset(12);
    far.stop(12);
  });

  test("stop() leaves our own side open", async () => {
    await using sides = await pair();
    const [near, far] = await rawPair(sides.near, sides.far);
    const stopped = event<number>((listener) => (far.onstop = listener));
    near.stop(1);
    await stopped;
    near.end(Buffer.from("still here"));
    assert.equal((await readRaw(far)).toString(), "!still here");
  });

  test("write() after the end throws QUIC_STREAM_ENDED", async () => {
    await using sides = await pair();
    const stream = sides.near.openRaw(Buffer.from("x"), true);
    assert.throws(() => stream.write(Buffer.from("y")), { code: "QUIC_STREAM_ENDED" });
    assert.throws(() => stream.end(), { code: "QUIC_STREAM_ENDED" });
  });

  test("write() takes a buffer longer than one crossing", async () => {
    await using sides = await pair();
    const sent = randomBytes(5 * 2 ** 20 + 3);
    const arriving = nextRaw(sides.far);
    sides.near.openRaw(sent, true);
    assert.ok((await readRaw(await arriving)).equals(sent));
  });

  test("a paused stream gets no bytes until resume(), and its writer is told to wait", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    const [near, far] = await rawPair(sides.near, sides.far);
    let received = 0;
    await new Promise<void>((resolve) => {
      far.ondata = (data) => {
        received += data.length;
        far.pause();
        resolve();
      };
    });
    assert.equal(received, 1);
    let written = 0;
    while (near.write(Buffer.alloc(64 * 1024))) written += 64 * 1024;
    written += 64 * 1024;
    const before = received;
    // Another stream is the clock: what was in flight has come by now.
    const [, ping] = await rawPair(sides.near, sides.far);
    assert.equal((await event<Buffer>((listener) => (ping.ondata = listener))).length, 1);
    assert.equal(received, before);
    const drained = event<void>((listener) => (near.ondrain = listener));
    far.ondata = (data) => (received += data.length);
    await drained;
    near.end();
    await event<void>((listener) => {
      far.ondata = (data, fin) => {
        received += data.length;
        if (fin) listener();
      };
    });
    assert.equal(received, written + 1);
  });

  test("the peer's stop while a write waits is onstop, not silence", async () => {
    await using sides = await pair({ server: { transport: { streamReceiveWindow: 64 * 1024 } } });
    for (let round = 0; round < 50; round++) {
      const [near, far] = await rawPair(sides.near, sides.far);
      const stopped = event<number>((listener) => (near.onstop = listener));
      while (near.write(Buffer.alloc(256 * 1024)));
      // Reading makes room there, so that the same packets carry new credit and the stop.
      let received = 0;
      await event<void>((listener) => {
        far.ondata = (data) => {
          received += data.length;
          if (received < 32 * 1024) return;
          far.ondata = undefined;
          // The credit has left by then, and is read together with the stop.
          setImmediate(() => {
            far.stop(round);
            sides.server.flush();
            listener();
          });
        };
      });
      assert.equal(await stopped, round);
      near.stop(0);
      far.reset(0);
    }
  });

  test("a stop that came before toDuplex() is not lost", async () => {
    await using sides = await pair();
    const near = sides.near.openRaw(Buffer.from("!"));
    near.stop(5);
    const other = await sides.far.accept();
    assert.ok(other !== undefined);
    // Nobody could listen yet: opening and stop came in one datagram.
    const failed = once(other, "error");
    other.write("answer");
    const [error] = (await failed) as [unknown];
    assert.ok(error instanceof QuicStreamStopped);
    assert.equal(error.stopCode, 5);
  });

  test("write() from another stream's listener never reports a stop as a plain end", async () => {
    await using sides = await pair();
    const [first, firstFar] = await rawPair(sides.near, sides.far);
    const [second, secondFar] = await rawPair(sides.near, sides.far);
    const stopped = event<number>((listener) => (second.onstop = listener));
    first.ondata = () => {
      // In the same batch as the stop, and before it.
      if (second.sending) second.write(Buffer.from("late"));
    };
    firstFar.write(Buffer.from("go"));
    sides.server.flush();
    secondFar.stop(9);
    sides.server.flush();
    assert.equal(await stopped, 9);
  });
});
