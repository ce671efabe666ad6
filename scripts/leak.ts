/**
 * Preloaded into every test file: one that leaves a handle open fails, and says which.
 *
 * Without it such a file hangs the whole run, past `--test-timeout` too.
 *
 * @module
 */

import process from "node:process";
import { after } from "node:test";

/** How long a file may take to end after its last test, its own `after` included, in milliseconds. */
const GRACE = 5_000;

// The runner is preloaded as well: only the processes that it starts run tests.
if (process.env["NODE_TEST_CONTEXT"] !== undefined) {
  const own = process.getActiveResourcesInfo();
  after(() => {
    setTimeout(() => {
      const open = process.getActiveResourcesInfo();
      for (const name of own) {
        if (open.includes(name)) open.splice(open.indexOf(name), 1);
      }
      const names = open.join(", ") || "a handle of native code";
      process.stderr.write(`still open ${GRACE} ms after the last test: ${names}\n`);
      process.exit(1);
    }, GRACE).unref();
  });
}
