/**
 * Checks of the running node: does it answer, and has it its store.
 *
 * @module
 */

import { CommandError } from "../command-error.ts";
import { askNode, type ControlPath } from "../control.ts";
import type { NodeStatus } from "../operations/status-document.ts";
import { printable } from "../terminal.ts";
import type { Finding } from "./finding.ts";

export interface CheckedNode {
  readonly node: NodeStatus | undefined;
  readonly finding: Finding;
}

export async function checkNode(path: ControlPath): Promise<CheckedNode> {
  const check = "node";
  try {
    const node = await askNode(path, (it) => it.status());
    return { node, finding: { check, state: "ok", text: `running, pid ${node.pid}` } };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const { code, message: text, hint: fix } = error;
    // A folder that cannot be trusted has a finding of its own.
    const fine = code === "NOT_RUNNING" || code === "FOLDER_PERMISSIONS";
    return {
      node: undefined,
      finding: fine
        ? { check, state: "ok", text: "not running" }
        : { check, state: "problem", text, fix },
    };
  }
}

/** A node whose store is gone goes on with what it read last, until it is started again. */
export function checkNodeStore(node: NodeStatus | undefined): Finding | undefined {
  if (node?.store.state.kind !== "stale") return undefined;
  return {
    check: "node",
    state: "problem",
    text: printable(
      `it cannot read its store, and goes on with what it read last: ${node.store.state.reason}`,
    ),
    fix: `put ${printable(node.store.path)} back; or, if this is meant, stop the node, and start it again: alknet up`,
  };
}
