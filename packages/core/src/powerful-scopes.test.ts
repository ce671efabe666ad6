import assert from "node:assert/strict";
import { test } from "node:test";
import { whyPowerful } from "./powerful-scopes.ts";

test("whyPowerful() knows what amounts to everything, however it is written", () => {
  const roles = new Map([
    ["ops", ["git:read", "node:*"]],
    ["dev", ["git:read"]],
  ]);
  for (const entry of [
    "*",
    "ssh:shell",
    "ssh:*",
    "ssh:exec",
    "node:admin",
    "node:*",
    "@ops",
    "ssh:shell until 2999-01-01T00:00:00Z",
  ]) {
    assert.equal(typeof whyPowerful(entry, roles), "string", entry);
  }
  for (const entry of [
    "ssh:exec:git **",
    "ssh:agent",
    "tunnel:*",
    "node:status",
    "@dev",
    "@x",
    "?",
  ]) {
    assert.equal(whyPowerful(entry, roles), undefined, entry);
  }
});
