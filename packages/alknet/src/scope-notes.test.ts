import assert from "node:assert/strict";
import { test } from "node:test";
import { scopeNotes } from "./scope-notes.ts";

test("scopeNotes() says what amounts to everything, and what may be a mistake", () => {
  const roles = new Map([["dev", ["git:read"]]]);
  assert.match(scopeNotes("ssh:shell", roles)[0] ?? "", /is a shell/);
  assert.match(scopeNotes("tunel:dial", roles)[0] ?? "", /did you mean tunnel\?$/);
  assert.match(scopeNotes("weather:read", roles)[0] ?? "", /"weather"$/);
  assert.deepEqual(scopeNotes("ssh:shel", roles), [
    'ssh:shel allows nothing: ssh has no right called "shel"; did you mean shell?',
  ]);
  for (const entry of ["ssh:foo:x", "tunnel:foo", "node:foo until 2999-01-01T00:00:00Z"]) {
    const [note = "", ...more] = scopeNotes(entry, roles);
    assert.match(note, / allows nothing: (ssh|tunnel|node) has no right called "foo"; there are: /);
    assert.deepEqual(more, []);
  }
  for (const entry of ["ssh:agent", "ssh:exec:git *", "tunnel:listen:*:80", "tunnel:*", "call:x"]) {
    assert.deepEqual(scopeNotes(entry, roles), [], entry);
  }
  assert.match(
    scopeNotes("@nobody until 2999-01-01T00:00:00Z", roles)[0] ?? "",
    /no role nobody in/,
  );
  for (const entry of ["tunnel:dial:localhost:80", "@dev", "git:read until 2999-01-01T00:00:00Z"]) {
    assert.deepEqual(scopeNotes(entry, roles), [], entry);
  }
});
