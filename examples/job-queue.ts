/**
 * A small real service: a queue of jobs that peers add to, with progress that they can follow and come back to.
 *
 * ```text
 * await using queue = jobQueue({ run: encode, parallel: 2 });
 * const registry = createRegistry(queue.operations);
 * ```
 *
 * Who may is said where peers are: `call:invoke:jobs/*` for all of it, `call:invoke:jobs/progress` to look on.
 *
 * @module
 */

import { EventEmitter, once } from "node:events";
import { withEventId } from "@alknet/call/output-stream";
import { operation } from "@alknet/call/operation";
import * as z from "zod";

/** Work of one job. Aborted when the job is cancelled, or the queue is closed. */
export type Run = (
  task: string,
  job: { readonly report: (percent: number) => void; readonly signal: AbortSignal },
) => Promise<void>;

export interface JobQueueOptions {
  readonly run: Run;
  /** Jobs that run at once. @default 1 */
  readonly parallel?: number | undefined;
  /** Jobs that wait; above, `QUEUE_FULL`. @default 1_000 */
  readonly waiting?: number | undefined;
}

/** Jobs that are over and can still be looked at. */
const MAX_OVER = 1_000;

const Progress = z.object({
  state: z.enum(["waiting", "running", "done", "failed", "cancelled"]),
  percent: z.number().min(0).max(100),
});
type Progress = z.infer<typeof Progress>;

interface Job {
  readonly id: string;
  readonly task: string;
  progress: Progress;
  /** How often the progress has changed: the id of that event. */
  version: number;
  readonly cancel: AbortController;
  /** Emits `change`. */
  readonly changes: EventEmitter;
}

const NO_SUCH_JOB = {
  NO_SUCH_JOB: {
    description: "no such job",
    details: z.object({ id: z.string() }),
    httpStatus: 404,
  },
};

export function jobQueue({ run, parallel = 1, waiting = 1_000 }: JobQueueOptions) {
  const jobs = new Map<string, Job>();
  const queue: Job[] = [];
  let running = 0;
  let ids = 0;

  function change(job: Job, progress: Progress): void {
    job.progress = progress;
    job.version += 1;
    job.changes.emit("change");
    if (!isOver(job)) return;
    const over = jobs.values().filter(isOver).toArray();
    if (over.length > MAX_OVER) jobs.delete(over[0]!.id);
  }

  async function next(): Promise<void> {
    const job = queue.shift();
    if (job === undefined) return;
    running += 1;
    change(job, { state: "running", percent: 0 });
    try {
      const { signal } = job.cancel;
      const report = (percent: number): void => {
        if (!isOver(job)) change(job, { state: "running", percent });
      };
      await run(job.task, { report, signal });
      change(job, { state: "done", percent: 100 });
    } catch {
      const state = job.cancel.signal.aborted ? "cancelled" : "failed";
      change(job, { ...job.progress, state });
    }
    running -= 1;
    void next();
  }

  /** One that waits is over at once, one that runs when its work has ended. */
  function stop(job: Job): void {
    job.cancel.abort();
    const at = queue.indexOf(job);
    if (at < 0) return;
    queue.splice(at, 1);
    change(job, { ...job.progress, state: "cancelled" });
  }

  const add = operation({
    name: "jobs/add",
    type: "mutation",
    description: "Add a job; it runs when its turn comes.",
    input: z.object({ task: z.string().max(1_000) }),
    output: z.object({ id: z.string() }),
    errors: { QUEUE_FULL: { description: "too many jobs wait; try later", httpStatus: 429 } },
    handler({ task }, context) {
      if (queue.length >= waiting) throw context.error("QUEUE_FULL");
      const id = String(++ids);
      const progress: Progress = { state: "waiting", percent: 0 };
      const job: Job = {
        id,
        task,
        progress,
        version: 0,
        cancel: new AbortController(),
        // As many followers as there are.
        changes: new EventEmitter().setMaxListeners(0),
      };
      jobs.set(id, job);
      queue.push(job);
      if (running < parallel) void next();
      return { id };
    },
  });

  const list = operation({
    name: "jobs/list",
    type: "query",
    description: "All jobs that wait or run, and the last that are over.",
    input: z.object({}),
    output: z.array(Progress.extend({ id: z.string(), task: z.string() })),
    handler: () => [...jobs.values()].map(({ id, task, progress }) => ({ id, task, ...progress })),
  });

  const cancel = operation({
    name: "jobs/cancel",
    type: "mutation",
    description: "Cancel a job that waits or runs.",
    input: z.object({ id: z.string() }),
    output: z.object({}),
    errors: NO_SUCH_JOB,
    handler({ id }, context) {
      const job = jobs.get(id);
      if (job === undefined) throw context.error("NO_SUCH_JOB", { id });
      stop(job);
      return {};
    },
  });

  const progress = operation({
    name: "jobs/progress",
    type: "subscription",
    description: "How far a job is, now and at each change, until it is over.",
    input: z.object({ id: z.string() }),
    output: Progress,
    errors: NO_SUCH_JOB,
    // Who comes back after a lost connection is told only what has changed meanwhile.
    resumable: true,
    async *handler({ id }, context) {
      const job = jobs.get(id);
      if (job === undefined) throw context.error("NO_SUCH_JOB", { id });
      let seen = Number(context.lastEventId ?? -1);
      for (;;) {
        if (job.version !== seen) yield withEventId(String((seen = job.version)), job.progress);
        // A slow reader is not told of each percent, but of the last.
        if (job.version !== seen) continue;
        if (isOver(job)) return;
        // With the signal: nobody waits here for a subscriber that has left.
        await once(job.changes, "change", { signal: context.signal });
      }
    },
  });

  return {
    operations: [add, list, cancel, progress] as const,
    [Symbol.dispose](): void {
      for (const job of jobs.values()) stop(job);
    },
  };
}

function isOver({ progress }: Job): boolean {
  return progress.state !== "waiting" && progress.state !== "running";
}

/** What a client is made of: `client<JobOperations>(session)`. */
export type JobOperations = ReturnType<typeof jobQueue>["operations"];
