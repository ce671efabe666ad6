import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { effectiveScopes, formatScopeEntry, parseScopeEntry } from "./scope-entry.ts";

const NOON = Date.parse("2026-12-01T12:00:00Z");

test("parseScopeEntry() reads scopes and roles, with and without an end", () => {
  assert.deepEqual(parseScopeEntry("ssh:shell"), {
    kind: "scope",
    text: "ssh:shell",
    scope: "ssh:shell",
    until: undefined,
  });
  assert.deepEqual(parseScopeEntry("@dev until 2026-12-01T12:00:00Z"), {
    kind: "role",
    text: "@dev until 2026-12-01T12:00:00Z",
    role: "dev",
    until: NOON,
  });
  assert.equal(parseScopeEntry("sftp:read:/a untilb/c").until, undefined);
});

test("parseScopeEntry() refuses a time that is none, rather than grant for ever", () => {
  for (const text of [
    "ssh:shell until",
    "ssh:shell until tomorrow",
    "sftp:read:/srv/** until tomorrow",
    "sftp:read:/srv/** until next week",
    "ssh:shell until 2026-12-01T12:00:00Z until 2026-12-02T12:00:00Z",
    "sftp:read:/srv/** until 2026-12-01",
    "sftp:read:/srv/** until 2026-12-01T12:00:00",
    "sftp:read:/srv/** until 2026-12-01T12:00:00+01:00",
    "sftp:read:/srv/** until 2026-02-30T12:00:00Z",
    "sftp:read:/srv/** until 2026-12-01T25:00:00Z",
    "@",
    "@dev ops",
    "@dev:x",
    "ssh",
  ]) {
    assert.throws(() => parseScopeEntry(text), { code: "SCOPE_INVALID" }, text);
  }
});

test("formatScopeEntry() is undone by parseScopeEntry()", () => {
  const seconds = fc.integer({ min: 0, max: 253_402_300_799 });
  fc.assert(
    fc.property(fc.constantFrom("ssh:shell", "@dev", "sftp:read:/a b/**"), seconds, (right, at) => {
      const entry = parseScopeEntry(formatScopeEntry(right, at * 1_000));
      assert.equal(entry.until, at * 1_000);
      assert.equal(entry.kind === "role" ? `@${entry.role}` : entry.scope, right);
    }),
  );
});

test("effectiveScopes() spells roles out, leaves out what is over, and says when that changes", () => {
  const roles = new Map([["dev", ["git:read", "git:write"]]]);
  const entries = [
    "ssh:shell until 2026-12-01T12:00:00Z",
    "@dev until 2026-12-01T13:00:00Z",
    "@nobody",
    "fs:read",
  ];
  assert.deepEqual(effectiveScopes(entries, roles, NOON - 1), {
    scopes: ["ssh:shell", "git:read", "git:write", "fs:read"],
    changesAt: NOON,
    unknownRoles: ["nobody"],
  });
  assert.deepEqual(effectiveScopes(entries, roles, NOON).scopes, [
    "git:read",
    "git:write",
    "fs:read",
  ]);
  assert.deepEqual(effectiveScopes(entries, roles, NOON + 3_600_000), {
    scopes: ["fs:read"],
    changesAt: Infinity,
    unknownRoles: ["nobody"],
  });
  const plain = ["ssh:shell"];
  assert.equal(effectiveScopes(plain, roles, NOON).scopes, plain, "no copy");
});
