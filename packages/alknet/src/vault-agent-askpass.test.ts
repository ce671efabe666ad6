import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createAskpass, useQuestion } from "./vault-agent-askpass.ts";

/** A program that writes what it was asked, and does what `script` says. */
function program(script: string) {
  const folder = mkdtempSync(join(tmpdir(), "alk-askpass-"));
  const path = join(folder, "askpass");
  const asked = join(folder, "asked");
  const lines = [`#!/bin/sh`, `echo "$SSH_ASKPASS_PROMPT: $1" >> ${asked}`, script];
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o755 });
  const problems: string[] = [];
  const env = { PATH: process.env["PATH"], SSH_ASKPASS: path };
  return {
    folder,
    asked,
    problems,
    askpass: createAskpass(env, (problem) => problems.push(problem)),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

const { signal: never } = new AbortController();

test("a yes is an exit status of 0 with yes or nothing as the answer", async () => {
  for (const [script, yes] of [
    ["echo yes", true],
    ["echo YES", true],
    ["exit 0", true],
    ["echo no", false],
    ["echo; echo no", true],
    ["echo yes please", false],
    ["exit 1", false],
    ["echo yes; exit 1", false],
    ["kill -9 $$", false],
    ["head -c 100000 /dev/zero", false],
  ] as const) {
    using made = program(script);
    assert.equal(await made.askpass.ask("May I?", never), yes, script);
    assert.equal(readFileSync(made.asked, "utf8"), "confirm: May I?\n");
    assert.deepEqual(made.problems, []);
  }
});

test("without a program, or with one that does not run, nobody can be asked, and it is said", async () => {
  const problems: string[] = [];
  const say = (problem: string): number => problems.push(problem);
  assert.equal(await createAskpass({}, say).ask("May I?", never), false);
  assert.match(problems[0]!, /SSH_ASKPASS names no program/);
  const missing = createAskpass({ SSH_ASKPASS: "/nowhere/askpass" }, say);
  assert.equal(await missing.ask("May I?", never), false);
  assert.match(problems[1]!, /cannot ask with \/nowhere\/askpass: .*ENOENT/);
});

test("a question that is taken back goes from the screen, and the next one comes", async () => {
  using made = program(`case "$1" in First*) exec sleep 600;; esac`);
  const gone = new AbortController();
  const watching = watch(made.folder);
  const first = made.askpass.ask("First?", gone.signal);
  const waiting = Array.from({ length: 7 }, () => made.askpass.ask("Next?", never));
  // One is on the screen and seven wait: that is enough.
  assert.equal(await made.askpass.ask("Too many?", never), false);
  while (!existsSync(made.asked)) await once(watching, "change");
  watching.close();
  gone.abort();
  assert.equal(await first, false);
  assert.deepEqual(await Promise.all(waiting), Array(7).fill(true));
  assert.doesNotMatch(readFileSync(made.asked, "utf8"), /Too many/);
  assert.deepEqual(made.problems, []);
});

test("a question shows what others chose as words, and not as lines of its own", () => {
  const key = {
    publicKey: new Uint8Array(32),
    comment: "work",
    confirm: true,
    sign: () => new Uint8Array(),
  };
  const fingerprint = "SHA256:abc";
  assert.equal(
    useQuestion({
      key,
      fingerprint,
      data: { kind: "sshsig", namespace: 'x"?\nKey fingerprint SHA256:of another' },
    }),
    'Allow use of key "work" to sign for "x\\"?\\nKey fingerprint SHA256:of another"?\nKey fingerprint SHA256:abc.',
  );
  // Written from right to left, the end would come first.
  const turned = { kind: "sshsig", namespace: "\u202egit\u2066" } as const;
  assert.match(useQuestion({ key, fingerprint, data: turned }), /to sign for "\ufffdgit\ufffd"\?/);
  const long = { kind: "sshsig", namespace: "x".repeat(200_000) } as const;
  assert.ok(useQuestion({ key, fingerprint, data: long }).length < 300);
  const sessionId = new Uint8Array(32);
  const data = { kind: "userauth", user: "ann", sessionId, hostKey: undefined } as const;
  assert.match(useQuestion({ key, fingerprint, data }), /to log in as "ann"\?/);
});
