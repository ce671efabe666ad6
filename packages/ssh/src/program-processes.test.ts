import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";

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
