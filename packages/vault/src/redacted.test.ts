import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { REDACTED, redact, refuseRedacted } from "./redacted.ts";

class Holder {
  readonly name = "it";
  readonly secret = "open sesame";
}
redact(Holder.prototype, ({ name }) => ({ name, secret: REDACTED }));

test("redact() hides a field from every way to print", () => {
  const holder = new Holder();
  const prints = [
    JSON.stringify({ holder }),
    String(holder as unknown),
    inspect(holder),
    inspect({ deep: [holder] }, { depth: 9, showHidden: true }),
    inspect(new Map([[holder, holder]])),
  ];
  for (const text of prints) {
    assert.doesNotMatch(text, /sesame/);
    assert.match(text, /\[REDACTED\]/);
  }
});

test("refuseRedacted() refuses the marker, as text and as bytes, wherever it is", () => {
  for (const text of ["[REDACTED]", " [REDACTED]\n", "abandon [REDACTED] about"]) {
    for (const input of [text, Buffer.from(text)]) {
      assert.throws(() => refuseRedacted(input, "a key"), {
        code: "REDACTED_INPUT",
        message: /a key/,
      });
    }
  }
});

test("refuseRedacted() lets all else pass", () => {
  for (const text of ["", "[", "REDACTED", "[REDACTED", "[redacted]"]) {
    refuseRedacted(text, "a key");
    refuseRedacted(Buffer.from(text), "a key");
  }
});
