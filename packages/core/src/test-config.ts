/**
 * For tests of this package: configurations that cannot be used.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseConfig } from "./config-parse.ts";
import { ConfigInvalid } from "./config-problem.ts";

/** A mistake is told, and where it is. */
export function fails(text: string, line: number, column: number, message: RegExp): void {
  assert.throws(
    () => parseConfig(text, "/etc/alknet.toml"),
    (error) => {
      assert.ok(error instanceof ConfigInvalid, String(error));
      assert.equal(error.code, "CONFIG_INVALID");
      assert.ok(error.message.startsWith(`/etc/alknet.toml:${error.line}:${error.column}: `));
      assert.match(error.message, message);
      assert.deepEqual([error.line, error.column], [line, column], error.message);
      return true;
    },
    text,
  );
}
