import assert from "node:assert/strict";
import { test } from "node:test";
import { callHandler } from "@alknet/call/call-handler";
import { callSession } from "@alknet/call/call-session";
import { client } from "@alknet/call/client";
import { createRegistry } from "@alknet/call/registry";
import { ownerContext } from "@alknet/core/access";
import { connectionPair } from "@alknet/core/testing";
import { type JobOperations, jobQueue, type Run } from "./job-queue.ts";

/** The queue behind `alknet/call`, and a client of it. */
function serve(run: Run, waiting?: number) {
  const queue = jobQueue({ run, waiting });
  const pair = connectionPair({ alpn: "alknet/call", auth: { server: ownerContext() } });
  void callHandler({ registry: createRegistry(queue.operations) }).handle(pair.server);
  const { jobs } = client<JobOperations>(callSession(pair.client));
  return {
    jobs,
    async [Symbol.asyncDispose]() {
      queue[Symbol.dispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
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
  await using service = serve(
    (_, { signal }) => new Promise((_done, fail) => signal.addEventListener("abort", fail)),
    1,
  );
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
