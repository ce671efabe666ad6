import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMoment, parseSpan } from "./time-span.ts";

const NOON = Date.parse("2026-12-01T12:00:00Z");

test("parseSpan() reads each unit, and nothing else", () => {
  assert.equal(parseSpan("90s"), 90_000);
  assert.equal(parseSpan("10m"), 600_000);
  assert.equal(parseSpan("2h"), 7_200_000);
  assert.equal(parseSpan("3d"), 259_200_000);
  assert.equal(parseSpan("1w"), 604_800_000);
  for (const text of ["", "2", "h", "0h", "-1h", "1.5h", "2 h", "2h30m", "2H", "9999999h", "1y"]) {
    assert.throws(() => parseSpan(text), { code: "TIME_INVALID" }, text);
  }
});

test("parseMoment() reads a span from now, and a time to come", () => {
  assert.equal(parseMoment("2h", NOON), NOON + 7_200_000);
  assert.equal(parseMoment("2026-12-01T18:00:00Z", NOON), NOON + 21_600_000);
  for (const text of [
    "2026-12-01T12:00:00Z",
    "2026-13-01T12:00:00Z",
    "tomorrow",
    "2h ",
    "2026-12-02",
  ]) {
    assert.throws(() => parseMoment(text, NOON), { code: "TIME_INVALID" }, text);
  }
});
