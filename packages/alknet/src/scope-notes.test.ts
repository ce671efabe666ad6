import assert from "node:assert/strict";
import { test } from "node:test";
import { scopeNotes } from "./scope-notes.ts";

test("scopeNotes() says what amounts to everything, and what may be a mistake", () => {
  const roles = new Map([["dev", ["git:read"]]]);
  assert.match(scopeNotes("ssh:shell", roles)[0] ?? "", /is a shell/);
  assert.match(scopeNotes("tunel:dial", roles)[0] ?? "", /did you mean tunnel\?$/);
  assert.match(scopeNotes("weather:read", roles)[0] ?? "", /"weather"$/);
  assert.match(scopeNotes("@nobody until 2999-01-01T00:00:00Z", roles)[0] ?? "", /no role nobody:/);
  for (const entry of ["tunnel:dial:localhost:80", "@dev", "git:read until 2999-01-01T00:00:00Z"]) {
    assert.deepEqual(scopeNotes(entry, roles), [], entry);
  }
});
