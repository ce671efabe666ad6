/**
 * `alknet log`: who was refused what and why, and who changed what when.
 *
 * Changes are in the store, and are shown whether a node runs or not. Refusals are the running node's, which
 * keeps the newest 1,024: strangers must not be able to fill the disk.
 *
 * @module
 */

import type { IdentityStore } from "@alknet/core/identity-store";
import type { AuditEntry } from "@alknet/core/store-backend";
import type { Context } from "../context.ts";
import { askNode, followNode } from "../control.ts";
import { Interrupted } from "../interrupted.ts";
import { formatRefusal, type RefusalStatus } from "../node-status.ts";
import { withStore } from "../open-store.ts";
import { printable, printJson } from "../terminal.ts";

export interface LogOptions {
  readonly json: boolean;
  readonly follow: boolean;
  /** At most so many lines of what was. */
  readonly lines: number;
}

/** One line of the log, as JSON has it. */
type LogEntry =
  | ({ readonly kind: "refused" } & RefusalStatus)
  | {
      readonly kind: "changed";
      readonly time: string;
      readonly who: string;
      readonly action: string;
      readonly subject: string;
      readonly detail: AuditEntry["detail"];
    };

/** How often the store is asked for changes, in milliseconds. One look costs microseconds. */
const LOOK_EVERY = 250;

export async function log(context: Context, { json, follow, lines }: LogOptions): Promise<void> {
  const { terminal, home, interrupted } = context;
  const print = (entry: LogEntry): void => {
    if (json) printJson(terminal, entry);
    else terminal.data.write(`${format(entry)}\n`);
  };
  await withStore(context, "read", async ({ store }) => {
    // One at least, so that what follows begins behind it.
    const changes = await store.audit({ limit: Math.max(1, lines) });
    const refusals = await askNode(home, "refusals").then(
      (answer) => (answer as { refused: readonly RefusalStatus[] }).refused,
      (error: unknown) => {
        if ((error as { code?: unknown }).code !== "NOT_RUNNING") throw error;
        return undefined;
      },
    );
    const past = [
      ...changes.map(changed),
      ...(refusals ?? []).map((each): LogEntry => ({ kind: "refused", ...each })),
    ].toSorted((a, b) => (a.time < b.time ? -1 : Number(a.time > b.time)));
    for (const entry of lines === 0 ? [] : past.slice(-lines)) print(entry);
    if (!follow) return;
    await Promise.all([
      followChanges(store, changes.at(-1)?.id ?? 0, interrupted, print),
      refusals === undefined ? undefined : followRefusals(context, print),
    ]);
    if (interrupted.aborted) throw new Interrupted();
  });
}

async function followRefusals(
  { home, interrupted }: Context,
  print: (entry: LogEntry) => void,
): Promise<void> {
  for await (const entry of followNode(home, "refusals", { follow: true }, interrupted)) {
    print({ kind: "refused", ...(entry as unknown as RefusalStatus) });
  }
}

async function followChanges(
  store: IdentityStore,
  after: number,
  interrupted: AbortSignal,
  print: (entry: LogEntry) => void,
): Promise<void> {
  let last = after;
  while (!interrupted.aborted) {
    for (const entry of await store.audit({ after: last, limit: 1_000 })) {
      print(changed(entry));
      last = entry.id;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, LOOK_EVERY);
      interrupted.addEventListener("abort", done, { once: true });
      function done(): void {
        clearTimeout(timer);
        interrupted.removeEventListener("abort", done);
        resolve();
      }
    });
  }
}

function changed({ at, actor, action, subject, detail }: AuditEntry): LogEntry {
  return {
    kind: "changed",
    time: new Date(at).toISOString(),
    who: actor,
    action,
    subject,
    detail,
  };
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
