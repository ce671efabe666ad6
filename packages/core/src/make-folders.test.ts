import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeFolders } from "./make-folders.ts";

function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "alknet-folders-"));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

test("makeFolders() makes what is missing for its owner alone, and changes nothing that is there", () => {
  using here = scratch();
  chmodSync(here.folder, 0o755);
  const deep = join(here.folder, "a/b/c");
  makeFolders(deep);
  makeFolders(deep);
  const mode = (path: string): number => statSync(path).mode & 0o777;
  assert.deepEqual(
    [mode(deep), mode(join(here.folder, "a")), mode(here.folder)],
    [0o700, 0o700, 0o755],
  );
});

test("makeFolders() names the file that is in the way", () => {
  using here = scratch();
  const file = join(here.folder, "file");
  writeFileSync(file, "");
  for (const folder of [file, join(file, "a"), join(file, "a/b")]) {
    assert.throws(() => makeFolders(folder), {
      code: "ENOTDIR",
      message: `ENOTDIR: ${JSON.stringify(file)} is not a folder`,
    });
  }
});

test("makeFolders() fails where the system lets nobody make folders", (t) => {
  if (!existsSync("/proc/self")) return t.skip("no /proc here");
  assert.throws(() => makeFolders("/proc/alknet"), { syscall: "mkdir" });
  assert.throws(() => makeFolders("/proc/alknet/deep/down"), { syscall: "mkdir" });
});
