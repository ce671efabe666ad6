import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./test-child.ts";

/** `spawnWorker(program)`: a worker with the imports of every program, that gets what `say` says. */
const WORKERS = `
  import { once } from "node:events";
  import { Worker } from "node:worker_threads";
  const HEAD = \`
    import { parentPort, workerData } from "node:worker_threads";
    const { bind } = await import(workerData.base + "endpoint.ts");
    const { clientTls, dial, LOOPBACK, pair, serve } = await import(workerData.base + "test-identity.ts");
  \`;
  const spawnWorker = (program: string, data: object = {}): Worker => {
    const base = new URL("./", import.meta.url).href;
    return new Worker(new URL("data:text/javascript," + encodeURIComponent(HEAD + program)), {
      workerData: { base, ...data },
    });
  };
  const TRAFFIC = \`
    const { server, client, near, far } = await pair();
    far.onstream = (stream) => {
      stream.ondata = (data, fin) => { if (stream.sending) stream.write(data, fin); };
    };
    let transfers = 0;
    const transfer = () => {
      const stream = near.openRaw(Buffer.alloc(100_000, 1), true);
      let length = 0;
      stream.ondata = (data, fin) => {
        length += data.length;
        if (!fin) return;
        if (length !== 100_000) throw new Error("got " + length);
        if (++transfers === 20) parentPort.postMessage("busy");
        transfer();
      };
    };
    for (let count = 0; count < 4; count++) transfer();
  \`;
`;

async function outcome(program: string): Promise<unknown[]> {
  const { status, signal, stderr, said } = await run(WORKERS + program);
  assert.equal(stderr, "");
  return [status ?? signal, ...said];
}

test("workers have endpoints of their own, beside those of the main thread", async () => {
  const program = `
    const server = serve();
    const workers = Array.from({ length: 3 }, (_, index) => spawnWorker(\`
      const client = bind({ address: LOOPBACK });
      const near = await client.connect({ address: LOOPBACK, port: workerData.port, tls: clientTls() });
      const stream = await near.open();
      stream.end("from worker " + workerData.index);
      stream.on("data", (data) => parentPort.postMessage(String(data)));
      stream.on("end", () => void client.close());
    \`, { index, port: server.address.port }));
    const answers = workers.map(async (worker) => (await once(worker, "message"))[0]);
    for (let count = 0; count < workers.length; count++) {
      const far = (await server.accept())!;
      void far.accept().then((stream) => stream!.pipe(stream!).on("error", () => {}));
    }
    for (const answer of await Promise.all(answers)) say(answer);
    // They end by themselves.
    say(await Promise.all(workers.map(async (worker) => (await once(worker, "exit"))[0])));
    await server.close();
  `;
  assert.deepEqual(await outcome(program), [
    0,
    "from worker 0",
    "from worker 1",
    "from worker 2",
    [0, 0, 0],
  ]);
});

test("terminate() in mid-traffic leaves the others and the process alone", async () => {
  const program = `
    const { server, client, near, far } = await pair();
    far.onstream = (stream) => {
      stream.ondata = (data, fin) => { if (stream.sending) stream.write(data, fin); };
    };
    for (let round = 0; round < 6; round++) {
      const workers = Array.from({ length: 3 }, () => spawnWorker(TRAFFIC));
      await Promise.all(workers.map((worker) => once(worker, "message")));
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    const stream = near.openRaw(Buffer.from("undisturbed"), true);
    say(await new Promise((resolve) => {
      stream.ondata = (data, fin) => { if (fin) resolve(String(data)); };
    }));
    await Promise.all([client.close(), server.close()]);
  `;
  assert.deepEqual(await outcome(program), [0, "undisturbed"]);
});

test("terminate() at any moment, and process.exit() in a worker, are clean", async () => {
  const program = `
    for (let delay = 0; delay < 40; delay++) {
      const worker = spawnWorker(TRAFFIC);
      await once(worker, "online");
      await new Promise((resolve) => setTimeout(resolve, delay * 3));
      await worker.terminate();
    }
    const codes: unknown[] = [];
    for (const moment of [
      "bind({ address: LOOPBACK }); process.exit(7);",
      TRAFFIC + "setTimeout(() => process.exit(7), 50);",
      TRAFFIC + "far.onstream = () => process.exit(7);",
      "await dial(bind({ address: LOOPBACK }), serve({ server: { configure: () => process.exit(7) } }));",
      "await dial(bind({ address: LOOPBACK }), serve({ server: { admit: () => process.exit(7) } }));",
    ]) {
      codes.push((await once(spawnWorker(moment), "exit"))[0]);
    }
    say(codes);
  `;
  assert.deepEqual(await outcome(program), [0, [7, 7, 7, 7, 7]]);
});

test("process.exit() of the main thread while workers are busy is clean", async () => {
  const program = `
    const workers = Array.from({ length: 3 }, () => spawnWorker(TRAFFIC));
    await Promise.all(workers.map((worker) => once(worker, "message")));
    process.exit(42);
  `;
  assert.deepEqual(await outcome(program), [42]);
});

test("the engine may be loaded by workers alone, one after the other and at once", async () => {
  // Whatever belongs to the thread that loaded it first must not be needed by the next one.
  const { status, signal, stderr } = await run(
    `
      import { once } from "node:events";
      import { Worker } from "node:worker_threads";
      const endpoint = new URL("./endpoint.ts", import.meta.url).href;
      const program = \`
        const { bind } = await import(\${JSON.stringify(endpoint)});
        await bind({ address: "127.0.0.1" }).close();
      \`;
      const worker = (): Worker =>
        new Worker(new URL("data:text/javascript," + encodeURIComponent(program)));
      for (let round = 0; round < 5; round++) await once(worker(), "exit");
      for (let round = 0; round < 10; round++) {
        const ended = [worker(), worker(), worker()].map(async (worker, index) => {
          if (index < 2) return await once(worker, "exit");
          await new Promise((resolve) => setTimeout(resolve, round * 10));
          return await worker.terminate();
        });
        await Promise.all(ended);
      }
    `,
    [],
    "",
  );
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: "" });
});

test("workers that come and go leave no memory behind", async () => {
  const program = `
    const rounds = async (count: number): Promise<number> => {
      for (let round = 0; round < count; round++) {
        const worker = spawnWorker(TRAFFIC);
        await once(worker, "message");
        await worker.terminate();
      }
      return process.memoryUsage.rss() / 2 ** 20;
    };
    const before = await rounds(10);
    const after = await rounds(20);
    say(after - before < 60 ? "flat" : { before, after });
  `;
  assert.deepEqual(await outcome(program), [0, "flat"]);
});
