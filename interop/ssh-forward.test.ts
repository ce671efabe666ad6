/**
 * `ssh -L`, `-D`, `-W` and `-J` of OpenSSH through `alknet/ssh`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { follow } from "./program.ts";
import { echo, reach, readAll, startForwarding, startTarget, until } from "./ssh-forwarding.ts";

const LOCAL = ["tunnel:dial:localhost:*", "tunnel:dial:unix:/**"];
const BYTES = randomBytes(8 * 2 ** 20);

test("-L carries bytes both ways, to a port and to a Unix socket, and each direction has an end of its own", async () => {
  await using it = await startForwarding(LOCAL);
  // It answers once all has come, and has more to say after its own end was asked for.
  const serve = (socket: Socket): void => {
    const hash = createHash("sha256");
    socket.on("data", (data: Buffer) => void hash.update(data));
    socket.once("end", () => socket.end(Buffer.concat([hash.digest(), BYTES])));
  };
  await using tcp = await startTarget(serve);
  await using _unix = await startTarget(serve, it.at("target"));
  await using _held = await it.hold(
    ...["-L", `${it.at("a")}:localhost:${tcp.port}`],
    ...["-L", `${it.at("b")}:${it.at("target")}`],
  );
  for (const name of ["a", "b"]) {
    const socket = await reach(it.at(name));
    socket.end(BYTES);
    const got = await readAll(socket);
    assert.deepEqual(got.subarray(0, 32), createHash("sha256").update(BYTES).digest());
    assert.ok(got.subarray(32).equals(BYTES));
  }
  await until(() => it.outbound.flows === 0 && tcp.sockets.size === 0);
});

test("-L goes on with what the client sends when the target has ended its direction", async () => {
  await using it = await startForwarding(LOCAL);
  const { promise: got, resolve } = Promise.withResolvers<Buffer>();
  await using target = await startTarget((socket) => {
    socket.end("bye");
    resolve(readAll(socket));
  });
  await using _held = await it.hold("-L", `${it.at("a")}:127.0.0.1:${target.port}`);
  const socket = await reach(it.at("a"));
  assert.equal(String(await readAll(socket)), "bye");
  socket.end(BYTES);
  assert.ok((await got).equals(BYTES));
});

test("ssh is told why a connection was not opened", async () => {
  await using it = await startForwarding([...LOCAL, "tunnel:dial:*.invalid:*"], {
    limits: { flowsPerPeer: 1 },
  });
  const dead = await freePort();
  const said = async (to: string): Promise<string> =>
    (await it.run(["-W", to]).ended).stderr.replace(/\r?\nstdio forwarding failed\r?\n/, "");
  const failed = "channel 0: open failed: connect failed: ";
  const prohibited = "channel 0: open failed: administratively prohibited: ";
  assert.equal(await said(`127.0.0.1:${dead}`), `${failed}127.0.0.1:${dead}: connection refused`);
  assert.equal(await said("None.Invalid.:80"), `${failed}none.invalid:80: name not found`);
  assert.equal(
    await said("192.0.2.1:80"),
    `${prohibited}192.0.2.1:80: not allowed, this key lacks tunnel:dial:192.0.2.1:80`,
  );
  assert.equal(it.refused.at(-1)?.scope, "tunnel:dial:192.0.2.1:80");
  assert.doesNotMatch(it.refused.at(-1)?.reason ?? "", /192/);
  assert.match(await said("in valid:80"), /connect failed: that is no host and port/);

  await using target = await startTarget(echo);
  const first = it.run(["-W", `localhost:${target.port}`]);
  await until(() => target.sockets.size === 1);
  assert.match(await said(`localhost:${target.port}`), /resource shortage: too many flows/);
  first.write("still there");
  await first.waitFor(/still there/);
});

test("ssh is told that a target does not answer, and a connection that is slow holds up no other", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const never = (_host: string, _port: number, signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      resolve();
    });
  await using it = await startForwarding(LOCAL, { connect: never, limits: { deadline: 500 } });
  const slow = it.run(["-W", "127.0.0.1:9"]);
  await asked;
  await using _target = await startTarget(echo, it.at("target"));
  await using _held = await it.hold("-L", `${it.at("a")}:${it.at("target")}`);
  const socket = await reach(it.at("a"));
  socket.end("fast");
  assert.equal(String(await readAll(socket)), "fast");
  assert.match((await slow.ended).stderr, /connect failed: 127\.0\.0\.1:9: timed out/);
});

test("a client that goes while its connection is being opened leaves no attempt behind", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<AbortSignal>();
  const never = (_host: string, _port: number, signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      resolve(signal);
    });
  await using it = await startForwarding(LOCAL, { connect: never });
  const ssh = it.run(["-W", "127.0.0.1:9"]);
  const attempt = await asked;
  await ssh.stop("SIGKILL");
  await until(() => attempt.aborted && it.outbound.flows === 0);
});

test("-D serves curl, with names looked up at the server", async () => {
  await using it = await startForwarding(["tunnel:dial:web.test:*", "tunnel:dial:127.0.0.1:*"], {
    resolve: (host) => Promise.resolve(host === "web.test" ? ["127.0.0.1"] : []),
  });
  const web = createServer((_request, response) => response.end("from far away"));
  web.listen(0, "127.0.0.1");
  await once(web, "listening");
  const { port } = web.address() as AddressInfo;
  await using held = await it.hold("-D", `127.0.0.1:${await freePort()}`);
  const [, socks = ""] = await held.master.waitFor(
    /Local forwarding listening on 127\.0\.0\.1 port (\d+)/,
  );
  const words = ["-sS", "--socks5-hostname", `127.0.0.1:${socks}`, `http://web.test:${port}/`];
  const curl = await follow(spawn("curl", words, { stdio: "pipe" }), "curl").ended;
  web.close();
  assert.deepEqual([curl.stdout, curl.stderr], ["from far away", ""]);
});

test("-J logs in to a server that is reached through another", async () => {
  await using it = await startForwarding([...LOCAL, "ssh:exec"]);
  const config = it.config("first", "second");
  const words = ["-F", config, "-J", "first", "second", "echo $ALKNET_PEER; exit 7"];
  const { status, stdout, stderr } = await follow(spawn("ssh", words), "ssh").ended;
  assert.deepEqual([status, stdout, stderr], [7, "laptop\n", ""]);
});

test("a target that resets ends the flow at once, and no other of the connection", async () => {
  await using it = await startForwarding(LOCAL);
  await using target = await startTarget((socket) => {
    socket.once("data", (data) => {
      if (String(data) === "reset") socket.resetAndDestroy();
      else socket.end(data);
    });
  });
  await using _held = await it.hold("-L", `${it.at("a")}:127.0.0.1:${target.port}`);
  const [first, second] = [await reach(it.at("a")), await reach(it.at("a"))];
  first.write("reset");
  assert.equal(String(await readAll(first)), "");
  first.destroy();
  second.write("echo");
  assert.equal(String(await readAll(second)), "echo");
});

test("a connection that breaks resets what it carried: the target takes nothing for an end", async () => {
  await using it = await startForwarding(LOCAL);
  const { promise: broken, resolve } = Promise.withResolvers<Error>();
  await using target = await startTarget((socket) => {
    socket.once("error", resolve);
    socket.resume();
  });
  await using held = await it.hold("-L", `${it.at("a")}:127.0.0.1:${target.port}`);
  const socket = await reach(it.at("a"));
  socket.write("the first half");
  await until(() => target.sockets.size === 1);
  await held.master.stop("SIGKILL");
  assert.equal(((await broken) as NodeJS.ErrnoException).code, "ECONNRESET");
  await until(() => it.outbound.flows === 0);
});

test("a target that reads nothing, and a client that reads nothing, hold up no other flow", async () => {
  await using it = await startForwarding(LOCAL);
  await using deaf = await startTarget((socket) => socket.pause());
  await using loud = await startTarget((socket) => {
    const more = (): void => {
      while (socket.write(BYTES));
    };
    socket.on("drain", more);
    more();
  });
  await using target = await startTarget(echo);
  await using _held = await it.hold(
    ...["-L", `${it.at("deaf")}:127.0.0.1:${deaf.port}`],
    ...["-L", `${it.at("loud")}:127.0.0.1:${loud.port}`],
    ...["-L", `${it.at("a")}:127.0.0.1:${target.port}`],
  );
  const sender = await reach(it.at("deaf"));
  for (let sent = 0; sent < 32; sent++) sender.write(BYTES);
  const reader = await reach(it.at("loud"));
  await once(reader, "readable");
  for (let round = 0; round < 20; round++) {
    const socket = await reach(it.at("a"));
    socket.end(BYTES.subarray(0, 2 ** 20));
    assert.ok((await readAll(socket)).equals(BYTES.subarray(0, 2 ** 20)));
  }
  assert.ok(sender.writableLength > 0);
  reader.destroy();
  sender.destroy();
});

test("flows take turns: of four that are all read as fast as they come none has less than a third of its share", async () => {
  await using it = await startForwarding(LOCAL);
  const zeros = Buffer.alloc(2 ** 18);
  await using target = await startTarget((socket) => {
    const more = (): void => {
      while (socket.write(zeros));
    };
    socket.on("drain", more);
    more();
  });
  await using _held = await it.hold("-L", `${it.at("a")}:127.0.0.1:${target.port}`);
  const read = [0, 0, 0, 0];
  const sockets = await Promise.all(read.map(() => reach(it.at("a"))));
  const total = 256 * 2 ** 20;
  await new Promise<void>((done) => {
    for (const [at, socket] of sockets.entries()) {
      socket.on("data", (data: Buffer) => {
        read[at] = (read[at] ?? 0) + data.length;
        if (read.reduce((sum, each) => sum + each) >= total) done();
      });
    }
  });
  for (const socket of sockets) socket.destroy();
  assert.ok(Math.min(...read) > total / 4 / 3, `${read.join(" ")}`);
});
