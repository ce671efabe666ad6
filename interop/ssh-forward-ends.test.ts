/**
 * How connections of OpenSSH end: with a node that shuts down, without a word, and by what nobody serves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import ssh2 from "ssh2";
import { follow } from "./program.ts";
import { closed, echo, reach, startForwarding, startTarget, until } from "./ssh-forwarding.ts";

test("a subsystem that is handed in is served, with its status, and others are refused with the reason", async () => {
  await using it = await startForwarding(["ssh:exec"], {
    subsystems: {
      async upper(channel, { auth, account }) {
        channel.write(`${auth.peer?.id} ${account.name}\n`);
        for await (const data of channel) channel.write(String(data).toUpperCase());
        return 5;
      },
    },
  });
  const program = it.run(["-s"], "upper");
  program.write("loud");
  program.end();
  const { status, stdout } = await program.ended;
  assert.equal(status, 5);
  assert.match(stdout, /^laptop \S+\nLOUD$/);
  assert.equal(it.server.sessions, 0);

  for (const name of ["other", "constructor"]) {
    const refused = await it.run(["-s"], name).ended;
    assert.equal(refused.status, 126);
    assert.match(refused.stderr, new RegExp(`subsystem "${name}" is not served here`));
  }
  const words = ["-F", it.config("host"), "host"];
  const sftp = await follow(spawn("sftp", words, { stdio: "pipe" }), "sftp").ended;
  assert.match(
    sftp.stderr,
    /subsystem "sftp" is not served here: it comes with a package of its own/,
  );
});

test("a node that shuts down lets a command finish, and says why to who stays", async () => {
  const draining = new AbortController();
  await using it = await startForwarding(["ssh:exec", "tunnel:dial:localhost:*"], {
    draining: draining.signal,
  });
  await using target = await startTarget(echo);
  const short = it.run([], "echo begun; read line; echo finished; exit 3");
  const long = it.run([], "echo begun; sleep 1000");
  const flow = it.run(["-W", `127.0.0.1:${target.port}`]);
  flow.write("x");
  for (const program of [short, long]) await program.waitFor(/begun/);
  await flow.waitFor(/x/);
  draining.abort();
  short.write("\n");
  const finished = await short.ended;
  assert.deepEqual([finished.status, finished.stdout], [3, "begun\nfinished\n"]);
  assert.match((await flow.ended).stderr, /:11: the node is shutting down/);
  const { status, stderr } = await long.ended;
  assert.equal(status, 255);
  assert.match(
    stderr,
    /Received disconnect from 127\.0\.0\.1 port \d+:11: the node is shutting down/,
  );
  await until(() => it.server.sessions === 0 && target.sockets.size === 0);
});

test("a client that is cut off at any state leaves nothing: no process, socket, listener or file", async () => {
  await using it = await startForwarding([
    ...["ssh:exec", "ssh:agent", "tunnel:dial:localhost:*", "tunnel:listen:localhost:*"],
    "tunnel:listen:unix:/**",
  ]);
  await using target = await startTarget(echo);
  await using relay = await startRelay(it.port);
  const agents = (): number =>
    readdirSync("/tmp").filter((name) => name.startsWith("alknet-agent-")).length;
  const before = agents();
  const handles = (): number => process.getActiveResourcesInfo().length;
  // In its handshake: identification, keys, login.
  for (const bytes of [0, 10, 600, 1_400, 2_200, 3_000]) {
    relay.cutAfter(bytes);
    const ssh = it.run(
      ["-o", `Port=${relay.port}`, "-o", "HostKeyAlias=[127.0.0.1]:" + it.port],
      "true",
    );
    await ssh.ended;
  }
  relay.cutAfter(Number.POSITIVE_INFINITY);
  await until(() => relay.streams.size === 0);
  const idle = handles();
  const ssh = it.run(
    [
      ...["-v", "-A", "-o", "HostKeyAlias=[127.0.0.1]:" + it.port, "-o", `Port=${relay.port}`],
      ...["-L", `${it.at("a")}:127.0.0.1:${target.port}`, "-R", `0:127.0.0.1:${target.port}`],
      ...["-R", `${it.at("far")}:127.0.0.1:${target.port}`],
    ],
    "echo begun; sleep 1000",
  );
  await ssh.waitFor(/begun/);
  const [, port = ""] = await ssh.waitFor(/Allocated port (\d+)/);
  const flow = await reach(it.at("a"));
  const inward = await reach(Number(port));
  for (const socket of [flow, inward]) {
    socket.write("x");
    await once(socket, "data");
  }
  const over = [closed(inward)];
  for (const stream of relay.streams) stream.resetAndDestroy();
  await Promise.all(over);
  flow.destroy();
  await ssh.ended;
  await until(() => it.server.sessions === 0 && it.inbound.listeners === 0);
  await until(() => it.outbound.flows === 0 && target.sockets.size === 0 && agents() === before);
  await until(() => handles() <= idle);
});

test("a client that says nothing more is given up, and leaves nothing", async () => {
  // How often it is asked whether it is there; three times without an answer is the end.
  const server = ssh2.Server as unknown as { KEEPALIVE_CLIENT_INTERVAL: number };
  const { KEEPALIVE_CLIENT_INTERVAL: usual } = server;
  server.KEEPALIVE_CLIENT_INTERVAL = 500;
  await using it = await startForwarding(["ssh:exec", "tunnel:listen:localhost:*"]);
  using cleanup = new DisposableStack();
  cleanup.defer(() => void (server.KEEPALIVE_CLIENT_INTERVAL = usual));
  const program = it.run(["-R", "0:127.0.0.1:9"], "echo begun; sleep 1000");
  await program.waitFor(/begun/);
  process.kill(program.pid, "SIGSTOP");
  await until(() => it.server.sessions === 0 && it.inbound.listeners === 0);
  process.kill(program.pid, "SIGKILL");
});

/** Passes on what comes, to a server on 127.0.0.1, and cuts the connection when the client has sent so much. */
async function startRelay(to: number) {
  const streams = new Set<Socket>();
  let limit = Number.POSITIVE_INFINITY;
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    let passed = 0;
    near.on("data", (data: Buffer) => {
      passed += data.length;
      if (passed > limit) for (const each of [near, far]) each.resetAndDestroy();
    });
    for (const each of [near, far]) {
      streams.add(each);
      each.once("close", () => streams.delete(each));
    }
    if (limit === 0) for (const each of [near, far]) each.destroy();
    else void pipeline(near, far, near).catch(() => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    streams,
    cutAfter(bytes: number) {
      limit = bytes;
    },
    async [Symbol.asyncDispose]() {
      for (const stream of streams) stream.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
