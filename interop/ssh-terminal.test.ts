/**
 * Terminals, with OpenSSH's `ssh`, which has one of its own where it matters.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runOnTerminal } from "@alknet/ssh/program";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";

test("a terminal has the modes and the size of the client's, before the program sees it", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const modes = "intr ^X eof ^E erase ^H -echo -icrnl ixany iutf8 -onlcr tostop rows 33 cols 99";
  const local = await startLocal(it, modes, "stty -a");
  const shown = await text(local.stdout);
  for (const each of ["intr = ^X;", "eof = ^E;", "erase = ^H;", "rows 33; columns 99;"]) {
    assert.ok(shown.includes(each), `${each} in ${shown}`);
  }
  const flags = shown.split(/[\s;]+/);
  for (const each of ["-echo", "-icrnl", "ixany", "iutf8", "-onlcr", "tostop", "icanon", "isig"]) {
    assert.ok(flags.includes(each), `${each} in ${shown}`);
  }
});

test("a terminal follows the client's window, each time that it changes", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const command = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done";
  const local = await startLocal(it, "sane", command);
  const lines = linesOf(local.stdout);
  await lines.waitFor("ready");
  for (const [rows, columns] of [
    [10, 20],
    [200, 300],
    [24, 80],
  ] as const) {
    local.resize({ rows, columns });
    await lines.waitFor(`${rows} ${columns}`);
  }
  local.killAll();
  await local.ended;
});

test("all that a program prints comes before its end, also when its jobs keep the terminal", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const size = 3_000_000;
  const sum = createHash("sha256").update("x".repeat(size)).digest("hex");
  for (const [end, status] of [
    ["exit 7", 7],
    ["kill -TERM $$", 255],
  ] as const) {
    const program = it.run(["-tt"], `${printing(size)}; ${end}`);
    assert.equal((await program.ended).status, status);
    assert.equal(program.sum(), sum);
  }
  const program = it.run(["-tt"], "trap '' HUP; sleep 1000 & echo $!; exit 7");
  const { status, stdout } = await program.ended;
  assert.equal(status, 7);
  // As with sshd: only the terminal is gone.
  assert.ok(isAlive(stdout.trim()));
  process.kill(Number(stdout), "SIGKILL");
});

test("the end of what is typed is told by the character for it", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const program = it.run(["-tt"], "cat; echo over; exit 3");
  program.write("hello\n");
  program.end();
  const { status, stdout } = await program.ended;
  assert.equal(status, 3);
  assert.match(stdout, /hello\r\nhello\r\nover\r\n$/);
});

test("a program that reads nothing of what is typed holds up nobody, and reads it all later", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const go = it.at("go");
  const size = 2_000_000;
  const reading = `stty raw -echo; echo ready; while [ ! -e ${go} ]; do sleep 0.02; done; head -c ${size} | sha256sum`;
  const program = it.run(["-tt", "-e", "none"], reading);
  await program.waitFor(/ready/);
  const typed = "0123456789".repeat(size / 10);
  program.write(typed);
  // It would hang here, and the whole server with it.
  assert.equal((await it.run([], "echo other").ended).stdout, "other\n");
  assert.equal((await it.run([], `touch ${go}`).ended).status, 0);
  const { stdout } = await program.ended;
  const { stdout: sum } = await it.run(
    [],
    `yes 0123456789 | tr -d '\\n' | head -c ${size} | sha256sum`,
  ).ended;
  assert.ok(stdout.includes(sum.trim()), stdout);
});

test("a client that goes hangs up: its programs are told, then killed; what left their session stays", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  for (const options of [[], ["-tt"]]) {
    const [told, stays] = [it.at("told"), it.at("stays")];
    const command = `trap 'echo hung up > ${told}' HUP; (trap '' HUP; sleep 1000) & echo stubborn $!;
      setsid -f sh -c 'echo $$ > ${stays}; exec sleep 1000 >/dev/null 2>&1 </dev/null';
      while [ ! -s ${stays} ]; do sleep 0.01; done; echo ready; while :; do sleep 0.01; done`;
    const program = it.run(options, command);
    const [, stubborn = ""] = await program.waitFor(/^stubborn (\d+)\r?$/m);
    await program.waitFor(/^ready\r?$/m);
    await program.stop("SIGKILL");
    await until(() => existsSync(told));
    await until(() => !isAlive(stubborn) && it.server.sessions === 0);
    const left = readFileSync(stays, "utf8").trim();
    assert.ok(isAlive(left));
    process.kill(Number(left), "SIGKILL");
    await it.run([], `rm ${told} ${stays}`).ended;
  }
});

test("a node without node-pty says what is missing", async () => {
  const device = fileURLToPath(import.meta.resolve("@alknet/ssh/terminal-device"));
  const program = `
    import { registerHooks } from "node:module";
    registerHooks({
      resolve(name, context, next) {
        if (name.startsWith("@lydell/")) throw Object.assign(new Error(name), { code: "MODULE_NOT_FOUND" });
        return next(name, context);
      },
    });
    const { openTerminal } = await import(${JSON.stringify(device)});
    try { openTerminal({ columns: 80, rows: 24 }, 4); } catch ({ code, message }) { console.log(code, message); }
  `;
  const words = ["--conditions=@alknet/source", "--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: dirname(device) });
  assert.match(
    stdout,
    /^NO_TERMINALS there are no terminals here: @lydell\/node-pty is not installed for \w+-\w+$/m,
  );
});

function printing(size: number): string {
  return `head -c ${size} /dev/zero | tr '\\0' x`;
}

/** `ssh` on a terminal of this side, with these modes. */
async function startLocal(it: OpenSsh, modes: string, command: string) {
  const words = it.words(["-t"], command);
  return runOnTerminal({
    words: ["sh", "-c", `stty ${modes}; exec "$@"`, "sh", ...words],
    ...{ cwd: "/", env: { PATH: process.env["PATH"] ?? "" }, terminal: "xterm" },
    ...{ size: { columns: 80, rows: 24 }, modes: new Map() },
  });
}

function linesOf(stream: NodeJS.ReadableStream) {
  let shown = "";
  let look = (): void => {};
  stream.on("data", (data: Buffer) => {
    shown += String(data);
    look();
  });
  return {
    waitFor: (line: string): Promise<void> =>
      new Promise((resolve) => {
        look = () => {
          if (shown.split(/\r?\n/).includes(line)) resolve();
        };
        look();
      }),
  };
}

function isAlive(pid: string): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
