/**
 * From a fresh clone to a running node or a finished gate. `npm start` and `npm test` come here.
 *
 *     node scripts/bootstrap.mjs start [ARGS]   set up, then `alknet up ARGS`
 *     node scripts/bootstrap.mjs test [PARTS]   set up, with what the tests need, then the gate
 *     node scripts/bootstrap.mjs setup [--dev]  set up only; --dev: with what the gate runs
 *     node scripts/bootstrap.mjs native         build the QUIC engine only
 *
 * Needs a Node of 20 or later, npm, cargo and a C compiler. Everything else it brings along. What is
 * done already is skipped by hashes of its inputs, without network.
 *
 * This file itself is for any Node at all, so that an old one is told what is wanted.
 *
 * @module
 */

import process from "process";
import { fileURLToPath } from "url";

if (parseInt(process.versions.node, 10) < 20) {
  process.stderr.write(
    "alknet: Node " +
      process.versions.node +
      " is too old: install Node 20 or later from https://nodejs.org\n",
  );
  process.exit(1);
}

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
// Whatever it does not expect ends the process, with its stack.
void import("./setup/main.mjs").then(async ({ main }) => {
  process.exitCode = await main(process.argv.slice(2));
});
