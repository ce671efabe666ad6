import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import * as z from "zod";
import { declareOperations, type TypedOperation } from "./type-declarations.ts";

const tree = z.object({
  name: z.string(),
  get children() {
    return z.array(tree);
  },
});

const operations: readonly TypedOperation[] = [
  {
    name: "fs/list",
    op_type: "query",
    description: "Names in a folder. */ let evil: any; /*",
    input_schema: z.toJSONSchema(z.object({ path: z.string(), all: z.boolean().optional() })),
    output_schema: z.toJSONSchema(z.array(z.string())),
    error_schemas: [
      {
        code: "FILE_NOT_FOUND",
        description: "no such file",
        schema: z.toJSONSchema(z.object({ path: z.string() })),
        http_status: 404,
      },
      { code: "BUSY", description: "", schema: {}, http_status: null },
    ],
  },
  {
    name: "fs/tree",
    op_type: "subscription",
    input_schema: {},
    output_schema: z.toJSONSchema(tree),
    error_schemas: [],
  },
  {
    name: 'odd"/name',
    op_type: "mutation",
    input_schema: z.toJSONSchema(z.tuple([z.string(), z.number()])),
    output_schema: {},
    error_schemas: [],
  },
];

test("declareOperations() makes a declaration that the compiler takes, and that says what it should", () => {
  const text = declareOperations(operations, "den\n// evil");
  const folder = mkdtempSync(join(tmpdir(), "alknet-types-"));
  try {
    writeFileSync(join(folder, "den.d.ts"), text);
    writeFileSync(
      join(folder, "use.ts"),
      `import type { Operations } from "./den.d.ts";
      const input: Operations["fs/list"]["input"] = { path: "/" };
      const output: string[] = null! as Operations["fs/list"]["output"];
      const details: { path: string } = null! as Operations["fs/list"]["errors"]["FILE_NOT_FOUND"];
      const child: string | undefined = (null! as Operations["fs/tree"]["output"]).children[0]?.name;
      const kind: "mutation" = null! as Operations['odd"/name']["type"];
      // @ts-expect-error: it has to be there.
      const none: Operations["fs/list"]["input"] = {};
      // @ts-expect-error: nothing came in by the comment.
      evil;
      export { input, output, details, child, kind, none };`,
    );
    const flags = [
      "--noEmit",
      "--strict",
      "--ignoreConfig",
      "--module",
      "nodenext",
      "--allowImportingTsExtensions",
    ];
    execFileSync(resolve("node_modules/.bin/tsc"), [...flags, join(folder, "use.ts")], {
      encoding: "utf8",
    });
  } catch (error) {
    assert.fail(`${(error as { stdout?: string }).stdout ?? String(error)}\n${text}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("declareOperations() refuses an operation of a type that it does not know", () => {
  assert.throws(
    () => declareOperations([{ ...operations[0]!, op_type: "stream" as never }], "den"),
    /expected one of query, mutation, subscription, got "stream"/,
  );
});
