import assert from "node:assert/strict";
import { test } from "node:test";
import { unreadable } from "./vault-file-disk.ts";

test("a full disk is told from a file that may not be written", () => {
  const refused = (code: string) =>
    unreadable("/srv/my den/vault.json", "write", Object.assign(new Error(code), { code }));
  assert.match(refused("ENOSPC").hint!, /df -h '\/srv\/my den'$/);
  assert.match(refused("EDQUOT").hint!, /df -h /);
  assert.match(refused("EROFS").hint!, /ls -ld '\/srv\/my den' '\/srv\/my den\/vault.json'$/);
});
