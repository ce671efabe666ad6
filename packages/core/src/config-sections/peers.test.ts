import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../config-parse.ts";
import { fails } from "../test-config.ts";

test("login names of a peer are its resource `user`", () => {
  const users = (lines: string) => parseConfig(`[peers.a]\n${lines}`, "x.toml").peers[0]?.resources;
  assert.deepEqual(users('user = "alice"'), { user: ["alice"] });
  const resources = 'resources = { mailbox = "m" }';
  assert.deepEqual(users(`user = ["alice", "bob"]\n${resources}`), {
    mailbox: ["m"],
    user: ["alice", "bob"],
  });
  fails('[peers.a]\nuser = ["alice", "root"]', 2, 18, /"root": no peer is ever root$/);
  fails('[peers.a]\nuser = "-x"', 2, 1, /cannot parse login name "-x"/);
  fails(
    '[peers.a]\nuser = "alice"\nresources = { user = "bob" }',
    3,
    15,
    /expected "user" or "resources.user", not both$/,
  );
});
