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
import type { TestHome } from "../packages/alknet/src/testing.ts";
import { startOnTerminal } from "../packages/alknet/src/testing-terminal.ts";
import { startAgent, vaultHome } from "../packages/alknet/src/testing-vault.ts";
import type { VaultAgent } from "../packages/alknet/src/vault-agent.ts";

const MAIN = new URL("../packages/alknet/src/main.ts", import.meta.url).pathname;

let home: TestHome;
let agent: VaultAgent;

before(async () => {
  home = await vaultHome();
  agent = await startAgent(home);
});

after(async () => {
  await agent[Symbol.asyncDispose]();
  home[Symbol.dispose]();
});

/** Run `alknet credential` with bytes on stdin. @returns the bytes on stdout. */
async function credential(
  words: readonly string[],
  input: Uint8Array = Buffer.of(),
): Promise<Buffer> {
  const args = ["--conditions=@alknet/source", MAIN, "credential", ...words];
  const env = { ...process.env, ALKNET_HOME: home.folder, NODE_OPTIONS: "" };
  const child = spawn(process.execPath, args, { env, stdio: "pipe" });
  const closed = once(child, "close");
  child.stdin.end(input);
  const [output, said] = await Promise.all([buffer(child.stdout), text(child.stderr)]);
  assert.deepEqual(await closed, [0, null], said);
  return output;
}

test("bytes that are no text come back as they went in, through pipes", async () => {
  const secret = randomBytes(60_000);
  await credential(["set", "raw"], secret);
  assert.deepEqual(await credential(["get", "raw"]), secret);
  const { base64 } = JSON.parse(String(await credential(["get", "raw", "--json"]))) as {
    base64: string;
  };
  assert.deepEqual(Buffer.from(base64, "base64"), secret);
});

test("a secret is typed unseen, with the keys that correct it, and no file has it", async () => {
  await using terminal = startOnTerminal(home, ["credential", "set", "typed"]);
  await terminal.until("Secret for typed: ");
  terminal.type("hunter3\u007f2");
  assert.equal(await terminal.exited, 0, terminal.screen());
  assert.ok(!terminal.screen().includes("hunter"));
  assert.equal(String(await credential(["get", "typed"])), "hunter2");
  for (const entry of readdirSync(home.folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    assert.ok(!readFileSync(path).includes("hunter"), path);
  }
});

test("a secret is not shown on a terminal, but with --force", async () => {
  await credential(["set", "shown"], Buffer.from("hunter2"));
  await using refused = startOnTerminal(home, ["credential", "get", "shown"]);
  assert.equal(await refused.exited, 2, refused.screen());
  assert.ok(!refused.screen().includes("hunter2"));
  await using forced = startOnTerminal(home, ["credential", "get", "shown", "--force"]);
  assert.equal(await forced.exited, 0, forced.screen());
  assert.equal(forced.screen(), "hunter2\r\n");
});

test("Ctrl-C at the question keeps what there was", async () => {
  await credential(["set", "kept"], Buffer.from("before"));
  await using terminal = startOnTerminal(home, ["credential", "set", "kept"]);
  await terminal.until("Secret for kept: ");
  terminal.press("after\u0003");
  assert.equal(await terminal.exited, 130, terminal.screen());
  assert.equal(String(await credential(["get", "kept"])), "before");
});
