import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { createIdentity } from "./identity-file.ts";
import { alice, ask, dialer, node, serve, settle, target } from "./test-dialer.ts";
import { ELSEWHERE, LOOPBACK, forgetfulPath } from "./test-paths.ts";
import { freePort } from "./testing-port.ts";

test("open() shares a connection over QUIC with all that want the same, and lets it go after 30 s", async () => {
  await using endpoint = await serve();
  const clock = new FakeClock();
  await using it = dialer({ clock });
  const bob = createIdentity();
  const opened = await Promise.all(
    Array.from({ length: 20 }, () => it.open(target(endpoint.port), "alknet/echo")),
  );
  const [{ connection }] = opened as [(typeof opened)[0]];
  for (const each of opened) {
    assert.equal(each.connection, connection);
    assert.equal(each.multiplexed, true);
  }
  const answers = await Promise.all(opened.map(({ stream }, i) => ask(stream, `${i}`)));
  assert.deepEqual(
    answers,
    opened.map((_, i) => `${i}`),
  );
  const other = await it.open(target(endpoint.port), "alknet/echo", { identity: bob });
  assert.notEqual(other.connection, connection, "another identity, another connection");
  other.stream.destroy();

  await settle();
  clock.advance(29_000);
  const late = await it.open(target(endpoint.port), "alknet/echo");
  assert.equal(late.connection, connection);
  clock.advance(60_000);
  await settle();
  assert.equal(await Promise.race([connection.closed, settle()]), undefined, "it has a stream");
  assert.equal(await ask(late.stream, "hello"), "hello");
  await settle();
  clock.advance(29_999);
  assert.equal(await Promise.race([connection.closed, settle()]), undefined);
  clock.advance(1);
  assert.equal((await connection.closed).name, "OK");
  const fresh = await it.open(target(endpoint.port), "alknet/echo");
  assert.notEqual(fresh.connection, connection);
  fresh.stream.destroy();
});

test("open() over TCP is a connection of its own, which ends with its stream", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const options = { transports: ["tcp"] } as const;
  const opened = await Promise.all(
    Array.from({ length: 5 }, () => it.open(target(endpoint.port), "alknet/echo", options)),
  );
  assert.equal(new Set(opened.map(({ connection }) => connection)).size, 5);
  for (const { stream, connection, multiplexed } of opened) {
    assert.equal(multiplexed, false);
    assert.equal(await ask(stream, "hello"), "hello");
    await connection.closed;
  }
});

test("open() of one who gives up leaves the others their connection", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const stop = new AbortController();
  const reason = new Error("enough");
  const gaveUp = assert.rejects(
    it.open(target(endpoint.port), "alknet/echo", { signal: stop.signal }),
    reason,
  );
  const other = it.open(target(endpoint.port), "alknet/echo");
  stop.abort(reason);
  await gaveUp;
  const { stream } = await other;
  assert.equal(await ask(stream, "hello"), "hello");
});

test("open() dials anew when the peer has come back", async () => {
  const port = await freePort();
  const listen = [`${LOOPBACK}:${port}`];
  const endpoint = await serve({ listen });
  await using it = dialer();
  const first = await it.open(target(port), "alknet/echo");
  assert.equal(await ask(first.stream, "hello"), "hello");
  await endpoint.close();
  assert.equal((await first.connection.closed).name, "OK");
  await using again = await serve({ listen });
  const second = await it.open(target(again.port), "alknet/echo");
  assert.notEqual(second.connection, first.connection);
  assert.equal(await ask(second.stream, "hello again"), "hello again");
});

