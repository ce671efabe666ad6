import assert from "node:assert/strict";
import { test } from "node:test";
import { getEventListeners } from "node:events";
import { stopWith } from "./stop.ts";

test("stopWith() aborts with the first of its sources, and its reason", () => {
  const [one, other] = [new AbortController(), new AbortController()];
  using stop = stopWith(one.signal, other.signal);
  assert.equal(stop.signal.aborted, false);
  const reason = new Error("other");
  other.abort(reason);
  one.abort(new Error("one"));
  assert.equal(stop.signal.reason, reason);
});

test("stopWith() has aborted if a source has", () => {
  const reason = new Error("before");
  using stop = stopWith(new AbortController().signal, AbortSignal.abort(reason));
  assert.equal(stop.signal.reason, reason);
});

test("stopWith() aborts by hand, and its sources go on", () => {
  const source = new AbortController();
  using stop = stopWith(source.signal);
  const reason = new Error("by hand");
  stop.abort(reason);
  assert.equal(stop.signal.reason, reason);
  assert.equal(source.signal.aborted, false);
});

test("stopWith() leaves nothing at its sources once it is disposed", () => {
  const source = new AbortController();
  const stop = stopWith(source.signal);
  stop[Symbol.dispose]();
  assert.equal(getEventListeners(source.signal, "abort").length, 0);
  source.abort(new Error("later"));
  assert.equal(stop.signal.aborted, false);
});
