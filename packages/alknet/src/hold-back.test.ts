import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { test } from "node:test";
import { holdBack } from "./hold-back.ts";

test("holdBack() keeps words until they are let go", async () => {
  const from = new PassThrough();
  const to = new PassThrough({ encoding: "utf8" });
  const release = holdBack(from, to);
  from.end("alknet: not allowed any more");
  await finished(from);
  assert.equal(to.read(), null);
  release();
  assert.equal(to.read(), "alknet: not allowed any more");
});

test("holdBack() lets go of what is too much, and all comes once, also when it is let go again", async () => {
  const from = new PassThrough();
  const to = new PassThrough({ encoding: "utf8" });
  const release = holdBack(from, to);
  const much = "a".repeat(8_193);
  from.write(much);
  await new Promise((resolve) => to.once("readable", resolve));
  release();
  from.end("b");
  await finished(from);
  assert.equal(to.read(), `${much}b`);
});
