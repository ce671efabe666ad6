import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { DURATION_PATTERN, formatDuration, parseDuration } from "./duration.ts";

test("parseDuration() reads what people write", () => {
  for (const [text, milliseconds] of [
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["2m", 120_000],
    ["1h30m", 5_400_000],
    ["1d", 86_400_000],
    ["1m500ms", 60_500],
  ] as const) {
    assert.equal(parseDuration(text), milliseconds, text);
  }
});

test("parseDuration() refuses what could mean two things", () => {
  for (const text of [
    "",
    "10",
    "s",
    "10 s",
    "1.5h",
    "-1s",
    "30m1h",
    "1s1s",
    "10S",
    "10sec",
    "١s",
  ]) {
    assert.throws(() => parseDuration(text), { code: "DURATION_INVALID" }, text);
  }
});

test("parseDuration() undoes formatDuration(), and the pattern for schemas knows it", () => {
  fc.assert(
    fc.property(fc.nat({ max: 10 ** 11 }), (milliseconds) => {
      const text = formatDuration(milliseconds);
      assert.equal(parseDuration(text), milliseconds);
      assert.match(text, new RegExp(DURATION_PATTERN));
    }),
  );
});
