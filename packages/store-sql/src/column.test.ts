import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  MAX_TEXT,
  readBoolean,
  readBytes,
  readCount,
  readOptionalCount,
  readOptionalText,
  readRecord,
  readText,
  readTextLists,
  readTexts,
  saysTexts,
  writeTexts,
} from "./column.ts";

const texts = fc.array(fc.oneof(fc.string(), fc.string({ unit: "binary" })), { maxLength: 8 });

test("readTexts() undoes writeTexts(), and takes a list as it is", () => {
  fc.assert(
    fc.property(texts, (list) => {
      assert.deepEqual(readTexts("c", writeTexts(list)), list);
      assert.deepEqual(readTexts("c", list), list);
    }),
  );
  assert.deepEqual(readTexts("c", null), []);
});

test("saysTexts() is true only of what readTexts() reads as the same", () => {
  const near = fc.tuple(texts, fc.nat(), fc.string({ maxLength: 2 })).map(([list, at, insert]) => {
    const text = writeTexts(list);
    const cut = at % (text.length + 1);
    return [list, text.slice(0, cut) + insert + text.slice(cut + insert.length)] as const;
  });
  fc.assert(
    fc.property(near, ([list, text]) => {
      if (!saysTexts(text, list)) return;
      assert.deepEqual(readTexts("c", text), list);
    }),
    { numRuns: 2_000 },
  );
  // And it is of use: true of what is usually there.
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z0-9:*./@ -]{0,40}$/)), (list) => {
      assert.equal(saysTexts(writeTexts(list), list), true);
    }),
  );
  assert.equal(saysTexts(null, []), true);
  assert.equal(saysTexts(null, ["a"]), false);
});

test("codecs refuse with a ColumnError whatever is not theirs", () => {
  const readers = [
    readText,
    readOptionalText,
    readTexts,
    readTextLists,
    readRecord,
    readCount,
    readOptionalCount,
    readBoolean,
    readBytes,
  ];
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withTypedArray: true }), (value) => {
      for (const read of readers) {
        try {
          read("scopes", value);
        } catch (error) {
          assert.equal((error as Error).name, "ColumnError");
          assert.match((error as Error).message, /^cannot read column scopes: expected .*, got /s);
          assert.ok((error as Error).message.length < 400);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

test("readCount() takes numbers in every shape that databases give, and no other", () => {
  for (const value of [7, 7n, "7"]) assert.equal(readCount("c", value), 7);
  for (const value of [
    -1,
    1.5,
    Number.NaN,
    2 ** 53,
    2n ** 63n,
    "",
    "1e3",
    "0x1",
    " 1",
    null,
    true,
  ]) {
    assert.throws(() => readCount("c", value), { code: "COLUMN_INVALID" }, String(value));
  }
});

test("codecs look at the length before anything else", () => {
  const long = `["${"x".repeat(MAX_TEXT)}"]`;
  assert.throws(() => readTexts("c", long), /got text of 1048580 characters/);
  assert.throws(() => readText("c", long), /got text of/);
  assert.throws(() => readBytes("c", new Uint8Array(70_000)), /got 70000 bytes/);
  assert.throws(() => readTexts("c", JSON.stringify(Array(1_025).fill(""))), /a list of texts/);
});
