/**
 * `ssh -R` of OpenSSH through `alknet/ssh`: ports and Unix sockets of the far side.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import {
  closed,
  echo,
  type Held,
  reach,
  readAll,
  startForwarding,
  startTarget,
  until,
} from "./ssh-forwarding.ts";

const LISTEN = ["tunnel:listen:localhost:*", "tunnel:listen:unix:/tmp/**"];
const BYTES = randomBytes(8 * 2 ** 20);

/** The ports that were given for port 0, in the order of the requests. */
async function allocated({ master }: Held, count: number): Promise<number[]> {
  const told = /Allocated port (\d+) for remote forward/g;
  await master.waitFor(new RegExp(`(?:${told.source}[^]*){${count}}`));
  return [...master.output.matchAll(told)].map(([, port]) => Number(port));
}

async function isDead(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const result = await Promise.race([once(socket, "connect"), once(socket, "error")]).catch(
    (error: Error) => [error],
  );
  socket.destroy();
  return (result[0] as NodeJS.ErrnoException | undefined)?.code === "ECONNREFUSED";
}

test("-R carries bytes both ways, from ports that are told and from a Unix socket, each direction to its end", async () => {
  await using it = await startForwarding(LISTEN);
  await using replier = await startTarget((socket) => {
    void readAll(socket).then((all) => socket.end(all));
  });
  await using greeter = await startTarget((socket) => {
    socket.end("bye");
    void readAll(socket).then((all) => assert.ok(all.equals(BYTES)));
  });
  await using held = await it.hold(
    ...["-R", `0:127.0.0.1:${replier.port}`, "-R", `0:127.0.0.1:${greeter.port}`],
    ...["-R", `${it.at("far")}:127.0.0.1:${replier.port}`],
  );
  const [first = 0, second = 0] = await allocated(held, 2);
  await until(() => existsSync(it.at("far")));
  assert.equal(statSync(it.at("far")).mode & 0o777, 0o600);
  for (const to of [first, it.at("far")]) {
    const socket = await reach(to);
    socket.end(BYTES);
    assert.ok((await readAll(socket)).equals(BYTES));
  }
  const greeted = await reach(second);
  assert.equal(String(await readAll(greeted)), "bye");
  greeted.end(BYTES);
  await until(() => greeter.sockets.size === 0);
  assert.equal(it.inbound.listeners, 3);
  await held.master.stop();
  await until(() => it.inbound.listeners === 0);
  assert.ok(!existsSync(it.at("far")));
});

test("a cancel ends the listener that it names, and neither another nor what came by it", async () => {
  await using it = await startForwarding(LISTEN);
  await using target = await startTarget(echo);
  const [a, b] = [await freePort(), await freePort()];
  const spec = (port: number): string => `${port}:127.0.0.1:${target.port}`;
  await using held = await it.hold(
    ...["-R", spec(a), "-R", spec(b), "-R", `${it.at("far")}:127.0.0.1:${target.port}`],
  );
  await held.master.waitFor(/all expected forwarding replies received/);
  const socket = await reach(a);
  for (const cancelled of [spec(a), `${it.at("far")}:127.0.0.1:${target.port}`]) {
    const ended = await held.run(["-O", "cancel", "-R", cancelled]).ended;
    assert.equal(ended.status, 0, ended.stderr);
  }
  await until(() => it.inbound.listeners === 1);
  assert.ok((await isDead(a)) && !existsSync(it.at("far")));
  socket.end("goes on");
  assert.equal(String(await readAll(socket)), "goes on");
  const other = await reach(b);
  other.end("too");
  assert.equal(String(await readAll(other)), "too");
  // And again, on the connection that stands.
  const again = await held.run(["-O", "forward", "-R", spec(a)]).ended;
  assert.equal(again.status, 0, again.stderr);
  (await reach(a)).destroy();
});

test("ssh tells why there is no listener: in the first session, and with -v where there is none", async () => {
  await using it = await startForwarding([...LISTEN, "ssh:exec"]);
  await using taken = await startTarget(echo);
  const warning = `Warning: remote port forwarding failed for listen port ${taken.port}\r\n`;
  const reason = `alknet: cannot listen: localhost:${taken.port}: something is there already`;
  const spec = ["-R", `${taken.port}:127.0.0.1:9`];
  const quiet = await it.run(spec, "echo ran").ended;
  assert.deepEqual([quiet.status, quiet.stdout], [0, "ran\n"]);
  assert.ok(quiet.stderr.includes(warning) && quiet.stderr.includes(`${reason}\r\n`), quiet.stderr);

  const strict = await it.run(["-v", "-N", "-o", "ExitOnForwardFailure=yes", ...spec]).ended;
  assert.equal(strict.status, 255);
  assert.ok(strict.stderr.includes(`Remote: ${reason}`), strict.stderr);
  assert.match(strict.stderr, /Error: remote port forwarding failed for listen port/);

  const policy = await it.run(["-R", "192.0.2.1:8080:127.0.0.1:9"], "true").ended;
  assert.match(
    policy.stderr,
    /192\.0\.2\.1:8080: not allowed, .*lacks tunnel:listen:192\.0\.2\.1:8080/,
  );
  assert.equal(it.refused.at(-1)?.scope, "tunnel:listen:192.0.2.1:8080");

  writeFileSync(it.at("file"), "mine");
  const unix = await it.run(["-R", `${it.at("file")}:127.0.0.1:9`], "cat file").ended;
  assert.match(unix.stderr, /file: something is there already/);
  assert.equal(unix.stdout, "mine");
});

test("the address that is asked for is the one that rights are held against", async () => {
  await using it = await startForwarding(["tunnel:listen:127.0.0.1:*", "ssh:exec"]);
  for (const [address, allowed] of [
    ["127.0.0.1", true],
    ["localhost", true],
    ["*", false],
    ["0.0.0.0", false],
    ["127.0.0.2", false],
  ] as const) {
    const words = ["-o", "ExitOnForwardFailure=yes", "-R", `${address}:0:127.0.0.1:9`];
    const { status, stderr } = await it.run(words, "true").ended;
    assert.equal(status, allowed ? 0 : 255, `${address}: ${stderr}`);
  }
});

test("one connection has so many listeners, and no more", async () => {
  await using it = await startForwarding(LISTEN);
  const words = Array.from({ length: 65 }, (_, at) => ["-R", `0:127.0.0.1:${9 + at}`]).flat();
  await using held = await it.hold(...words);
  await held.master.waitFor(/Remote: alknet: cannot listen: .*too many listeners/);
  assert.equal(it.inbound.listeners, 64);
});

test("a client that is killed leaves no listener, and resets what came by it", async () => {
  await using it = await startForwarding(LISTEN);
  await using target = await startTarget(echo);
  await using held = await it.hold("-R", `0:127.0.0.1:${target.port}`);
  const [port = 0] = await allocated(held, 1);
  const socket = await reach(port);
  socket.write("half");
  await once(socket, "data");
  const over = closed(socket);
  await held.master.stop("SIGKILL");
  assert.equal((await over)?.code, "ECONNRESET");
  await until(() => it.inbound.listeners === 0);
  assert.ok(await isDead(port));
});

test("a target that is not there at the client's end resets who came, and the listener stays", async () => {
  await using it = await startForwarding(LISTEN);
  await using held = await it.hold("-R", `0:127.0.0.1:${await freePort()}`);
  const [port = 0] = await allocated(held, 1);
  for (let round = 0; round < 3; round++) {
    assert.equal((await closed(await reach(port)))?.code, "ECONNRESET");
  }
  assert.equal(it.inbound.listeners, 1);
});
