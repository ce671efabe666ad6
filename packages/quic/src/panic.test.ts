import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { run } from "./test-child.ts";

/** Two connections of which one is going to panic, and the numbers that the engine has for them. */
const TWO = `
  import { connectionEvents } from "./connection.ts";
  const ids: number[] = [];
  const bindNative = native.bind;
  native.bind = (...args) => {
    ids.push(bindNative(...args));
    return ids.at(-1)!;
  };
  const { server, client, near, far } = await pair();
  const other = await dial(client, server);
  const otherFar = (await server.accept())!;
  otherFar.onstream = (stream) => { stream.ondata = (data, fin) => { if (fin) stream.end(data); }; };
  const echo = (): Promise<string> => new Promise((resolve) => {
    const stream = other.openRaw(Buffer.from("echo"), true);
    stream.ondata = (data, fin) => { if (fin) resolve(String(data)); };
  });
  const finish = async (): Promise<void> => { await Promise.all([client.close(), server.close()]); };
`;

suite("a panic in the engine", () => {
  test("is the error of the call that it happened in", async () => {
    const { said, status, stderr } = await run(`${TWO}
      try { native.panicInCall(ids[0]!); } catch (error) { say(String(error)); }
      say(await echo());
      await finish();
    `);
    assert.deepEqual([status, said], [0, ["Error: injected", "echo"]], stderr);
  });

  for (const [place, reading] of [
    ["in the protocol", false],
    ["while data is handed over", true],
  ] as const) {
    test(`${place} ends that connection only`, async () => {
      const { said, status, stderr } = await run(`${TWO}
        far.onstream = (stream) => { stream.ondata = () => {}; stream.write(Buffer.from("answer")); };
        const stream = near.openRaw(Buffer.from("question"));
        const closed = new Promise((resolve) => { stream.onclose = resolve; });
        native.panicInConnection(ids[1]!, connectionEvents.idOf(near), ${reading});
        stream.ondata = () => say("data");
        say(await near.closed);
        await closed;
        say(client.connectionCount);
        say(await echo());
        // What the peer sends now belongs to no connection, as what it has sent again, on a slow machine, did already.
        try { far.openRaw(Buffer.from("x")); } catch {}
        say(await far.closed);
        say([client.counts.streams, client.counts.handshakes, server.counts.handshakes]);
        await finish();
      `);
      assert.deepEqual(
        [status, said],
        [0, [{ kind: "internal", reason: "panic" }, 1, "echo", { kind: "reset" }, [0, 0, 0]]],
        stderr,
      );
    });
  }

  test("of an ended connection disturbs nobody", async () => {
    const { said, status, stderr } = await run(`${TWO}
      const id = connectionEvents.idOf(near);
      near.close();
      native.panicInConnection(ids[1]!, id, false);
      await new Promise((resolve) => setTimeout(resolve, 50));
      // It may have the place of the one that is gone.
      const third = await dial(client, server);
      say(await echo());
      say(third.alpn);
      await finish();
      say(client.connectionCount);
    `);
    assert.deepEqual([status, said], [0, ["echo", "test", 0]], stderr);
  });

  test("in a handshake is told as a failed handshake", async () => {
    const { said, status, stderr } = await run(`
      import { relay } from "./test-relay.ts";
      const ids: number[] = [];
      const bindNative = native.bind;
      native.bind = (...args) => {
        ids.push(bindNative(...args));
        return ids.at(-1)!;
      };
      let failed = (_failure: object): void => {};
      const failure = new Promise<object>((resolve) => { failed = resolve; });
      const server = serve({ server: { handshakeFailed: (failure) => failed(failure) } });
      const between = await relay(server.address.port, (_datagram, way) => way === "toServer");
      const client = bind({ address: LOOPBACK });
      const dialing = client.connect({ address: LOOPBACK, port: between.port, tls: clientTls() });
      dialing.catch(() => {});
      while (server.handshakeCount === 0) await turn();
      // The first place of the first generation.
      native.panicInConnection(ids[0]!, 2 ** 22, false);
      say(((await failure) as { reason: unknown }).reason);
      say(server.counts.handshakes);
      await client.close();
      await dial(bind({ address: LOOPBACK }).unref(), server).then((connection) => say(connection.alpn));
      await server.close();
      await between[Symbol.asyncDispose]();
    `);
    assert.deepEqual(
      [status, said],
      [0, [{ kind: "internal", reason: "panic" }, 0, "test"]],
      stderr,
    );
  });
});
