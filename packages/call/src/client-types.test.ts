/** Types alone: the compiler runs these tests, and `node --test` that the file can be loaded. */

import { test } from "node:test";
import * as z from "zod";
import type { CallError } from "./call-error.ts";
import type { Subscription } from "./caller.ts";
import type { Client } from "./client-types.ts";
import { withEventId } from "./output-stream.ts";
import { operation } from "./operation.ts";

const list = operation({
  name: "fs/list",
  type: "query",
  input: z.object({ path: z.string(), depth: z.number().default(1) }),
  output: z.array(
    z.object({ name: z.string(), at: z.string().transform((text) => new Date(text)) }),
  ),
  errors: {
    NO_FOLDER: { description: "no such folder", details: z.object({ path: z.string() }) },
    BUSY: { description: "later" },
  },
  handler: () => [{ name: "a", at: "2026-01-01" }],
});
const clear = operation({
  name: "fs/cache/clear",
  type: "mutation",
  input: z.object({ force: z.boolean().optional() }),
  output: z.null(),
  handler: async () => null,
});
const watch = operation({
  name: "fs/watch",
  type: "subscription",
  input: z.object({ path: z.string() }),
  output: z.object({ changed: z.string() }),
  resumable: true,
  async *handler() {
    yield withEventId("1", { changed: "a" });
    yield { changed: "b" };
  },
});

/** Compiles only if the two are the same type. */
function same<A, B>(
  ...proof: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? [] : [never]
): void {
  void proof;
}

declare const node: Client<readonly [typeof list, typeof clear, typeof watch]>;

/** Never run: what matters is what the compiler says of it. */
async function typed(): Promise<void> {
  const names = await node.fs.list({ path: "/" });
  // What travels is JSON.
  same<typeof names, { name: string; at: string }[]>();
  const cleared = await node.fs.cache.clear();
  same<typeof cleared, null>();
  const events = node.fs.watch({ path: "/" }, { lastEventId: "7", window: 10 });
  same<typeof events, Subscription<{ changed: string }>>();
  for await (const event of events) same<typeof event, { changed: string }>();

  const result = await node.fs.list.try({ path: "/", depth: 2 });
  if (result.ok) same<typeof result.output, { name: string; at: string }[]>();
  else if (result.error.code === "NO_FOLDER")
    same<
      typeof result.error.details,
      { readonly path: string }["path"] extends string ? { path: string } : never
    >();
  else if (result.error.code === "BUSY") same<typeof result.error.details, undefined>();
  else same<typeof result.error.code, import("./call-error.ts").CallErrorCode>();

  const error: unknown = undefined;
  if (node.fs.list.isError(error, "NO_FOLDER")) {
    const asCallError: CallError = error;
    same<typeof error.details, { path: string }>();
    void asCallError;
  }

  // @ts-expect-error: no such operation
  void node.fs.remove;
  // @ts-expect-error: a path is needed
  void node.fs.list({});
  // @ts-expect-error: an input is needed
  void node.fs.list();
  // @ts-expect-error: of another type
  void node.fs.list({ path: 7 });
  // @ts-expect-error: a subscription is no promise
  void node.fs.watch({ path: "/" }).then;
  // @ts-expect-error: a call has no window
  void node.fs.list({ path: "/" }, { window: 7 });
  // @ts-expect-error: not a code that it declares
  node.fs.list.isError(error, "NO_SUCH");
}

/** What `alknet call types` writes: an interface, which a map of types need not be. */
interface Operations {
  "jobs/start": {
    type: "mutation";
    input: { n: number };
    output: { id: string };
    errors: { FULL: { size: number } };
  };
  "jobs/follow": { type: "subscription"; input: unknown; output: number; errors: {} };
}
declare const described: Client<Operations>;

async function typedByDescription(): Promise<void> {
  const started = await described.jobs.start({ n: 1 });
  same<typeof started, { id: string }>();
  for await (const progress of described.jobs.follow()) same<typeof progress, number>();
  const { error } = await described.jobs.start.try({ n: 1 });
  if (error?.code === "FULL") same<typeof error.details, { size: number }>();
}

const Brand = z.string().brand("id");
const odd = operation({
  name: "odd/types",
  type: "query",
  input: z.object({}),
  output: z.object({
    any: z.unknown(),
    id: Brand,
    pair: z.tuple([z.date(), z.number()]),
    maybe: z.date().nullable().optional(),
    by: z.record(z.string(), z.array(z.date())),
    either: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("at"), at: z.date() }),
      z.object({ kind: z.literal("none") }),
    ]),
  }),
  errors: { LATE: { description: "too late", details: z.object({ since: z.date() }) } },
  handler: () => {
    throw new Error("never called");
  },
});
declare const strange: Client<readonly [typeof odd]>;

async function typedAsJson(): Promise<void> {
  const { output, error } = await strange.odd.types.try();
  if (error?.code === "LATE") same<typeof error.details, { since: string }>();
  if (output === undefined) return;
  same<typeof output.any, unknown>();
  same<typeof output.id, z.infer<typeof Brand>>();
  same<typeof output.pair, [string, number]>();
  same<typeof output.maybe, string | null | undefined>();
  same<typeof output.by, Record<string, string[]>>();
  if (output.either.kind === "at") same<typeof output.either.at, string>();
}

test("the types of a client are those of its operations", () => {
  void typed;
  void typedByDescription;
  void typedAsJson;
});
