import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { run } from "./test-child.ts";

/** `collected(f)` forces collections until `f` is true; `false` after long enough. */
const COLLECT = `
  const collect = (globalThis as { gc?: () => void }).gc!;
  async function collected(condition: () => boolean): Promise<boolean> {
    for (let round = 0; round < 500; round++) {
      collect();
      // WeakRefs live to the end of a job, and finalisers are jobs of their own.
      await new Promise((resolve) => setTimeout(resolve, 4));
      if (condition()) return true;
    }
    return false;
  }
  const collectAll = async (): Promise<void> => {
    for (let round = 0; round < 30; round++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  };
  const closeBoth = async (...endpoints: { close(): Promise<void> }[]): Promise<void> => {
    await Promise.all(endpoints.map((endpoint) => endpoint.close()));
  };
`;

/** Run a program with `gc()`; it must end by itself, cleanly. */
async function said(program: string): Promise<unknown[]> {
  const { said, status, stderr } = await run(COLLECT + program, ["--expose-gc"]);
  assert.deepEqual([status, stderr], [0, ""]);
  return said;
}

suite("what JavaScript drops without closing is collected", () => {
  test("connections, on both sides, and the peer hears of it", async () => {
    const lines = await said(`
      const server = serve({ server: { connection: () => {} } });
      const client = bind({ address: LOOPBACK });
      for (let count = 0; count < 20; count++) await dial(client, server);
      say(client.connectionCount);
      say(await collected(() => client.connectionCount === 0 && server.connectionCount === 0));
      say(await collected(() => client.counts.connections + server.counts.connections === 0));
      // One that is held learns of its peer's.
      const held = await dial(client, server);
      const closed = held.closed;
      void collected(() => server.connectionCount === 0);
      say(await closed);
      await closeBoth(client, server);
    `);
    const dropped = { kind: "application", by: "peer", code: 0, reason: "" };
    assert.deepEqual(lines, [20, true, true, dropped]);
  });

  test("and whoever kept closed alone is told", async () => {
    const lines = await said(`
      const server = serve({ server: { connection: () => {} } });
      const client = bind({ address: LOOPBACK });
      const closed = (await dial(client, server)).closed;
      // Only the client's is dropped first if the server's has a reason to stay.
      void collected(() => client.connectionCount === 0);
      const reason = await closed;
      say(["dropped", "application"].includes(reason.kind));
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, [true]);
  });

  test("idle streams, which are reset and stopped with code 0", async () => {
    const lines = await said(`
      const { server, client, near, far } = await pair();
      const seen: unknown[] = [];
      const held: unknown[] = [];
      far.onstream = (stream) => {
        held.push(stream);
        stream.onreset = (code) => seen.push(["reset", code]);
        stream.onstop = (code) => seen.push(["stop", code]);
        stream.ondata = () => {};
      };
      (() => { for (let count = 0; count < 10; count++) near.openRaw(Buffer.from("x")); })();
      while (held.length < 10) await turn();
      say(await collected(() => client.counts.streams === 0));
      say(near.streamCount);
      say(await collected(() => seen.length === 20));
      say([...new Set(seen.map(String))].sort());
      say(await collected(() => server.counts.streams === 0 && far.streamCount === 0));
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, [true, 0, true, ["reset,0", "stop,0"], true]);
  });

  test("streams of the peer that nobody took, with their connection", async () => {
    const lines = await said(`
      const server = serve({ server: { connection: () => {} } });
      const client = bind({ address: LOOPBACK });
      const near = await dial(client, server);
      const streams = Array.from({ length: 5 }, () => near.openRaw(Buffer.from("unread")));
      await near.flushed();
      say(await collected(() => server.connectionCount === 0 && server.counts.streams === 0));
      say((await near.closed).kind);
      say(streams.length);
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, [true, "application", 5]);
  });

  test("endpoints, which give back the port and let the process end", async () => {
    const lines = await said(`
      let port = 0;
      (() => { port = bind({ address: LOOPBACK }).address.port; })();
      say(await collected(() => {
        try {
          void bind({ address: LOOPBACK, port });
          return true;
        } catch { return false; }
      }));
      // The second one is dropped, too.
      await collectAll();
    `);
    assert.deepEqual(lines, [true]);
  });

  test("endpoints with connections that nobody accepted, too", async () => {
    const lines = await said(`
      const client = bind({ address: LOOPBACK });
      const near = await (async () => {
        const server = serve();
        const near = await dial(client, server);
        while (server.connectionCount === 0) await turn();
        return near;
      })();
      void collected(() => near.stats().bytesSent === 0);
      say((await near.closed).kind);
      await client.close();
    `);
    assert.deepEqual(lines, ["application"]);
  });

  test("configurations, thousands of them", async () => {
    const lines = await said(`
      import { serverTls } from "./test-identity.ts";
      const make = async (count: number): Promise<number> => {
        for (let made = 0; made < count; made++) {
          serverTls();
          clientTls();
          if (made % 100 === 0) {
            collect();
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
        }
        return process.memoryUsage.rss();
      };
      const before = await make(2_000);
      const after = await make(6_000);
      say((after - before) / 2 ** 20 < 20 ? "flat" : { before, after });
    `);
    assert.deepEqual(lines, ["flat"]);
  });
});

suite("what is awaited stays", () => {
  test("a pending accept() of endpoint, connection and stream", async () => {
    const lines = await said(`
      const server = serve();
      const port = server.address.port;
      const client = bind({ address: LOOPBACK });
      // Everything hangs on callbacks that only the engine can call.
      void server.accept().then((connection) => {
        void connection!.accept().then((stream) => {
          stream!.on("data", (data) => {
            say(String(data));
            stream!.end("thanks");
          });
        });
      });
      const near = await client.connect({ address: LOOPBACK, port, tls: clientTls() });
      await collectAll();
      say(server.connectionCount);
      const stream = near.openRaw(Buffer.from("hello"), true);
      const answer = new Promise((resolve) => {
        stream.ondata = (data, fin) => { if (fin) resolve(String(data)); };
      });
      await collectAll();
      say(await answer);
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, [1, "hello", "thanks"]);
  });

  test("a pending read, write, end and flush, of streams that nobody holds", async () => {
    const lines = await said(`
      const { server, client, near, far } = await pair({
        server: { transport: { streamReceiveWindow: 65536 } },
      });
      const theirs: import("./stream.ts").RawStream[] = [];
      far.onstream = (stream) => theirs.push(stream);
      (() => {
        const reading = near.openRaw(Buffer.from("r"));
        reading.ondata = (data) => { if (data.length > 0) say("read " + data); };
        const writing = near.openRaw(Buffer.alloc(300_000));
        writing.ondrain = () => { say("drained"); };
        const ending = near.openRaw();
        ending.onfinished = () => say("finished");
        ending.end(Buffer.alloc(300_000));
      })();
      while (theirs.length < 3) await turn();
      await collectAll();
      theirs[0]!.write(Buffer.from("late"));
      await collectAll();
      let left = 2;
      const drained = new Promise<void>((resolve) => {
        for (const stream of theirs.slice(1)) {
          let length = 0;
          stream.ondata = (data) => {
            length += data.length;
            if (length === 300_000 && --left === 0) resolve();
          };
        }
      });
      await drained;
      await near.flushed();
      await turn();
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines.map(String).sort(), ["drained", "finished", "read late"]);
  });

  test("listeners of a connection that nobody holds", async () => {
    const lines = await said(`
      const server = serve({
        server: {
          connection: (connection) => {
            connection.ondatagram = (data) => {
              say(String(data));
              connection.sendDatagram(Buffer.from("pong"));
            };
          },
        },
      });
      const client = bind({ address: LOOPBACK });
      const near = await dial(client, server);
      await collectAll();
      near.sendDatagram(Buffer.from("ping"));
      say(String(await new Promise((resolve) => { near.ondatagram = resolve; })));
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, ["ping", "pong"]);
  });

  test("an endpoint whose connections are held", async () => {
    const lines = await said(`
      const server = serve({
        server: {
          connection: (connection) => {
            connection.onstream = (stream) => {
              stream.ondata = (data, fin) => { if (fin) stream.end(data); };
            };
          },
        },
      });
      const near = await (async () => dial(bind({ address: LOOPBACK }), server))();
      await collectAll();
      const stream = near.openRaw(Buffer.from("still"), true);
      say(String(await new Promise((resolve) => {
        stream.ondata = (data, fin) => { if (fin) resolve(data); };
      })));
      near.close();
      await server.close();
      // The dialing endpoint goes by itself.
      await collectAll();
    `);
    assert.deepEqual(lines, ["still"]);
  });

  test("an endpoint that nobody holds, after the dial that it is at has failed", async () => {
    const lines = await said(`
      const server = serve({ server: { admit: () => "ignore" } });
      const ended = (async () =>
        dial(bind({ address: LOOPBACK, transport: { handshakeTimeout: 500 } }), server))()
        .then(() => "connected", (error) => error.closeReason.kind);
      await collectAll();
      say(await ended);
      await server.close();
      // The dialing endpoint goes by itself.
      await collectAll();
    `);
    assert.deepEqual(lines, ["timeout"]);
  });

  test("and no stream is taken for an earlier one with its number", async () => {
    const lines = await said(`
      const { server, client, near, far } = await pair();
      far.onstream = (stream) => {
        stream.ondata = (data, fin) => { if (fin) stream.end(data); };
      };
      let resets = 0;
      const old: object[] = [];
      for (let count = 0; count < 4_500; count++) {
        const stream = near.openRaw(Buffer.from("question"), true);
        stream.onreset = () => resets++;
        // Long enough for the endpoint to let go of it, so that the collector watches it.
        for (let turns = 0; turns < 3; turns++) await turn();
        await new Promise<void>((resolve) => {
          stream.onclose = () => resolve();
          stream.onreset = () => { resets++; resolve(); };
          stream.ondata = (_data, fin) => { if (fin) resolve(); };
        });
        old.push(stream);
        // Old ones go when their numbers are in use again.
        if (count % 1_500 === 1_499) {
          old.length = 0;
          collect();
        }
      }
      say(resets);
      say(near.streamCount);
      await closeBoth(client, server);
    `);
    assert.deepEqual(lines, [0, 0]);
  });
});
