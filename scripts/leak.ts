/**
 * Preloaded into every test file: one that leaves a handle open fails, and says which.
 *
 * Without it such a file hangs the whole run, past `--test-timeout` too.
 *
 * @module
 */

import process from "node:process";
import { after } from "node:test";

/** How long after its last test a file may take to end, in milliseconds. */
const GRACE = 2_000;

// The runner is preloaded as well: only the processes it starts run tests.
if (process.env.NODE_TEST_CONTEXT !== undefined) {
  after(() => {
    setTimeout(() => {
      const open = process.getActiveResourcesInfo();
      process.stderr.write(
        `left open after the last test: ${open.join(", ") || "a handle of native code"}\n`,
      );
      process.exit(1);
    }, GRACE).unref();
  });
}
