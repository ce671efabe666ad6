import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import * as fc from "fast-check";
import { shellWord } from "./shell-word.ts";

test("shellWord() is read by a shell as the text that it was made from", () => {
  assert.equal(shellWord("tunnel:dial:localhost:5432"), "tunnel:dial:localhost:5432");
  const texts = fc.sample(fc.string({ unit: "grapheme", minLength: 1 }), 200);
  const plain = [...texts, "", "a b", "*", "'", "''x", "$(id)", "`id`", "\\", "a\nb"].filter(
    (text) => !text.includes("\0"),
  );
  const script = plain.map((text) => `printf '%s\\0' ${shellWord(text)}`).join("\n");
  const said = execFileSync("sh", ["-c", script], { encoding: "utf8" });
  assert.deepEqual(said.split("\0").slice(0, -1), plain);
});
