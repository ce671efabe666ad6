import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createPrivateFile, readPrivateFile } from "./private-file.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "alknet-private-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test("createPrivateFile() makes folders and a file of mode 0600, and leaves nothing else", (t) => {
  const within = join(folder(t), "a");
  createPrivateFile(join(within, "key"), "secret");
  assert.deepEqual(readPrivateFile(join(within, "key")), { text: "secret", openTo: undefined });
  assert.deepEqual(readdirSync(within), ["key"]);
  assert.equal(statSync(join(within, "key")).mode & 0o777, 0o600);
});

test("createPrivateFile() leaves a file alone that is there", (t) => {
  const path = join(folder(t), "key");
  createPrivateFile(path, "first");
  createPrivateFile(path, "second");
  assert.equal(readPrivateFile(path)?.text, "first");
});

test("readPrivateFile() tells what is open to others, what is no file, and what is too long", (t) => {
  const path = join(folder(t), "key");
  assert.equal(readPrivateFile(path), undefined);
  writeFileSync(path, "secret");
  chmodSync(path, 0o640);
  assert.equal(readPrivateFile(path)?.openTo, "0640");
  writeFileSync(path, "x".repeat(16_385));
  assert.throws(() => readPrivateFile(path), /at most 16384 bytes/);
  assert.throws(() => readPrivateFile(tmpdir()), /expected a file|EISDIR/);
});
