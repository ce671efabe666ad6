import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { matchGlob, parseGlob } from "./glob.ts";

const pattern = fc
  .array(fc.constantFrom("a", "b", "/", ".", "*", "**", "é"), { maxLength: 8 })
  .map((parts) => parts.join(""))
  .filter((text) => !text.includes("***"));
const subject = fc
  .array(fc.constantFrom("a", "b", "/", ".", "é", "\n"), { maxLength: 10 })
  .map((parts) => parts.join(""));

/** The specification: take the pattern apart from the left, and try every length for a wildcard. */
function naive(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  const wide = glob.startsWith("**");
  if (!wide && !glob.startsWith("*"))
    return text[0] === glob[0] && naive(glob.slice(1), text.slice(1));
  const rest = glob.slice(wide ? 2 : 1);
  for (let length = 0; length <= text.length; length++) {
    if (!wide && text.slice(0, length).includes("/")) return false;
    if (naive(rest, text.slice(length))) return true;
  }
  return false;
}

test("matchGlob() is what the naive specification says", () => {
  fc.assert(
    fc.property(pattern, subject, (glob, text) => {
      assert.equal(matchGlob(parseGlob(glob), text), naive(glob, text));
    }),
    { numRuns: 2_000 },
  );
});

test("matchGlob() matches a text that its pattern was made from", () => {
  fc.assert(
    fc.property(pattern, fc.constantFrom("", "a", "ab."), (glob, run) => {
      assert.equal(matchGlob(parseGlob(glob), glob.replaceAll(/\*+/g, run)), true);
    }),
  );
});

test("matchGlob() takes no more than pattern × text steps", () => {
  // A backtracking matcher would not come back from this one.
  const glob = parseGlob(`${"*a".repeat(200)}*b`);
  assert.equal(matchGlob(glob, "a".repeat(4_000)), false);
});

test("parseGlob() refuses three asterisks", () => {
  assert.throws(() => parseGlob("a***b"), { code: "SCOPE_INVALID", message: /"a\*\*\*b"/ });
});
