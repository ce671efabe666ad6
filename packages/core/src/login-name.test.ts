import assert from "node:assert/strict";
import { test } from "node:test";
import { OWN_ACCOUNT, parseLoginName } from "./login-name.ts";

test("parseLoginName() takes what systems call accounts", () => {
  for (const name of ["alice", "_apt", "www-data", "j.doe", "Build2", "a".repeat(32)]) {
    assert.equal(parseLoginName(name), name);
  }
});

test("parseLoginName() refuses what would be an option, a number, a path, and root", () => {
  const invalid = [
    "",
    "-x",
    "0",
    "a b",
    "a/b",
    "a:b",
    "ä",
    "a\n",
    "a".repeat(33),
    "root",
    OWN_ACCOUNT,
  ];
  for (const name of invalid) {
    assert.throws(() => parseLoginName(name), { code: "USER_INVALID" }, name);
  }
});
