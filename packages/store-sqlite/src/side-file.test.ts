import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isOldWal, readSideFile, touchSideFile, writeSideFile } from "./side-file.ts";

test("isOldWal() is so when the database alone has changed", () => {
  const known = { database: 1, wal: 2 };
  assert.equal(isOldWal(known, { database: 3, wal: 2 }), true);
  assert.equal(isOldWal(known, { database: 1, wal: 2 }), false);
  // A -wal of its own.
  assert.equal(isOldWal(known, { database: 3, wal: 4 }), false);
});

test("readSideFile() gives what was written into this very file, and nothing else", () => {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-side-"));
  try {
    const file = join(folder, "x.notify");
    assert.equal(readSideFile(file), undefined);
    touchSideFile(file);
    assert.equal(readSideFile(file), undefined);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    writeSideFile(file, { database: 1, wal: 2 });
    assert.deepEqual(readSideFile(file), { database: 1, wal: 2 });
    writeSideFile(file, { database: 10, wal: 20 });
    assert.deepEqual(readSideFile(file), { database: 10, wal: 20 });
    const copy = join(folder, "y.notify");
    fs.copyFileSync(file, copy);
    assert.equal(readSideFile(copy), undefined);
    for (const text of ["", "{", "null", "[]", '{"database":"1"}', "x".repeat(5_000)]) {
      fs.writeFileSync(file, text);
      assert.equal(readSideFile(file), undefined);
    }
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});
