/**
 * Preloaded into every test file: one that leaves a handle or a process behind fails, and says which.
 *
 * Without it such a file hangs the whole run, past `--test-timeout` too: the runner waits until nobody can write
 * to a file's output any more.
 *
 * @module
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";
import { after } from "node:test";

/** How long a file may take to end after its last test, its own `after` included, in milliseconds. */
const GRACE = 30_000;

// Preloaded into the runner as well, and into what a test file starts: threads, and programs by its own options.
const { NODE_TEST_CONTEXT: context, ALKNET_TEST_FILE: file } = process.env;
if (context !== undefined && file === undefined) {
  process.env["ALKNET_TEST_FILE"] = String(process.pid);
  const own = process.getActiveResourcesInfo();
  after(() => {
    setTimeout(() => {
      const open = process.getActiveResourcesInfo();
      for (const name of own) {
        if (open.includes(name)) open.splice(open.indexOf(name), 1);
      }
      const names = open.join(", ") || "a handle of native code";
      process.stderr.write(`still open ${GRACE} ms after the last test: ${names}\n`);
      process.exit(1);
    }, GRACE).unref();
  });
  process.on("exit", () => {
    const left = writersOfOurs();
    if (left.length === 0) return;
    process.exitCode ||= 1;
    for (const { pid, command } of left) {
      process.stderr.write(`still running after the last test, now killed: ${pid} ${command}\n`);
      process.kill(pid, "SIGKILL");
    }
  });
}

/** All other processes that have this one's output or errors open. */
function writersOfOurs(): { readonly pid: number; readonly command: string }[] {
  let ours: ReadonlySet<string>;
  try {
    ours = new Set(["1", "2"].map((fd) => readlinkSync(`/proc/self/fd/${fd}`)).filter(isPipe));
  } catch {
    // Not Linux.
    return [];
  }
  const others = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return others.flatMap((name) => {
    const pid = Number(name);
    // Each of them may end at any moment, or be another user's.
    try {
      if (pid === process.pid || pid === process.ppid) return [];
      const links = readdirSync(`/proc/${pid}/fd`).map((fd) =>
        readlinkSync(`/proc/${pid}/fd/${fd}`),
      );
      if (!links.some((link) => ours.has(link))) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      return [{ pid, command }];
    } catch {
      return [];
    }
  });
}

/** Not a terminal or a file, which others may have open as well. */
function isPipe(link: string): boolean {
  return link.startsWith("socket:") || link.startsWith("pipe:");
}
