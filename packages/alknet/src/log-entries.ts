/**
 * What `alknet log` shows: who was refused, which the running node keeps, and who changed what, which is in the
 * store. In the order of time; a cursor after each entry says where to go on.
 *
 * @module
 */

import type { IdentityStore } from "@alknet/core/identity-store";
import type { AuditEntry } from "@alknet/core/store-backend";
import type { EventLog, Numbered } from "./event-log.ts";
import type { RefusalStatus } from "./operations/status-document.ts";

export type LogEntry =
  | ({ readonly kind: "refused" } & RefusalStatus)
  | {
      readonly kind: "changed";
      /** RFC 3339, UTC. */
      readonly time: string;
      readonly who: string;
      readonly action: string;
      readonly subject: string;
      readonly detail: AuditEntry["detail"];
    };

/** Where one has read to: the last of each kind. */
export interface LogCursor {
  /** Number in the node's list of refusals, which begins anew with each node. */
  readonly refusal: number;
  /** Id in the store. */
  readonly change: number;
}

export interface LogSources {
  readonly store: Pick<IdentityStore, "audit">;
  /** `undefined`: no node runs. */
  readonly refusals?: EventLog<RefusalStatus> | undefined;
}

export interface LogOptions {
  /** Of what was, at most so many; where there is a cursor, all after it that is kept. */
  readonly lines: number;
  /** Go on with what comes, until `signal` aborts. */
  readonly follow: boolean;
  /** What was read before. */
  readonly after?: LogCursor | undefined;
  readonly signal: AbortSignal;
}

/** How often the store is asked for changes, in milliseconds. One look costs microseconds. */
const LOOK_EVERY = 250;

/** Changes that are read at once. Who is further behind misses the oldest. */
const MAX_CHANGES = 1_000;

type Placed = readonly [entry: LogEntry, cursor: LogCursor];

export async function* logEntries(
  sources: LogSources,
  { lines, follow, after, signal }: LogOptions,
): AsyncGenerator<Placed> {
  const { store, refusals } = sources;
  let added = false;
  let wake = (): void => {};
  const stop = refusals?.onadd(() => {
    added = true;
    wake();
  });
  const onabort = (): void => wake();
  signal.addEventListener("abort", onabort);
  try {
    let at = after;
    if (at === undefined) {
      const past = await newest(sources, lines);
      yield* past.shown;
      at = past.at;
      if (!follow) return;
    }
    while (!signal.aborted) {
      added = false;
      const changes = await store.audit({ after: at.change, limit: MAX_CHANGES });
      const fresh = merged(refusals?.after(at.refusal) ?? [], changes, at);
      yield* fresh;
      at = fresh.at(-1)?.[1] ?? at;
      if (!follow) return;
      if (added) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_EVERY);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
        if (signal.aborted) wake();
      });
    }
  } finally {
    stop?.();
    signal.removeEventListener("abort", onabort);
  }
}

/** The last `lines`, and where that is up to. */
async function newest(
  { store, refusals }: LogSources,
  lines: number,
): Promise<{ readonly shown: readonly Placed[]; readonly at: LogCursor }> {
  // One at least, so that what follows begins behind it.
  const changes = await store.audit({ limit: Math.max(1, lines) });
  const start = { refusal: 0, change: 0 };
  const all = merged(refusals?.after(0) ?? [], changes, start);
  return { shown: lines === 0 ? [] : all.slice(-lines), at: all.at(-1)?.[1] ?? start };
}

/** Both in the order of time, each in its own order whatever the clock said. */
function merged(
  refusals: readonly Numbered<RefusalStatus>[],
  changes: readonly AuditEntry[],
  start: LogCursor,
): Placed[] {
  const placed: Placed[] = [];
  let at = start;
  const [ofNode, ofStore] = [refusals.values(), changes.values()];
  let [refused, change] = [ofNode.next(), ofStore.next()];
  while (refused.done !== true || change.done !== true) {
    const refusedFirst =
      refused.done !== true &&
      (change.done === true || Date.parse(refused.value[1].time) < change.value.at);
    if (refusedFirst) {
      const [refusal, entry] = refused.value!;
      at = { ...at, refusal };
      placed.push([{ kind: "refused", ...entry }, at]);
      refused = ofNode.next();
    } else {
      const entry: AuditEntry = change.value!;
      at = { ...at, change: entry.id };
      placed.push([changed(entry), at]);
      change = ofStore.next();
    }
  }
  return placed;
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
