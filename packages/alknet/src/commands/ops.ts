/**
 * `alknet ops TARGET [operation]`: what can be called there, and what each of it takes and asks for.
 *
 * @module
 */

import { declareOperations } from "@alknet/call/type-declarations";
import { withCallTarget } from "../call-target.ts";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import {
  describeOperation,
  describeOperations,
  type RemoteOperation,
  type Wants,
} from "../described-operations.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

export interface OpsOptions {
  readonly json: boolean;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

/** All of them as a table. */
export async function listOperations(
  context: Context,
  target: string,
  { json, transports }: OpsOptions,
): Promise<void> {
  const { terminal } = context;
  const operations = await withCallTarget(context, target, { transports }, describeOperations);
  if (json) return printJson(terminal, { target, operations });
  const rows = operations.map((it) => [`/${it.name}`, it.op_type, wanted(it.wants), fields(it)]);
  for (const line of aligned(rows)) terminal.data.write(`${printable(line)}\n`);
  say(terminal, `\nmore of one: alknet ops ${target} OPERATION; to call it: alknet call`);
}

/** One of them, with its types. */
export async function showOperation(
  context: Context,
  target: string,
  operation: string,
  { json, transports }: OpsOptions,
): Promise<void> {
  const { terminal } = context;
  const name = operation.replace(/^\//, "");
  const described = await withCallTarget(context, target, { transports }, (session, signal) =>
    describeOperation(session, name, signal),
  );
  if (described === undefined) {
    throw new CommandError(`there is no operation ${JSON.stringify(name)}, or none for this key`, {
      code: "NOT_FOUND",
      hint: `see what there is: alknet ops ${printable(target)}`,
    });
  }
  if (json) return printJson(terminal, described);
  printFields(terminal, [
    ["name", `/${described.name}`],
    ["type", described.op_type + (described.resumable ? ", can be resumed" : "")],
    ["wants", wanted(described.wants)],
    ...(described.description === undefined ? [] : [["about", described.description] as const]),
  ]);
  const types = declareOperations([described], target);
  // Without the line that says whose they are.
  terminal.data.write(types.slice(types.indexOf("\n") + 1));
}

/** `node:admin`; `one of node:status, node:admin` */
function wanted({ scopes, anyScope, resource }: Wants): string {
  const parts = [
    ...scopes,
    ...(anyScope.length === 0 ? [] : [`one of ${anyScope.join(", ")}`]),
    ...(resource === undefined ? [] : [`a resource ${resource}`]),
  ];
  return parts.length === 0 ? "no right" : parts.join(" and ");
}

/** `name scopes [until]`: what may be left out is in brackets. */
function fields({ input_schema: { properties, required } }: RemoteOperation): string {
  const needed = Array.isArray(required) ? required : [];
  return Object.keys(typeof properties === "object" ? (properties ?? {}) : {})
    .map((name) => (needed.includes(name) ? `--${name}` : `[--${name}]`))
    .join(" ");
}

/** Rows of texts under each other. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, at) => Math.max(widest[at] ?? 0, cell.length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join("  ")
      .trimEnd(),
  );
}
