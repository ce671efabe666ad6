import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeResponded } from "./encode-event.ts";
import { parseEvent } from "./event.ts";
import { hasTooManyValues, MAX_VALUES } from "./value-count.ts";

const TOO_MANY: Readonly<Record<string, string>> = {
  numbers: `[${"0,".repeat(MAX_VALUES)}0]`,
  objects: `[${"{},".repeat(MAX_VALUES)}0]`,
  entries: `{${'"":0,'.repeat(MAX_VALUES)}"":0}`,
  strings: `[${'"\\\\",'.repeat(MAX_VALUES)}0]`,
  brackets: "[".repeat(2 * MAX_VALUES),
  "objects after a string that never ends": `["${"\\".repeat(10)}",${"{},".repeat(MAX_VALUES)}"`,
};

for (const [what, json] of Object.entries(TOO_MANY)) {
  test(`hasTooManyValues() counts ${what}, and parseEvent() refuses them before they are made`, () => {
    assert.equal(hasTooManyValues(json), true);
    const body = `{"type":"call.responded","id":"1","payload":{"output":${json}}}`;
    assert.throws(() => parseEvent(body), { code: "EVENT", message: /more than 1048576 values/ });
  });
}

test("hasTooManyValues() takes what is within a string for one value", () => {
  const csv = 'a,"b",[{\\\n'.repeat(MAX_VALUES / 2);
  assert.equal(hasTooManyValues(JSON.stringify([csv, csv])), false);
  assert.equal(hasTooManyValues(JSON.stringify(`${csv}\\`)), false);
});

test("hasTooManyValues() lets a million pass", () => {
  assert.equal(hasTooManyValues(JSON.stringify(Array(1_000_000).fill(12))), false);
});

test("what has too many values is not sent either: it fails where it is made", () => {
  assert.throws(() => encodeResponded('"1"', Array(MAX_VALUES + 1).fill(1)), RangeError);
});
