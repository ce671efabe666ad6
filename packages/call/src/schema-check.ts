/**
 * Values against schemas: synchronous where the schema is.
 *
 * @module
 */

import type { StandardSchemaV1 } from "@standard-schema/spec";
import { type CallError, remoteError } from "./call-error.ts";
import type { Schema } from "./operation.ts";

export type Checked = StandardSchemaV1.Result<unknown>;

/** Issues that are told of at most: input is of any size, and an error is to be read. */
const MAX_ISSUES = 16;

export function validate(schema: Schema, value: unknown): Checked | Promise<Checked> {
  const checked = schema["~standard"].validate(value);
  // What is no promise of ours would else pass for a result without issues.
  return "then" in checked ? Promise.resolve(checked) : checked;
}

/** What the caller gave is not what the operation takes. Its details say where. */
export function invalidInput(issues: readonly StandardSchemaV1.Issue[]): CallError {
  const details = { issues: issues.slice(0, MAX_ISSUES).map(readable) };
  const [first] = details.issues;
  const text =
    first === undefined ? "" : `: ${first.path === "" ? "" : `${first.path}: `}${first.message}`;
  return remoteError("INVALID_INPUT", `invalid input${text}`, { details });
}

/**
 * What the schema makes of an output, or of an item.
 *
 * @throws {OutputMismatch} if it does not pass; so does the promise reject.
 */
export function checkedOutput(schema: Schema, value: unknown): unknown {
  const checked = validate(schema, value);
  return checked instanceof Promise ? checked.then(outputOf) : outputOf(checked);
}

function outputOf(checked: Checked): unknown {
  if (checked.issues !== undefined) throw new OutputMismatch(checked.issues);
  return checked.value;
}

/** A handler did not keep to what its operation declares. For our log. */
export class OutputMismatch extends Error {
  override readonly name = "OutputMismatch";
  readonly code = "OUTPUT_MISMATCH";

  constructor(issues: readonly StandardSchemaV1.Issue[], options?: ErrorOptions) {
    const list = issues.slice(0, MAX_ISSUES).map((issue) => {
      const { path, message } = readable(issue);
      return path === "" ? message : `${path}: ${message}`;
    });
    super(`what the handler gave is not what its operation declares: ${list.join("; ")}`, options);
  }
}

function readable({ path = [], message }: StandardSchemaV1.Issue): {
  path: string;
  message: string;
} {
  const keys = path.map((it) => String(typeof it === "object" ? it.key : it));
  return { path: keys.join("."), message };
}
