import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { run } from "./test-child.ts";

/** How a program ended, and what it said before that. */
async function outcome(program: string): Promise<unknown[]> {
  const { status, signal, stderr, said } = await run(program);
  assert.equal(stderr, "");
  return [status ?? signal, ...said];
}

suite("an open endpoint", () => {
  test("keeps the process alive", async () => {
    const program = `
      const endpoint = bind({ address: LOOPBACK });
      setTimeout(() => {
        say("alive");
        void endpoint.close();
      }, 300).unref();
    `;
    assert.deepEqual(await outcome(program), [0, "alive"]);
  });

  test("lets it end once unref()ed, traffic or not", async () => {
    const program = `
      const { server, client, near, far } = await pair();
      far.onstream = (stream) => { stream.ondata = () => {}; };
      near.openRaw(Buffer.alloc(1_000_000));
      server.unref();
      client.unref();
      setTimeout(() => say("alive"), 300).unref();
    `;
    assert.deepEqual(await outcome(program), [0]);
  });

  test("keeps it alive again after ref(), over rebind()", async () => {
    const program = `
      const endpoint = bind({ address: LOOPBACK });
      endpoint.unref().ref().unref().ref();
      endpoint.rebind();
      setTimeout(() => {
        say("alive");
        endpoint.unref();
        endpoint.rebind();
      }, 300).unref();
      setTimeout(() => say("too long"), 30_000).unref();
    `;
    assert.deepEqual(await outcome(program), [0, "alive"]);
  });

  test("lets it end after close(), and a second endpoint does not", async () => {
    const program = `
      const first = bind({ address: LOOPBACK });
      const second = bind({ address: LOOPBACK });
      await first.close();
      setTimeout(() => {
        say("alive");
        void second.close();
      }, 300).unref();
    `;
    assert.deepEqual(await outcome(program), [0, "alive"]);
  });
});

