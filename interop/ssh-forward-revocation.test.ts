/**
 * Taking back one right ends what stands on it, and nothing else: all kinds of work of one OpenSSH connection at once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { type Socket } from "node:net";
import { test } from "node:test";
import { follow } from "./program.ts";
import {
  closed,
  echo,
  type Forwarding,
  reach,
  startForwarding,
  startTarget,
  until,
} from "./ssh-forwarding.ts";
import type { SshProgram } from "./openssh-client.ts";

/** Something that a right allows, which goes on until that is taken back. */
interface Work {
  readonly right: string;
  /** Rejects once it has ended. */
  works(): Promise<void>;
  readonly ended: Promise<unknown>;
}

/** All that one connection can do, under a right each. */
interface Everything extends AsyncDisposable {
  readonly it: Forwarding;
  readonly work: Readonly<Record<string, Work>>;
}

async function startEverything(): Promise<Everything> {
  const stack = new AsyncDisposableStack();
  const target = stack.use(await startTarget(echo));
  const rights = {
    shell: "ssh:shell",
    exec: "ssh:exec",
    agent: "ssh:agent",
    flow: `tunnel:dial:127.0.0.1:${target.port}`,
    listener: "tunnel:listen:localhost:*",
    "unix flow": "tunnel:dial:unix:/**",
    "unix listener": "tunnel:listen:unix:/**",
  };
  const it = stack.use(await startForwarding(Object.values(rights)));
  stack.use(await startTarget(echo, it.at("target")));
  const agent = stack.use(follow(spawn("ssh-agent", ["-D", "-a", it.at("agent")]), "ssh-agent"));
  await agent.waitFor(/SSH_AUTH_SOCK/);
  const held = stack.use(
    await it.hold(
      ...["-A", "-o", `IdentityAgent=${it.at("agent")}`],
      ...["-L", `${it.at("flow")}:127.0.0.1:${target.port}`],
      ...["-L", `${it.at("unix flow")}:${it.at("target")}`],
      ...["-R", `0:127.0.0.1:${target.port}`, "-R", `${it.at("far")}:127.0.0.1:${target.port}`],
    ),
  );
  const [, port = ""] = await held.master.waitFor(/Allocated port (\d+)/);
  await held.master.waitFor(/all expected forwarding replies received/);
  const exec = held.run(["-T", "-a"], "while read line; do echo $line; done");
  const shell = held.run(["-T", "-a"]);
  const withAgent = held.run(["-T", "-A"], "echo at $SSH_AUTH_SOCK; read end");
  const [, socket = ""] = await withAgent.waitFor(/^at (\/.*)$/m);
  const flowOf = async (right: string, to: string | number): Promise<Work> =>
    flowWork(right, await reach(to));
  const work = {
    shell: programWork(rights.shell, shell, (word) => `echo ${word}\n`),
    exec: programWork(rights.exec, exec, (word) => `${word}\n`),
    agent: { ...(await agentWork(rights.agent, socket)) },
    flow: await flowOf(rights.flow, it.at("flow")),
    listener: await flowOf(rights.listener, Number(port)),
    "unix flow": await flowOf(rights["unix flow"], it.at("unix flow")),
    "unix listener": await flowOf(rights["unix listener"], it.at("far")),
  };
  for (const each of Object.values(work)) await each.works();
  return { it, work, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

let words = 0;

function programWork(right: string, program: SshProgram, line: (word: string) => string): Work {
  return {
    right,
    ended: program.ended,
    async works() {
      const word = `word${++words}`;
      program.write(line(word));
      await program.waitFor(new RegExp(`^${word}$`, "m"));
    },
  };
}

function flowWork(right: string, socket: Socket): Work {
  let got = "";
  socket.on("data", (data: Buffer) => (got += String(data)));
  socket.once("end", () => socket.end());
  const ended = closed(socket);
  return {
    right,
    ended,
    async works() {
      const word = `word${++words}`;
      socket.write(word);
      await Promise.race([
        until(() => got.includes(word)),
        ended.then(() => assert.fail(`${right} has ended`)),
      ]);
    },
  };
}

/** SSH_AGENTC_REQUEST_IDENTITIES: an answer of no keys. */
async function agentWork(right: string, path: string): Promise<Work> {
  const socket = await reach(path);
  let got = 0;
  socket.on("data", (data: Buffer) => (got += data.length));
  socket.once("end", () => socket.end());
  return {
    right,
    ended: closed(socket).then(() => assert.equal(existsSync(path), false)),
    async works() {
      const before = got;
      socket.write(Buffer.from([0, 0, 0, 1, 11]));
      await until(() => got >= before + 9);
    },
  };
}

for (const name of [
  ...["shell", "exec", "agent", "flow", "listener", "unix flow", "unix listener"],
]) {
  test(`taking back the right to the ${name} ends it, and nothing else of the connection`, async () => {
    await using all = await startEverything();
    const { it, work } = all;
    // The session that the agent is for has a command.
    const others = Object.entries(work).filter(
      ([other]) => other !== name && !(name === "exec" && other === "agent"),
    );
    it.allow(
      Object.values(work).flatMap(({ right }) => (right === work[name]?.right ? [] : right)),
    );
    await work[name]?.ended;
    for (const [, other] of others) await other.works();
    const left = name.includes("listener") ? 1 : 2;
    assert.equal(it.inbound.listeners, left);
  });
}

test("taking back the key ends all of it", async () => {
  await using all = await startEverything();
  all.it.identities.replace([]);
  await Promise.all(Object.values(all.work).map(({ ended }) => ended));
  await until(() => all.it.inbound.listeners === 0 && all.it.outbound.flows === 0);
  await until(() => all.it.server.sessions === 0);
});
