import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import {
  type ErrorsOf,
  type InputOf,
  isOperationName,
  operation,
  type OutputOf,
} from "./operation.ts";
import { type EventItem, withEventId } from "./output-stream.ts";

/** Compiles only if both types are one. */
function same<A, B>(
  verdict: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false,
): void {
  assert.ok(verdict);
}

const input = z.object({ path: z.string(), depth: z.string().transform(Number) });
const output = z.object({ at: z.number().transform(String) });

test("operation() types the handler: what the input's schema makes, what goes into the output's", () => {
  const read = operation({
    name: "fs/read",
    type: "query",
    input,
    output,
    errors: {
      GONE: { description: "it is gone", details: z.object({ since: z.coerce.date() }) },
      BUSY: { description: "try again" },
    },
    async handler(given, context) {
      same<typeof given, { path: string; depth: number }>(true);
      if (given.path === "gone") throw context.error("GONE", { since: "2026-11-22" });
      if (given.path === "busy") throw context.error("BUSY", undefined, "busy with it");
      // @ts-expect-error this code is not declared
      if (given.path === "typo") throw context.error("BUSSY");
      // @ts-expect-error its details are missing
      if (given.path === "bare") throw context.error("GONE");
      return { at: given.depth };
    },
  });
  same<InputOf<typeof read>, { path: string; depth: string }>(true);
  same<OutputOf<typeof read>, { at: string }>(true);
  same<
    ErrorsOf<typeof read>,
    | { readonly code: "GONE"; readonly details: { since: Date } }
    | { readonly code: "BUSY"; readonly details: undefined }
  >(true);
  same<(typeof read)["name"], "fs/read">(true);
  same<(typeof read)["type"], "query">(true);
  assert.equal(read.name, "fs/read");
});

test("operation() wants the output that its schema takes", () => {
  const definition = { name: "fs/stat", type: "query", input, output } as const;
  // @ts-expect-error the handler returns what the schema makes, not what goes into it
  operation({ ...definition, handler: () => ({ at: "1" }) });
  // @ts-expect-error a query has no items
  operation({ ...definition, async *handler() {} });
  operation({ ...definition, handler: () => ({ at: 1 }) });
});

test("operation() types a subscription's items, with and without an id", () => {
  const events = operation({
    name: "node/events",
    type: "subscription",
    input: z.object({}),
    output,
    resumable: true,
    async *handler(_, context) {
      same<typeof context.lastEventId, string | undefined>(true);
      yield { at: 1 };
      yield withEventId("2", { at: 2 });
    },
  });
  same<ErrorsOf<typeof events>, never>(true);
  same<
    ReturnType<(typeof events)["handler"]>,
    AsyncIterable<{ at: number } | EventItem<{ at: number }>>
  >(true);
  // @ts-expect-error an item that the schema does not take
  operation({ ...events, async *handler() { yield { at: "2" }; } }); // prettier-ignore
});

test("operation() refuses a name that has no service, or a slash in front", () => {
  for (const name of [
    "list",
    "/fs/list",
    "fs//list",
    "fs/",
    "fs/ list",
    "fs/*",
    `fs/${"x".repeat(256)}`,
  ]) {
    assert.equal(isOperationName(name), false, name);
    assert.throws(
      () => operation({ name, type: "query", input, output, handler: () => ({ at: 1 }) }),
      TypeError,
    );
  }
  for (const name of ["fs/readFile", "docker/container/exec", "services/list-peers", "a/b.c_d"]) {
    assert.equal(isOperationName(name), true, name);
  }
});
