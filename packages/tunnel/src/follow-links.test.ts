import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { followLinks } from "./follow-links.ts";

test("followLinks() goes where the system would, and tells whose links those are", async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "alknet-")));
  try {
    const at = (name: string): string => join(folder, name);
    mkdirSync(at("a/b"), { recursive: true });
    writeFileSync(at("a/b/file"), "");
    symlinkSync("a/b", at("relative"));
    symlinkSync(at("a"), at("absolute"));
    symlinkSync("../../relative/./file", at("a/b/up"));
    symlinkSync("loop", at("loop"));
    const real = at("a/b/file");
    for (const path of [real, at("relative/file"), at("absolute/b/up"), at("a/../relative/up")]) {
      assert.equal((await followLinks(path)).real, realpathSync(path), path);
      assert.deepEqual(await followLinks(path), { real, isForeign: false });
    }
    await assert.rejects(followLinks(at("none/file")), { code: "ENOENT" });
    await assert.rejects(followLinks(at("a/b/file/x")), { code: "ENOTDIR" });
    await assert.rejects(followLinks(at("loop")), { code: "ELOOP" });
    assert.equal((await followLinks("/../..")).real, "/");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
