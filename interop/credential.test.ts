/**
 * `alknet credential` as people use it: typed on a terminal, and with bytes that are no text.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { createVaultFile } from "@alknet/vault/vault-file";
import { type TestHome, testHome } from "../packages/alknet/src/testing.ts";
import { createVaultAgent, type VaultAgent } from "../packages/alknet/src/vault-agent.ts";
import { follow, type Program } from "./program.ts";

const PROGRAM = [
  process.execPath,
  "--conditions=@alknet/source",
  new URL("../packages/alknet/src/main.ts", import.meta.url).pathname,
];

let home: TestHome;
let agent: VaultAgent;

before(async () => {
  home = testHome();
  const [entropy, seed] = [randomBytes(32), randomBytes(64)];
  const passphrase = Buffer.from("correct horse battery staple");
  using _made = await createVaultFile(
    home.home.vault,
    { entropy, seed, passphraseUsed: false, names: [] },
    passphrase,
  );
  agent = await createVaultAgent({ home: home.home, lockAfter: undefined });
  await agent.unlock({ passphrase });
});

after(async () => {
  await agent[Symbol.asyncDispose]();
  home[Symbol.dispose]();
});

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, ALKNET_HOME: home.folder, NODE_OPTIONS: "", TERM: "xterm" };
}

/** Run `alknet` with bytes on stdin. @returns the bytes on stdout. */
async function alknet(words: readonly string[], input: Uint8Array = Buffer.of()): Promise<Buffer> {
  const [command = "", ...rest] = [...PROGRAM, ...words];
  const child = spawn(command, rest, { env: environment(), stdio: "pipe" });
  const closed = once(child, "close");
  child.stdin.end(input);
  const [output, said] = await Promise.all([buffer(child.stdout), text(child.stderr)]);
  assert.deepEqual(await closed, [0, null], said);
  return output;
}

/** Run `alknet` on a terminal of its own; what is written to its stdin is typed there. */
function onTerminal(words: string): { program: Program; type: (keys: string) => void } {
  const line = [...PROGRAM.map((word) => `'${word}'`), words].join(" ");
  const child = spawn("script", ["-qefc", line, "/dev/null"], {
    env: environment(),
    stdio: ["pipe", "pipe", "pipe"],
  });
  return {
    program: follow(child, `alknet ${words}`),
    type: (keys) => void child.stdin.write(keys),
  };
}

test("bytes that are no text come back as they went in, through pipes", async () => {
  const secret = randomBytes(60_000);
  await alknet(["credential", "set", "raw"], secret);
  assert.deepEqual(await alknet(["credential", "get", "raw"]), secret);
  const { base64 } = JSON.parse(String(await alknet(["credential", "get", "raw", "--json"]))) as {
    base64: string;
  };
  assert.deepEqual(Buffer.from(base64, "base64"), secret);
});

test("a secret is typed unseen, with the keys that correct it, and no file has it", async () => {
  const { program, type } = onTerminal("credential set typed");
  await using _program = program;
  await program.waitFor(/Secret for typed: /);
  type("hunter3\u007f2\r");
  const { status, stdout } = await program.ended;
  assert.equal(status, 0, stdout);
  assert.doesNotMatch(stdout, /hunter/);
  assert.equal(String(await alknet(["credential", "get", "typed"])), "hunter2");
  for (const name of readdirSync(home.folder, { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue;
    const path = join(name.parentPath, name.name);
    assert.ok(!readFileSync(path).includes("hunter"), path);
  }
});

test("a secret is not shown on a terminal, but with --force", async () => {
  await alknet(["credential", "set", "shown"], Buffer.from("hunter2"));
  {
    const { program } = onTerminal("credential get shown");
    const { status, stdout } = await program.ended;
    assert.equal(status, 2, stdout);
    assert.doesNotMatch(stdout, /hunter2/);
  }
  const { program } = onTerminal("credential get shown --force");
  const { status, stdout } = await program.ended;
  assert.deepEqual([status, stdout], [0, "hunter2\r\n"]);
});

test("Ctrl-C at the question keeps what there was, and leaves the terminal as it was", async () => {
  await alknet(["credential", "set", "kept"], Buffer.from("before"));
  // `stty` after it: the terminal echoes again.
  const { program, type } = onTerminal("credential set kept; echo ended $?; stty -a");
  await program.waitFor(/Secret for kept: /);
  type("after\u0003");
  await program.waitFor(/ended 130/);
  const { stdout } = await program.ended;
  assert.match(stdout, / echo /);
  assert.equal(String(await alknet(["credential", "get", "kept"])), "before");
});
