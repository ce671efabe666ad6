/**
 * What a change has ended in the running node, told to who made it.
 *
 * @module
 */

import type { Committed } from "@alknet/core/store-change";
import type { Context } from "./context.ts";
import { askIfRunning } from "./control.ts";
import { printJson, say } from "./terminal.ts";

export interface EffectOptions {
  readonly json: boolean;
  /** What the JSON document has besides. */
  readonly document: object;
  /** Whether it was made to end something: then it is said how much, also if that is nothing. @default true */
  readonly ends?: boolean | undefined;
  /** Lines for people, before the outcome. */
  readonly notes?: readonly string[] | undefined;
}

/** Wait until the running node has seen `committed`, and say what that has ended. */
export async function tellEffect(
  context: Context,
  { change }: Committed,
  { json, document, ends = true, notes = [] }: EffectOptions,
): Promise<void> {
  const { terminal, home } = context;
  const effect = await askIfRunning(home, (node) => node.effect({ change }));
  if (json) {
    const { connections = 0, grants = 0 } = effect ?? {};
    const running = effect !== undefined;
    printJson(terminal, {
      ...document,
      running,
      closedConnections: connections,
      endedGrants: grants,
    });
    return;
  }
  for (const note of notes) say(terminal, `note: ${note}`);
  if (effect === undefined) {
    const noNode =
      "no node is running here: it holds from its next start, and in others of the same store at once";
    say(terminal, ends ? `done; ${noNode}` : "done");
    return;
  }
  const parts = [
    ...(effect.grants === 0 ? [] : [count(effect.grants, "flow ended", "flows ended")]),
    ...(effect.connections === 0 && !ends
      ? []
      : [count(effect.connections, "connection closed", "connections closed")]),
  ];
  say(terminal, ["done", ...parts].join("; "));
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
