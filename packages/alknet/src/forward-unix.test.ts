import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempDisposableSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { readAll, tcpServer } from "@alknet/tunnel/testing";
import { run, start, startNode, testHome } from "./testing.ts";

const skip = process.platform === "win32" ? "no Unix sockets" : false;

/** Two paths in a folder that goes with its test. */
function sockets() {
  const folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  return {
    near: join(folder.path, "near.sock"),
    far: join(folder.path, "far.sock"),
    [Symbol.dispose]: () => folder.remove(),
  };
}

async function ask(path: string): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.end("there?");
  return String(await readAll(socket));
}

const echo = (socket: Socket): unknown => socket.pipe(socket);

for (const transport of ["quic", "tcp"]) {
  test(
    `alknet forward listens at Unix sockets over ${transport}, and removes them at Ctrl-C and SIGHUP`,
    { skip },
    async () => {
      using laptop = testHome();
      using paths = sockets();
      await using web = await tcpServer(echo);
      const scopes = ["tunnel:dial:localhost:*", `tunnel:dial:unix:${paths.far}`];
      await using node = await startNode(laptop, scopes);
      // What a socket of the far side leads to: here a forward to the first target.
      const words = ["forward", node.ticket, `--${transport}`, "--json"];
      await using behind = start(laptop, [...words, `${paths.far}:localhost:${web.to.port}`]);
      await behind.ready;
      await using program = start(laptop, [...words, `${paths.near}:${paths.far}`]);
      const ready = await program.ready;
      assert.deepEqual(ready["forwards"], [{ listen: paths.near, target: paths.far }]);
      assert.equal(statSync(paths.near).mode & 0o777, 0o600);
      assert.equal(await ask(paths.near), "there?");
      program.child.kill("SIGINT");
      behind.child.kill("SIGHUP");
      for (const each of [program, behind]) assert.equal((await each.exited).code, 130);
      assert.deepEqual([existsSync(paths.near), existsSync(paths.far)], [false, false]);
    },
  );
}

test(
  "alknet forward takes the place of a socket that a killed one left, says so, and takes no other",
  { skip },
  async () => {
    using laptop = testHome();
    using paths = sockets();
    await using web = await tcpServer(echo);
    await using node = await startNode(laptop, ["tunnel:dial:localhost:*"]);
    const words = ["forward", node.ticket, `${paths.near}:localhost:${web.to.port}`];
    await using killed = start(laptop, [...words, "--json"]);
    await killed.ready;
    killed.child.kill("SIGKILL");
    await killed.exited;
    assert.ok(existsSync(paths.near));
    await using next = start(laptop, [...words, "--json"]);
    await next.ready;
    assert.match(next.stderr(), new RegExp(`replaces ${paths.near}: nobody listened there`));
    assert.equal(await ask(paths.near), "there?");

    writeFileSync(paths.far, "another's");
    for (const path of [paths.near, paths.far]) {
      const taken = await run(laptop, ["forward", node.ticket, `${path}:localhost:1`]);
      assert.equal(taken.code, 1);
      const text = `alknet: cannot listen: EADDRINUSE: something is there already, ${path}\nhint: choose another path for the socket\n`;
      assert.equal(taken.stderr, text);
    }
    assert.equal(await ask(paths.near), "there?");
  },
);

test(
  "alknet forward that is told twice to end leaves no socket, whatever goes through it",
  { skip },
  async () => {
    using laptop = testHome();
    using paths = sockets();
    await using web = await tcpServer(echo);
    await using node = await startNode(laptop, ["tunnel:dial:localhost:*"]);
    const spec = `${paths.near}:localhost:${web.to.port}`;
    await using program = start(laptop, ["forward", node.ticket, spec, "--json"]);
    await program.ready;
    const socket = connect({ path: paths.near, allowHalfOpen: true });
    socket.on("error", () => {});
    socket.write("x");
    await once(socket, "data");
    program.child.kill("SIGTERM");
    program.child.kill("SIGINT");
    assert.equal((await program.exited).code, 130);
    assert.equal(existsSync(paths.near), false);
    socket.destroy();
  },
);

test("alknet forward --udp refuses Unix sockets on either side", async () => {
  using laptop = testHome();
  for (const spec of ["/run/a.sock:localhost:53", "53:/run/a.sock"]) {
    const { code, stderr } = await run(laptop, ["forward", "--udp", "den", spec]);
    assert.equal(code, 2);
    assert.match(stderr, /by UDP: expected ports on both sides/);
  }
});
