/**
 * Recordings of sessions: made by OpenSSH's `ssh`, replayed by asciinema.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { runOnTerminal } from "@alknet/ssh/program";
import { type Logger, silentLogger } from "@alknet/core/log";
import { type Recorder, recordTo } from "@alknet/ssh/recording";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";

test("asciinema replays what programs printed on terminals; what has none is not recorded", async () => {
  await using it = await startRecorded();
  const program = it.run(
    ["-tt"],
    "echo begin; printf 'ä%s\\n' 'ö€😀'; echo error >&2; cat; exit 3",
  );
  await program.waitFor(/error/);
  program.write("typed\n");
  program.end();
  const { status, stdout } = await program.ended;
  assert.equal(status, 3);
  assert.match(stdout, /^begin\r\näö€😀\r\nerror\r\n/);
  assert.equal(await replayed(it), stdout);
  const recordings = readdirSync(it.at("recordings"));
  assert.equal((await it.run([], "echo a file").ended).stdout, "a file\n");
  assert.deepEqual(readdirSync(it.at("recordings")), recordings);
});

test("a recording is asciicast v2 to the letter, for its owner alone", async () => {
  await using it = await startRecorded();
  const began = Date.now();
  const command =
    "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done";
  const program = it.run(["-tt"], command);
  await program.waitFor(/ready/);
  assert.equal(it.server.list().length, 1);
  // It ends by no end of its own.
  it.allow([]);
  await program.ended;
  const path = newest(it);
  assert.match(path, /\/\d{8}T\d{6}Z-laptop-[0-9a-f]{16}\.cast$/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(it.at("recordings")).mode & 0o777, 0o700);
  const cast = readFileSync(path, "utf8");
  assert.ok(cast.endsWith("]\n"));
  const [header, ...events] = cast
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  const { timestamp, title, ...rest } = header as { timestamp: number; title: string };
  assert.ok(Number.isInteger(timestamp) && Math.abs(timestamp * 1_000 - began) < 120_000);
  assert.match(title, /^laptop as \w+$/);
  const term = process.env["TERM"] ?? "dumb";
  assert.deepEqual(rest, { version: 2, width: 80, height: 24, command, env: { TERM: term } });
  let last = 0;
  for (const event of events as (readonly [number, string, string])[]) {
    const [time, code, data] = event;
    assert.equal(event.length, 3);
    assert.ok(time >= last && typeof data === "string");
    assert.ok(code === "o" || (code === "r" && /^\d+x\d+$/.test(data)), code);
    last = time;
  }
});

test("what cannot be recorded does not begin, and what cannot be recorded any more ends", async () => {
  await using it = await startRecorded();
  writeFileSync(it.at("recordings"), "not a folder");
  const refused = await it.run(["-tt"], "echo never").ended;
  assert.equal(refused.status, 126);
  // On a terminal there is no stderr of its own.
  assert.match(
    refused.stdout + refused.stderr,
    /^alknet: this session cannot be recorded \(ENOTDIR\), and all on terminals are\r?\n/,
  );
  assert.match(warnings.at(-1) ?? "", /a session cannot be recorded/);
});

test("a full disk ends what is recorded there", { skip: process.getuid?.() !== 0 }, async () => {
  await using it = await startRecorded();
  mkdirSync(it.at("recordings"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", it.at("recordings")]);
  try {
    const program = it.run(["-tt"], "while :; do echo more; done");
    const { status, stdout, stderr } = await program.ended;
    assert.equal(status, 255);
    assert.match(
      stdout.slice(-1_000) + stderr,
      /this session cannot be recorded \(ENOSPC\), and all on terminals are/,
    );
    assert.match(warnings.at(-1) ?? "", /a session cannot be recorded/);
    assert.equal(it.server.sessions, 0);
  } finally {
    execFileSync("umount", [it.at("recordings")]);
  }
});

/** What the owner is told, in this test. */
const warnings: string[] = [];

async function startRecorded(): Promise<OpenSsh> {
  let folder = "";
  warnings.length = 0;
  const logger: Logger = {
    ...silentLogger,
    warn: (_fields, text) => void warnings.push(text ?? ""),
  };
  const recorder: Recorder = (each) => recordTo(folder, { logger })(each);
  const it = await startOpenSsh(["ssh:exec"], {}, { recorder });
  folder = it.at("recordings");
  return it;
}

/** What asciinema prints of the recording that was made last; it wants a terminal, which is to change nothing. */
async function replayed(it: OpenSsh): Promise<string> {
  const { stdout } = await runOnTerminal({
    words: ["sh", "-c", 'stty -opost; exec asciinema cat "$1"', "sh", newest(it)],
    ...{ cwd: "/", env: { PATH: process.env["PATH"] ?? "", HOME: it.at("."), LC_ALL: "C.UTF-8" } },
    ...{ terminal: "xterm", size: { columns: 80, rows: 24 }, modes: new Map() },
  });
  return text(stdout);
}

function newest(it: OpenSsh): string {
  const folder = it.at("recordings");
  const files = readdirSync(folder).map((name) => join(folder, name));
  const times = new Map(files.map((path) => [path, statSync(path).mtimeMs]));
  return files.sort((a, b) => times.get(b)! - times.get(a)!)[0] ?? "";
}
