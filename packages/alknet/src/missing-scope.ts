/**
 * The scope that a peer's refusal names.
 *
 * @module
 */

import { parseScope } from "@alknet/core/scope";
import { FlowRefused } from "@alknet/tunnel/refused";

/** `undefined` if it was refused for another reason, or what the peer wrote is no scope. */
export function missingScope(error: unknown): string | undefined {
  if (!(error instanceof FlowRefused) || error.refusal !== "not-allowed") return undefined;
  const scope = / lacks (\S+)$/.exec(error.message)?.[1];
  if (scope === undefined) return undefined;
  try {
    return parseScope(scope).text;
  } catch {
    // The text comes from the peer, and may say anything.
    return undefined;
  }
}
