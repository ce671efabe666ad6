import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_LINE, readHiddenLine } from "./hidden-line.ts";
import { secretInput } from "./secret-input.ts";

async function typed(keys: string): Promise<string> {
  const bytes = async function* () {
    yield Uint8Array.from(Buffer.from(keys));
  };
  return Buffer.from(await readHiddenLine(secretInput(bytes()))).toString();
}

test("readHiddenLine() takes what is typed up to Enter, and the keys that correct it", async () => {
  const ends = { "hunter2\r": "hunter2", "hunter2\nmore": "hunter2", "hunter2\x04": "hunter2" };
  const corrected = {
    "hunt\x7f\x08er\r": "huer",
    "\x7f\x7fa\r": "a",
    "naïve\x7f\x7f\x7f\r": "na",
    "one two  \x17three\r": "one three",
    "wrong\x15right\r": "right",
    "a\x1b[Db\x1b[3~c\x1bOAd\x1b.e\r": "abcde",
    "a\x01\x1ab\r": "ab",
    "\r": "",
  };
  for (const [keys, line] of Object.entries({ ...ends, ...corrected })) {
    assert.equal(await typed(keys), line, JSON.stringify(keys));
  }
});

test("readHiddenLine() ends with Ctrl-C, and when the terminal is gone", async () => {
  await assert.rejects(typed("hunter2\x03"), { name: "Interrupted" });
  await assert.rejects(typed("hunter2"), { name: "Interrupted" });
  await assert.rejects(typed("\x1b["), { name: "Interrupted" });
});

test("readHiddenLine() cuts nothing off: what is too long is refused, and can be taken back", async () => {
  const longest = "x".repeat(MAX_LINE);
  assert.equal(await typed(`${longest}\r`), longest);
  await assert.rejects(typed(`${longest}x\r`), { code: "INPUT_TOO_LONG" });
  assert.equal(await typed(`${longest}x\u0015short\r`), "short");
});

test("readHiddenLine() takes whatever comes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (keys) => {
      const source = (async function* () {
        yield keys;
      })();
      const line = await readHiddenLine(secretInput(source)).catch((error: Error) => error.name);
      assert.ok(line === "Interrupted" || line.length <= 200);
    }),
  );
});
