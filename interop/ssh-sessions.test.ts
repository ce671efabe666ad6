/**
 * Sessions from their begin to their end, with OpenSSH's `ssh`: what is left of them, and what is shown of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import process from "node:process";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";

test("a hundred sessions, one after another, leave nothing behind: no process, descriptor or listener", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  await using master = await startMaster(it);
  const session = async (options: readonly string[], command: string): Promise<void> => {
    const program = master.run(options, command);
    program.write("line\n");
    program.end();
    assert.match((await program.ended).stdout, /^line\r?$/m);
  };
  const round = async (): Promise<void> => {
    await session([], "cat; exit 3");
    // A client that shares a connection and has no terminal asks for one without any modes: no line, no end.
    await session(["-tt"], "read x; echo $x");
    await session([], "setsid -f true; cat");
    await session(["-tt"], "read x; echo $x; kill -KILL $$");
  };
  // What is made once is there after these.
  await round();
  await until(() => it.server.sessions === 0);
  const before = leftovers();
  for (let count = 0; count < 25; count++) await round();
  await until(() => it.server.sessions === 0);
  // Ends of pipes are heard of one after another.
  await until(() => leftovers().descriptors <= before.descriptors);
  assert.deepEqual(leftovers(), before);
});

test("ten sessions at once on one connection, with and without terminals, keep to themselves", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  await using master = await startMaster(it);
  const command = (at: number): string =>
    `read x; head -c 500000 /dev/zero | tr '\\0' ${at}; exit ${at}`;
  const all = Array.from({ length: 10 }, (_, at) => master.run(at % 2 ? ["-tt"] : [], command(at)));
  for (const program of all) program.write("go\n");
  for (const [at, program] of all.entries()) {
    const { status, stdout } = await program.ended;
    assert.equal(status, at);
    assert.ok(stdout.slice(-200_000) === String(at).repeat(200_000));
  }
});

test("a program that ends while it is written to has its status told, and the connection goes on", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  await using master = await startMaster(it);
  for (const options of [[], ["-tt"]]) {
    const program = master.run(options, "head -c 5; exit 4");
    for (let count = 0; count < 200; count++) program.write(`${"x".repeat(50_000)}\n`);
    const { status, stdout } = await program.ended;
    assert.equal(status, 4);
    assert.match(stdout, /xxxxx$/);
    assert.equal((await master.run([], "echo on").ended).stdout, "on\n");
  }
});

test("list() has the programs that run, and no others", async () => {
  await using it = await startOpenSsh(["ssh:exec", "ssh:shell"]);
  assert.deepEqual(it.server.list(), []);
  const command = "echo ready; read x";
  const program = it.run([], command);
  await program.waitFor(/ready/);
  const shell = it.run(["-tt"]);
  shell.write("echo sh-'el'l\n");
  await shell.waitFor(/sh-ell/);
  const common = { peer: "laptop", user: userInfo().username };
  const [first, second, ...more] = it.server.list();
  assert.deepEqual(more, []);
  const { since, remote, ...rest } = first!;
  assert.deepEqual(rest, { ...common, kind: "exec", terminal: undefined, command });
  assert.match(remote ?? "", /^127\.0\.0\.1:\d+$/);
  assert.ok(since <= second!.since && second!.since <= Date.now());
  assert.deepEqual([second!.kind, second!.command], ["shell", undefined]);
  assert.equal(second!.terminal, process.env["TERM"] ?? "dumb");
  program.write("\n");
  await program.ended;
  await until(() => it.server.sessions === 1);
  assert.equal(it.server.list()[0], second);
  shell.write("exit\n");
  await shell.ended;
});

function leftovers() {
  const children = readdirSync("/proc").filter((name) => parentOf(name) === process.pid);
  return {
    children: children.length,
    descriptors: readdirSync("/proc/self/fd").length,
    listeners: process.listenerCount("exit"),
  };
}

function parentOf(name: string): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1]);
  } catch {
    return -1;
  }
}

/** One connection that others share (`ControlMaster`). */
async function startMaster(it: OpenSsh) {
  const socket = ["-S", it.at("control")];
  const master = it.run(["-v", "-M", "-N", ...socket]);
  await master.waitFor(/Entering interactive session/);
  return {
    run: (options: readonly string[], ...command: string[]) =>
      it.run([...options, ...socket], ...command),
    [Symbol.asyncDispose]: () => master[Symbol.asyncDispose](),
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
