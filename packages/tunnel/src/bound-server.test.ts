import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { bindUnix } from "./bound-server.ts";

const skip = process.platform === "linux" ? false : "no descriptors stand for folders there";

test(
  "bindUnix() keeps to the folder that it began with, and removes there what it made",
  { skip },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "alknet-"));
    const at = (name: string): string => join(folder, name);
    try {
      mkdirSync(at("mine"));
      mkdirSync(at("other"));
      const before = process.umask();
      const bound = await bindUnix(at("mine/socket"), () => {}, false);
      assert.equal(process.umask(), before);
      assert.equal(statSync(at("mine/socket")).mode & 0o777, 0o600);
      assert.deepEqual(readdirSync(at("mine")), ["socket"]);
      // Its owner moves it away, and has its name lead to what is not theirs.
      writeFileSync(at("other/socket"), "");
      renameSync(at("mine"), at("moved"));
      symlinkSync(at("other"), at("mine"));
      bound.close();
      assert.deepEqual(readdirSync(at("moved")), []);
      assert.ok(existsSync(at("other/socket")));
      await assert.rejects(
        bindUnix(at("mine/next"), () => {}, true),
        { code: "ENOENT" },
      );
      assert.deepEqual(readdirSync(at("other")), ["socket"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test(
  "close() of what bindUnix() made throws nothing when the file must not be removed, and says why",
  { skip },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "alknet-"));
    const bound = await bindUnix(join(folder, "socket"), () => {});
    chmodSync(folder, 0o500);
    // Root may remove what it likes.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    let left: Error | undefined;
    try {
      left = bound.close();
    } finally {
      if (isRoot) process.seteuid?.(0);
      chmodSync(folder, 0o700);
    }
    assert.equal((left as NodeJS.ErrnoException | undefined)?.code, "EACCES");
    assert.equal(bound.close(), undefined);
    assert.deepEqual(readdirSync(folder), ["socket"]);
    rmSync(folder, { recursive: true });
  },
);
