import assert from "node:assert/strict";
import { test } from "node:test";
import { ownName } from "./own-name.ts";

test("ownName() is that of the configuration, else what the host's name gives", () => {
  assert.equal(ownName("den", "laptop"), "den");
  for (const [hostname, name] of [
    ["laptop", "laptop"],
    ["Laptop-2.local", "Laptop-2"],
    ["my laptop", "my-laptop"],
    ["a".repeat(100), "a".repeat(64)],
    ["localhost", undefined],
    ["localhost.localdomain", undefined],
    ["owner", undefined],
    ["", undefined],
    ["-", undefined],
  ] as const) {
    assert.equal(ownName(undefined, hostname), name);
  }
});
