import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_SSH } from "../config.ts";
import { parseConfig } from "../config-parse.ts";
import { fails } from "../test-config.ts";

test("[ssh] is off the network unless it is told where to listen", () => {
  assert.deepEqual(parseConfig("", "x.toml").ssh, DEFAULT_SSH);
  const { listen } = parseConfig('[ssh]\nlisten = ["127.0.0.1", "[::1]:22"]', "x.toml").ssh;
  assert.deepEqual(listen, [
    { host: "127.0.0.1", port: 2222 },
    { host: "::1", port: 22 },
  ]);
  fails('handlers = ["ping"]\n[ssh]\nlisten = "[::]"', 3, 1, /expected "ssh" among "handlers"$/);
  fails('[ssh]\naccept_env = ["A B"]', 2, 15, /cannot use variable "A B"/);
});
