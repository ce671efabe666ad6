/**
 * For tests of this package: what is refused, and how.
 *
 * @module
 */

import assert from "node:assert/strict";
import { FlowRefused } from "./refused.ts";

/** How `promise` is refused; another outcome fails the test. */
export async function refusal(promise: Promise<unknown>): Promise<FlowRefused> {
  const error = await promise.then(
    () => assert.fail("expected a refusal"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof FlowRefused, String(error));
  return error;
}
