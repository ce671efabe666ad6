/**
 * Whether a running node does what its file says.
 *
 * @module
 */

import type { NodeStatus } from "../operations/status-document.ts";
import { printable } from "../terminal.ts";
import type { Finding } from "./finding.ts";

/** @returns nothing of a node that does not run. */
export function checkConfigDrift(node: NodeStatus | undefined): Finding | undefined {
  if (node === undefined) return undefined;
  const check = "config in use";
  const { state, since, restart, error } = node.configuration;
  if (state === "refused") {
    const text = `not the file's since ${since}: ${printable(error?.message ?? "it was refused")}`;
    return { check, state: "problem", text, fix: "see all of it: alknet config check" };
  }
  if (restart.length > 0) {
    const text = `${restart.join(", ")} of the file will hold after a restart`;
    return { check, state: "warning", text, fix: "end the node, then: alknet up" };
  }
  return { check, state: "ok", text: "the node does what its file says" };
}
