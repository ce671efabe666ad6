import assert from "node:assert/strict";
import { test } from "node:test";
import { lackingScope, listensNoMore, whyNotListening } from "./ssh-told.ts";

test("what a node tells of a refusal names the scope that lacks, and what is no scope is none", () => {
  const lacks = "alknet: not allowed, this key lacks";
  assert.equal(lackingScope(`${lacks} ssh:shell`), "ssh:shell");
  assert.equal(lackingScope(`${lacks} ssh:exec:ls -l`), "ssh:exec:ls -l");
  for (const told of [undefined, "", "hello", `${lacks} `, `${lacks} $(reboot)`]) {
    assert.equal(lackingScope(told), undefined);
  }
});

test("why it does not listen is told behind that it cannot", () => {
  const why = whyNotListening("alknet: cannot listen: localhost:80: the port is taken");
  assert.equal(why, "localhost:80: the port is taken");
  for (const told of [undefined, "", "another message"])
    assert.equal(whyNotListening(told), undefined);
});

test("a listener that is no more is told with its place", () => {
  assert.equal(listensNoMore("alknet: listens no more on *:80"), "*:80");
  assert.equal(listensNoMore("alknet: listens"), undefined);
});
