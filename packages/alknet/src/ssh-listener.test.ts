import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { FakeClock } from "@alknet/core/fake-clock";
import { AdmissionLimits } from "@alknet/core/limits";
import { silentLogger } from "@alknet/core/log";
import { staticIdentities } from "@alknet/core/static-identities";
import type { StreamOrigin } from "@alknet/ssh/ssh";
import { CommandError } from "./command-error.ts";
import { listenSsh, type SshListener, type SshListenerOptions } from "./ssh-listener.ts";

interface Served {
  readonly stream: Duplex;
  readonly origin: StreamOrigin;
}

/** A listener, and a protocol on it whose turns are the test's. */
async function listening(options: Partial<SshListenerOptions> = {}) {
  const clock = new FakeClock();
  const limits = new AdmissionLimits({ clock, caps: { pendingPerBlock: 3 } });
  const served: Served[] = [];
  const waiting: ((served: Served) => void)[] = [];
  const listener = await listenSsh({
    listen: [{ host: "127.0.0.1", port: 0 }],
    config: "/etc/alknet.toml",
    ssh: {
      async serve(stream, origin) {
        const each = { stream, origin };
        served.push(each);
        waiting.shift()?.(each);
        stream.resume();
        await closed(stream);
      },
    },
    identities: staticIdentities([]),
    limits,
    drain: 1,
    logger: silentLogger,
    ...options,
  });
  return {
    listener,
    limits,
    served,
    async connect(): Promise<Served & { readonly socket: Socket }> {
      const next = new Promise<Served>((resolve) => void waiting.push(resolve));
      const { host, port } = listener.addresses[0]!;
      const socket = connect({ host, port });
      socket.on("error", () => {});
      await once(socket, "connect");
      return { socket, ...(await next) };
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

const closed = async (socket: Socket | Duplex): Promise<void> => {
  if (!socket.closed) await new Promise((resolve) => void socket.once("close", resolve));
};

test("a connection counts as a handshake until somebody is logged in, then as that peer's", async () => {
  await using it = await listening();
  const { origin, socket, stream } = await it.connect();
  assert.match(origin.remoteAddress ?? "", /^127\.0\.0\.1:[0-9]+$/);
  assert.equal(origin.localAddress, `127.0.0.1:${it.listener.addresses[0]?.port}`);
  assert.deepEqual(it.limits.stats(), { pending: 1, connections: 0, blocks: 1 });
  assert.equal(origin.onlogin?.("laptop"), true);
  assert.deepEqual(it.limits.stats(), { pending: 0, connections: 1, blocks: 1 });
  socket.end();
  await Promise.all([closed(socket), closed(stream)]);
  assert.equal(it.limits.stats().connections, 0);
});

test("of a source that has too many without a login, the oldest makes room", async () => {
  await using it = await listening();
  const first = await it.connect();
  const others = [await it.connect(), await it.connect()];
  const newest = await it.connect();
  await closed(first.socket);
  assert.ok([...others, newest].every(({ stream }) => !stream.destroyed));
});

test("a peer that has all its connections is not logged in once more", async () => {
  await using it = await listening();
  it.limits.change({ caps: { connectionsPerPeer: 1 } });
  const [first, second] = [await it.connect(), await it.connect()];
  assert.equal(first.origin.onlogin?.("laptop"), true);
  assert.equal(second.origin.onlogin?.("laptop"), false);
});

test("who has earned a penalty is not served again", async () => {
  await using it = await listening();
  for (let turn = 0; turn < 3; turn++) {
    const { origin, stream, socket } = await it.connect();
    origin.penalize?.("auth");
    socket.destroy();
    await closed(stream);
  }
  // The listener hears of the end in the same turn.
  await turn();
  assert.ok(it.limits.penalty("127.0.0.1") > 0);
  const before = it.served.length;
  const { host, port } = it.listener.addresses[0]!;
  const socket = connect({ host, port });
  socket.on("error", () => {});
  await closed(socket);
  assert.equal(it.served.length, before);
});

test("close() ends at once who is not logged in, and lets the others finish within the drain time", async () => {
  await using it = await listening({ drain: 60_000 });
  const [stranger, peer] = [await it.connect(), await it.connect()];
  peer.origin.onlogin?.("laptop");
  const done = it.listener.close();
  await closed(stranger.socket);
  assert.equal(peer.stream.destroyed, false);
  peer.socket.end();
  await done;
});

test("close() cuts off who does not finish", async () => {
  await using it = await listening();
  const peer = await it.connect();
  peer.origin.onlogin?.("laptop");
  await it.listener.close();
  await closed(peer.socket);
});

test("a port that is taken is named, with the file and the key that ask for it", async () => {
  await using it = await listening();
  const taken = it.listener.addresses[0]!;
  const refused = (listen: SshListener["addresses"]) => listening({ listen });
  await assert.rejects(refused([{ host: "127.0.0.1", port: 0 }, taken]), (error) => {
    assert.ok(error instanceof CommandError);
    assert.equal(error.code, "EADDRINUSE");
    assert.equal(
      error.message,
      `cannot listen for SSH on 127.0.0.1:${taken.port}: the port is taken`,
    );
    assert.match(error.hint ?? "", /\/etc\/alknet\.toml, listen in \[ssh\]/);
    return true;
  });
});
