/**
 * `npm run bench`: lists the benches. `npm run -s bench -- NAME [--quick] [--json] [--record]` runs one.
 *
 * With `--json` the last line on stdout is the result; what is for people goes to stderr.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { benches } from "./benches.ts";
import { resultLine, resultText } from "./harness.ts";
import { record } from "./record.ts";

const USAGE = "usage: npm run -s bench -- NAME [--quick] [--json] [--record]";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});

// Without a listener they end the process with no "exit" event, and its children would stay.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(130));
}

const [name, ...rest] = positionals;
if (name === undefined) {
  const width = Math.max(...Object.keys(benches).map((each) => each.length));
  for (const [each, { about }] of Object.entries(benches)) {
    console.log(`${each.padEnd(width)}  ${about}`);
  }
  console.error(`\n${USAGE}`);
} else if (rest.length > 0 || !Object.hasOwn(benches, name)) {
  console.error(
    `bench: cannot run ${JSON.stringify(positionals.join(" "))}: expected one of ${Object.keys(benches).join(", ")}\n${USAGE}`,
  );
  process.exitCode = 2;
} else {
  const loaded = await benches[name]?.load();
  const outcome = await loaded?.bench.run({
    quick: values.quick,
    // Setting up and clearing away take their time, too.
    budget: values.quick ? 28_000 : Number.POSITIVE_INFINITY,
    say: (line) => console.error(`${name}: ${line}`),
  });
  if (outcome === undefined) throw new Error(`no bench ${name}`);
  if (values.record) record(outcome, { quick: values.quick });
  console.error(resultText(outcome));
  if (values.json) console.log(resultLine(outcome));
}