/** A stream of a connection that is shared, over a path that can forget it, and how to have one more. */
async function overForgetfulPath() {
  await using made = new AsyncDisposableStack();
  const endpoint = made.use(await serve());
  const path = made.use(await forgetfulPath(endpoint.port));
  const clock = new FakeClock();
  const it = made.use(dialer({ clock }));
  const there = target(path.port, ELSEWHERE);
  const open = (signal?: AbortSignal) => it.open(there, "alknet/echo", { signal });
  const old = await open();
  const owned = made.move();
  return { path, clock, open, old, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Until a connection whose last packet came before now passes for silent. */
async function silence(): Promise<void> {
  const begin = performance.now();
  while (performance.now() - begin < 150) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("open() gives a stream of a fresh connection when the shared one has died without a word", async () => {
  await using shared = await overForgetfulPath();
  const { path, clock, open, old } = shared;
  old.stream.write("before");
  await once(old.stream, "readable");
  assert.equal(String(old.stream.read()), "before");
  path.forget();
  await silence();

  // The first one in doubt gets its stream at once; when another connection answers, it ends as by a time-out.
  const doubted = await open();
  assert.equal(doubted.connection, old.connection);
  const ended = assert.rejects(ask(doubted.stream, "is anybody there?"), {
    code: "TIMEOUT",
  });
  while (path.swallowed() === 0) await settle(1);
  clock.advance(5_000);
  const fresh = await open();
  await ended;
  assert.notEqual(fresh.connection, old.connection);
  assert.equal(await ask(fresh.stream, "hello"), "hello");

  // What was there before the doubt is left alone: the path may come back.
  path.remember();
  old.stream.write("after");
  await once(old.stream, "readable");
  assert.equal(String(old.stream.read()), "after");
  old.stream.end();
  old.stream.resume();
  assert.equal((await old.connection.closed).name, "OK", "and with its last stream it goes");
  const last = await open();
  assert.equal(last.connection, fresh.connection);
  last.stream.destroy();
});

test("open() stays with a connection that answers after all", async () => {
  await using shared = await overForgetfulPath();
  const { path, clock, open, old } = shared;
  assert.equal(await ask(old.stream, "hello"), "hello");
  await silence();

  // Silent and alive: the answer is there before anybody is in a hurry.
  const second = await open();
  assert.equal(await ask(second.stream, "hello"), "hello");
  clock.advance(5_000);
  const third = await open();
  assert.equal(third.connection, old.connection);
  assert.equal(await ask(third.stream, "hello"), "hello");
  await silence();

  // Nothing passes for a while, old or new: who answers first when it does is not known, and both will do.
  path.cut = true;
  const doubted = await open();
  const answer = ask(doubted.stream, "hello").catch((error: { code: string }) => error.code);
  clock.advance(5_000);
  const waiting = open();
  await settle();
  path.cut = false;
  const { stream, connection } = await waiting;
  assert.equal(await ask(stream, "hello"), "hello");
  assert.equal(await answer, connection === old.connection ? "hello" : "TIMEOUT");
});

test("open() fails as a dial does when the shared connection is dead and there is no way to the peer", async () => {
  await using shared = await overForgetfulPath();
  const { path, clock, open, old } = shared;
  assert.equal(await ask(old.stream, "hello"), "hello");
  path.cut = true;
  await silence();
  const doubted = await open();
  doubted.stream.on("error", () => {});
  clock.advance(5_000);
  const stop = new AbortController();
  const reason = new Error("enough");
  const gaveUp = assert.rejects(open(stop.signal), reason);
  const failed = assert.rejects(open(), { code: "UNREACHABLE" });
  await settle();
  stop.abort(reason);
  await gaveUp;
  clock.advance(10_000);
  await failed;
  // And when it comes back, the next one has a stream.
  path.cut = false;
  const { stream } = await open();
  assert.equal(await ask(stream, "hello again"), "hello again");
  // It may be the old connection that was first to answer, and that ends with its last stream.
  doubted.stream.destroy();
});

test("a node that was killed and came back tells an old connection so at once", async () => {
  const program = `
    import { createEndpoint } from "@alknet/core/endpoint";
    import { identityFromKey } from "@alknet/core/identity-file";
    import { staticIdentities } from "@alknet/core/static-identities";
    import { createPrivateKey } from "node:crypto";
    const key = createPrivateKey(process.env.NODE_KEY);
    const endpoint = await createEndpoint({
      identity: identityFromKey(key),
      identities: staticIdentities([{ peerId: "alice", fingerprints: [process.env.ALICE], scopes: [], enabled: true }]),
      handlers: [{
        alpns: ["alknet/echo"], access: "peers", tls: "node",
        async handle(connection) {
          for (;;) {
            const stream = await connection.accept();
            if (stream === undefined) return;
            stream.pipe(stream);
          }
        },
      }],
      listen: [process.env.LISTEN],
    });
    console.log("ready");
  `;
  const port = await freePort();
  const run = async () => {
    const child = spawn(
      process.execPath,
      ["--conditions=@alknet/source", "--input-type=module", "--eval", program],
      {
        cwd: import.meta.dirname,
        env: {
          ...process.env,
          LISTEN: `${LOOPBACK}:${port}`,
          ALICE: alice.fingerprint,
          NODE_KEY: node.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
        },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(child.stdout, "data");
    return child;
  };
  await using it = dialer();
  const before = await run();
  const first = await it.open(target(port), "alknet/echo");
  first.stream.on("error", () => {});
  first.stream.write("hello");
  await once(first.stream, "readable");
  before.kill("SIGKILL");
  await once(before, "exit");
  const after = await run();
  try {
    // What is sent now meets a node that knows nothing of it, and says so: else it would be TIMEOUT.
    first.stream.write("are you there?");
    assert.equal((await first.connection.closed).name, "RESET");
    const second = await it.open(target(port), "alknet/echo");
    assert.equal(await ask(second.stream, "hello again"), "hello again");
  } finally {
    after.kill("SIGKILL");
    await once(after, "exit");
  }
});
