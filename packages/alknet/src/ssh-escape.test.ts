import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { escapes, parseEscape } from "./ssh-escape.ts";

const TILDE = 0x7e;

/** What comes of pieces that are typed: text, and names of what is asked in angle brackets. */
function typed(pieces: readonly string[], escape: number | undefined): string {
  const take = escapes(escape);
  return pieces
    .flatMap((piece) => take(Buffer.from(piece)))
    .map((it) => (it.kind === "bytes" ? Buffer.from(it.bytes).toString() : `<${it.kind}>`))
    .join("");
}

test("escapes() knows what is typed at the beginning of a line, and nothing elsewhere", () => {
  for (const [pieces, wanted] of [
    [["~."], "<disconnect>"],
    [["ls\r~."], "ls\r<disconnect>"],
    [["ls\n", "~", "."], "ls\n<disconnect>"],
    [["a~."], "a~."],
    [["~~."], "~."],
    [["~~\r~~x"], "~\r~x"],
    [["~?~#"], "<help><forwards>"],
    [["~\x1a~."], "<suspend><disconnect>"],
    [["~x~."], "~x~."],
    [["~\r~."], "~\r<disconnect>"],
    [["x\r~"], "x\r"],
  ] as const) {
    assert.equal(typed(pieces, TILDE), wanted, JSON.stringify(pieces));
  }
  assert.equal(typed(["~."], undefined), "~.");
  assert.equal(typed(["%."], parseEscape("%")), "<disconnect>");
});

test("escapes() finds the same however what is typed is cut up", () => {
  const text = fc.string({ unit: fc.constantFrom("~", ".", "\r", "x", "?") });
  fc.assert(
    fc.property(text, (all) => {
      assert.equal(typed(all.split(""), TILDE), typed([all], TILDE));
    }),
  );
});

test("escapes() loses nothing where nothing is an escape", () => {
  fc.assert(
    fc.property(
      fc.string().filter((all) => !all.includes("~")),
      (all) => {
        assert.equal(typed([all], TILDE), all);
      },
    ),
  );
});

test("parseEscape() takes what -e takes", () => {
  assert.equal(parseEscape("none"), undefined);
  assert.equal(parseEscape("~"), TILDE);
  assert.equal(parseEscape("^A"), 1);
  for (const text of ["", "ab", "^", " ", "é"]) {
    if (text !== "^") assert.throws(() => parseEscape(text), SyntaxError, text);
  }
});
