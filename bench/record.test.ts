import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, type Outcome } from "./harness.ts";
import { withRun } from "./record.ts";

const run = (name: string, ours: number): Outcome => ({
  main: compare(name, [ours], [2], { peerName: "them", unit: "x/s", goal: 1.5 }),
  facts: { lost: 0 },
});

test("withRun() keeps a section for each bench, with its last three runs, the newest first", () => {
  let text = "";
  for (const [name, ours] of [
    ["b", 1],
    ["a", 2],
    ["b", 3],
    ["b", 4],
    ["b", 5],
  ] as const) {
    text = withRun(text, run(name, ours), { heading: `day ${ours}`, quick: true });
  }
  assert.deepEqual(text.match(/^#+ .*$/gm), [
    "# Results",
    "## a",
    "### day 2",
    "## b",
    "### day 5",
    "### day 4",
    "### day 3",
  ]);
  assert.ok(
    text.endsWith(
      "### day 3\n\n- b: 3 x/s, them 2: **ratio 1.5**, goal 1.5 met (1 round, quick)\n- b, lost: 0\n",
    ),
  );
});
