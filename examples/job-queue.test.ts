import assert from "node:assert/strict";
import { test } from "node:test";
import { callHandler } from "@alknet/call/call-handler";
import { callSession } from "@alknet/call/call-session";
import { client } from "@alknet/call/client";
import { createRegistry } from "@alknet/call/registry";
import type { CallSession } from "@alknet/call/session";
import { ownerContext } from "@alknet/core/access";
import { connectionPair } from "@alknet/core/testing";
import { type JobOperations, jobQueue, type Run } from "./job-queue.ts";

/** The queue behind `alknet/call`, and a client of it. */
function serve(run: Run, waiting?: number) {
  const queue = jobQueue({ run, waiting });
  const pair = connectionPair({ alpn: "alknet/call", auth: { server: ownerContext() } });
  const begun = Promise.withResolvers<CallSession>();
  const registry = createRegistry(queue.operations);
  void callHandler({ registry, onsession: begun.resolve }).handle(pair.server);
  const { jobs } = client<JobOperations>(callSession(pair.client));
  return {
    jobs,
    queue,
    server: begun.promise,
    async [Symbol.asyncDispose]() {
      queue[Symbol.dispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
}

/** Rejects once `signal` aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
}

test("a job is added, followed to its end, and listed", async () => {
  const half = Promise.withResolvers<void>();
  await using service = serve(async (task, { report }) => {
    assert.equal(task, "encode film");
    report(50);
    await half.promise;
  });
  const { jobs } = service;
  const { id } = await jobs.add({ task: "encode film" });
  const seen: string[] = [];
  for await (const { state, percent } of jobs.progress({ id })) {
    seen.push(`${state} ${percent}`);
    half.resolve();
  }
  assert.deepEqual(seen, ["running 50", "done 100"]);
  assert.deepEqual(await jobs.list(), [{ id, task: "encode film", state: "done", percent: 100 }]);
  // Who comes back has seen it all.
  assert.deepEqual(await Array.fromAsync(jobs.progress({ id }, { lastEventId: "3" })), []);
});

test("jobs wait for their turn, and can be cancelled while they do and while they run", async () => {
  await using service = serve((_, { signal }) => aborted(signal), 1);
  const { jobs } = service;
  const running = await jobs.add({ task: "one" });
  const waiting = await jobs.add({ task: "two" });
  const full = await jobs.add.try({ task: "three" });
  assert.equal(full.error?.code, "QUEUE_FULL");
  for (const { id } of [waiting, running]) {
    await jobs.cancel({ id });
    const last = (await Array.fromAsync(jobs.progress({ id }))).at(-1);
    assert.equal(last?.state, "cancelled");
  }
  const missing = await jobs.cancel.try({ id: "99" });
  assert.ok(jobs.cancel.isError(missing.error, "NO_SUCH_JOB"));
  assert.deepEqual(missing.error.details, { id: "99" });
});

test("who leaves while nothing changes leaves nothing behind", async () => {
  await using service = serve((_, { signal }) => aborted(signal));
  const { jobs } = service;
  const { id } = await jobs.add({ task: "long" });
  for await (const { state } of jobs.progress({ id })) {
    assert.equal(state, "running");
    break;
  }
  const server = await service.server;
  while (server.stats().running > 0) await new Promise(setImmediate);
  assert.equal(server.stats().incoming, 0);
});

test("what is over stays over, and a queue that is closed leaves nobody waiting", async () => {
  let late: ((percent: number) => void) | undefined;
  await using service = serve(async (task, { report, signal }) => {
    late ??= report;
    if (task !== "short") await aborted(signal);
  });
  const { jobs, queue } = service;
  const short = await jobs.add({ task: "short" });
  await Array.fromAsync(jobs.progress(short));
  late?.(50);
  assert.equal((await jobs.list()).at(0)?.state, "done");
  const [running, waiting] = [await jobs.add({ task: "one" }), await jobs.add({ task: "two" })];
  const followed = [running, waiting].map((job) => jobs.progress(job));
  for (const progress of followed) await progress.next();
  queue[Symbol.dispose]();
  for (const progress of followed) {
    assert.deepEqual((await Array.fromAsync(progress)).at(-1)?.state, "cancelled");
  }
});
