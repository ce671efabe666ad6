import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../config-parse.ts";
import { fails } from "../test-config.ts";

test("a vault locks itself after a time, or never, and is opened by one thing at most", () => {
  assert.equal(parseConfig('[vault]\nlock_after = "8h"', "x.toml").vault.lockAfter, 28_800_000);
  assert.equal(parseConfig("", "x.toml").vault.lockAfter, 3_600_000);
  for (const wrong of ["0s", "31d", "Never", "1h x"])
    fails(`[vault]\nlock_after = "${wrong}"`, 2, 1, /expected/);
  fails('[vault]\nkeyring = true\nkey_file = "k"', 3, 1, /cannot use key_file beside keyring/);
});
