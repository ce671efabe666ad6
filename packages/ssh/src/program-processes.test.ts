import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { killProcesses, type Leader, MARK, startTime } from "./program-processes.ts";

const skip = process.platform === "linux" ? false : "only Linux tells what belongs to a program";

/** Kills while it has no descriptor left; of what has made a session of its own it is told by `/proc` alone. */
const WITHOUT_DESCRIPTORS = `
  import { spawn } from "node:child_process";
  import { closeSync, openSync } from "node:fs";
  import { killProcesses, startTime } from ${JSON.stringify(import.meta.resolve("./program-processes.ts"))};
  const since = startTime();
  const env = { ...process.env, ALKNET_SESSION: "marked" };
  const words = ["-c", "setsid sh -c 'echo; exec sleep 1000' & wait"];
  const child = spawn("sh", words, { env, detached: true, stdio: ["ignore", "pipe", "ignore"] });
  const leader = { pid: child.pid, mark: "marked", since, hasEnded: false };
  child.once("exit", (_, signal) => {
    leader.hasEnded = true;
    console.log(signal);
    for (const each of taken) closeSync(each);
  });
  child.once("close", () => console.log("all of it"));
  const taken = [];
  child.stdout.once("data", () => {
    try {
      for (;;) taken.push(openSync("/dev/null"));
    } catch (error) {
      console.log(error.code);
    }
    killProcesses(leader);
  });
`;

test(
  "killProcesses() throws nothing while no descriptor is left: it kills the group, and the rest as soon as it can",
  { skip },
  async () => {
    const node = [process.execPath, ...process.execArgv, "--input-type=module", "--eval"];
    const words = ["-c", 'ulimit -n 64 && exec "$@"', "sh", ...node, WITHOUT_DESCRIPTORS];
    // It is no test, and must not report as one.
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const child = spawn("sh", words, { stdio: ["ignore", "pipe", "inherit"], env });
    assert.equal(await text(child.stdout), "EMFILE\nSIGKILL\nall of it\n");
  },
);

test(
  "killProcesses() of several programs in one turn kills what each has started, and nothing else",
  { skip },
  async () => {
    const [one, other, third] = [
      await startMarked("one"),
      await startMarked("other"),
      await startMarked("third"),
    ];
    killProcesses(one.leader);
    killProcesses(other.leader);
    // The last who holds it has died.
    await Promise.all([one.over, other.over]);
    const answer = once(third.child.stdout, "data");
    third.child.stdin.write("there?\n");
    assert.equal(String(await answer), "there?\n");
    killProcesses(third.leader);
    await third.over;
  },
);

/** A shell, and below it a program in a session of its own, which says again what it is told. */
async function startMarked(mark: string): Promise<Marked> {
  const since = startTime();
  // What is put into the background has no input unless it is told one.
  const words = ["-c", "exec 3<&0; setsid sh -c 'echo begun; exec cat' <&3 & wait"];
  const env = { ...process.env, [MARK]: mark };
  const child = spawn("sh", words, { env, detached: true, stdio: ["pipe", "pipe", "inherit"] });
  const leader = { pid: child.pid ?? -1, mark, since, hasEnded: false };
  child.once("exit", () => (leader.hasEnded = true));
  await once(child.stdout, "data");
  return { child, leader, over: once(child, "close") };
}

interface Marked {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  readonly leader: Leader;
  readonly over: Promise<unknown>;
}
