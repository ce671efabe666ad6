/**
 * `alknet log`: who was refused what and why, and who changed what when.
 *
 * Changes are in the store, and are shown whether a node runs or not. Refusals are the running node's, which
 * keeps the newest 1,024: strangers must not be able to fill the disk.
 *
 * @module
 */

import type { Context } from "../context.ts";
import { askIfRunning, followNode } from "../control.ts";
import { Interrupted } from "../interrupted.ts";
import { logEntries, type LogEntry } from "../log-entries.ts";
import { formatRefusal } from "../node-status.ts";
import { noteLost, withStore } from "../open-store.ts";
import { printable, printJson } from "../terminal.ts";

export interface LogOptions {
  readonly json: boolean;
  readonly follow: boolean;
  /** At most so many lines of what was. */
  readonly lines: number;
}

export async function log(context: Context, { json, ...options }: LogOptions): Promise<void> {
  const { terminal, home, interrupted: signal } = context;
  const print = async (entries: AsyncIterable<LogEntry>): Promise<void> => {
    for await (const entry of entries) {
      if (json) printJson(terminal, entry);
      else terminal.data.write(`${format(entry)}\n`);
    }
  };
  const node = await askIfRunning(home, (it) => it.status());
  if (node === undefined) {
    await withStore(context, "read", ({ store }) =>
      print(entriesOf(logEntries({ store }, { ...options, signal }))),
    );
  } else {
    const { state } = node.store;
    if (state.kind === "stale") noteLost(context, state.reason);
    await print(followNode(home, (it) => it.log(options), signal));
  }
  if (signal.aborted) throw new Interrupted();
}

async function* entriesOf(placed: ReturnType<typeof logEntries>): AsyncGenerator<LogEntry> {
  for await (const [entry] of placed) yield entry;
}

function format(entry: LogEntry): string {
  if (entry.kind === "refused") {
    const { time, who, alpn } = entry;
    return `${time}  refused  ${printable(`${who}  ${alpn}: ${formatRefusal(entry)}`)}`;
  }
  const { time, who, action, subject, detail } = entry;
  const details = Object.keys(detail).length === 0 ? "" : `  ${JSON.stringify(detail)}`;
  return `${time}  ${action}  ${printable(`${subject}  by ${who}${details}`)}`;
}