suite("process.exit()", () => {
  /** Traffic in both directions, streams opening and closing all the time. */
  const TRAFFIC = `
    const { server, client, near, far } = await pair();
    far.onstream = (stream) => {
      stream.ondata = (data, fin) => {
        if (stream.sending) stream.write(data, fin);
      };
    };
    far.ondatagram = (data) => { far.sendDatagram(data); };
    near.ondatagram = () => {};
    let transfers = 0;
    const transfer = (): void => {
      const stream = near.openRaw(Buffer.alloc(200_000, 1), true);
      stream.ondata = (_data, fin) => {
        if (!fin) return;
        transfers++;
        near.sendDatagram(Buffer.from("tick"));
        transfer();
      };
    };
    for (let count = 0; count < 8; count++) transfer();
  `;

  for (const [moment, code] of [
    ["in the tick of bind()", `bind({ address: LOOPBACK }); process.exit(42);`],
    [
      "in a dial",
      `void dial(bind({ address: LOOPBACK }), serve()).catch(() => {}); await turn(); process.exit(42);`,
    ],
    [
      "in admit()",
      `await dial(bind({ address: LOOPBACK }), serve({ server: { admit: () => process.exit(42) } }));`,
    ],
    [
      "in configure()",
      `await dial(bind({ address: LOOPBACK }), serve({ server: { configure: () => process.exit(42) } }));`,
    ],
    [
      "in connection()",
      `await dial(bind({ address: LOOPBACK }), serve({ server: { connection: () => process.exit(42) } }));
       await new Promise(() => {});`,
    ],
    [
      "in handshakeFailed()",
      `await dial(bind({ address: LOOPBACK }), serve({
         server: { configure: () => ({ alert: 80 }), handshakeFailed: () => process.exit(42) },
       })).catch(() => {});
       await new Promise(() => {});`,
    ],
    ["from a timer in traffic", `${TRAFFIC} setTimeout(() => process.exit(42), 100);`],
    [
      "in ondata()",
      `${TRAFFIC} near.openRaw(Buffer.alloc(5_000_000), true).ondata = (_data, fin) => { if (fin) process.exit(42); };`,
    ],
    ["in ondatagram()", `${TRAFFIC} near.ondatagram = () => process.exit(42);`],
    ["in onstream()", `${TRAFFIC} far.onstream = () => process.exit(42);`],
    [
      "in ondrain()",
      `${TRAFFIC} const full = near.openRaw(Buffer.alloc(80_000_000)); full.ondrain = () => process.exit(42);`,
    ],
    [
      "in onclose()",
      `${TRAFFIC} near.openRaw(Buffer.from("x")).onclose = () => process.exit(42); far.close();`,
    ],
    ["in the tick of close()", `${TRAFFIC} void client.close(); process.exit(42);`],
    [
      "after close()",
      `${TRAFFIC} await Promise.all([client.close(), server.close()]); process.exit(42);`,
    ],
    ["in the tick of rebind()", `${TRAFFIC} client.rebind(); process.exit(42);`],
    [
      "in an exit handler that uses the endpoint",
      `${TRAFFIC}
      process.on("exit", () => {
        near.openRaw(Buffer.from("late"));
        near.close(1, "bye");
        client.flush();
      });
      process.exit(42);`,
    ],
  ] as const) {
    test(`${moment} is clean`, async () => {
      assert.deepEqual(await outcome(code), [42]);
    });
  }

  test("can send a last close with flush()", async () => {
    const program = `
      const server = serve();
      const child = (await import("node:child_process")).spawn(process.execPath, [
        "--conditions=@alknet/source", "--input-type=module-typescript", "-e",
        \`import { bind } from "./endpoint.ts";
          import { clientTls } from "./test-identity.ts";
          const client = bind({ address: "127.0.0.1" });
          const tls = clientTls();
          const near = await client.connect({ address: "127.0.0.1", port: \${server.address.port}, tls });
          process.stdin.on("data", () => {
            near.close(5, "leaving at once");
            client.flush();
            process.exit(0);
          });\`,
      ], { stdio: ["pipe", "inherit", "inherit"] });
      const far = (await server.accept())!;
      child.stdin.end("go");
      say(await far.closed);
      await server.close();
    `;
    const reason = { kind: "application", by: "peer", code: 5, reason: "leaving at once" };
    assert.deepEqual(await outcome(program), [0, reason]);
  });
});

suite("what a listener throws", () => {
  test("is an uncaught exception, and every other record of the batch is handled", async () => {
    const program = `
      const { server, client, near, far } = await pair();
      let thrown = 0;
      process.on("uncaughtException", () => thrown++);
      far.onstream = (stream) => {
        stream.ondata = (data, fin) => { if (fin) stream.end(data); };
        throw new Error("in onstream");
      };
      let answers = 0;
      await new Promise<void>((resolve) => {
        for (let count = 0; count < 50; count++) {
          const stream = near.openRaw(Buffer.from("x"), true);
          stream.ondata = (_data, fin) => {
            if (fin && ++answers === 50) resolve();
            throw new Error("in ondata");
          };
        }
      });
      await turn();
      say([answers, thrown]);
      // The same at the end of a connection.
      const ends: string[] = [];
      for (const name of ["first", "second", "third"]) {
        near.openRaw(Buffer.from(name)).onclose = () => {
          ends.push(name);
          throw new Error("in onclose");
        };
      }
      const waiting = near.accept();
      near.close();
      say([ends.sort(), await waiting === undefined, (await near.closed).kind]);
      await Promise.all([client.close(), server.close()]);
      say(thrown);
    `;
    assert.deepEqual(await outcome(program), [
      0,
      [50, 100],
      [["first", "second", "third"], true, "application"],
      103,
    ]);
  });

  test("ends the process as anywhere else", async () => {
    const { status, stderr } = await run(`
      const { near, far } = await pair();
      near.ondatagram = () => { throw new Error("nobody catches this"); };
      far.sendDatagram(Buffer.from("x"));
    `);
    assert.equal(status, 1);
    assert.match(stderr, /nobody catches this/);
  });
});
