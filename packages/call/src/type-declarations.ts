/**
 * The operations of another node as a TypeScript declaration, for a client without its code:
 *
 * ```text
 * import { client } from "@alknet/call/client";
 * import type { Operations } from "./den.d.ts";      // alknet call types den > den.d.ts
 *
 * const den = client<Operations>(session);
 * await den.fs.list({ path: "/" });
 * ```
 *
 * Pure: no I/O.
 *
 * @module
 */

import { comment, indented, propertyName, quoted, typeOfSchema } from "./schema-type.ts";
import type { DescribedOperation } from "./services.ts";

/** Of what `services/schema` answers about an operation, what its types are made of. */
export type TypedOperation = Pick<
  DescribedOperation,
  "name" | "op_type" | "description" | "input_schema" | "output_schema" | "error_schemas"
>;

const TYPES: readonly string[] = ["query", "mutation", "subscription"];

/**
 * The text of a `.d.ts` that exports the interface `Operations`.
 *
 * @param from whose operations they are: said in its first line.
 * @throws {RangeError} if an operation is of no known type, or its types are too long to write down.
 */
export function declareOperations(operations: readonly TypedOperation[], from: string): string {
  const declarations: string[] = [];
  const members: string[] = [];
  for (const [index, operation] of operations.entries()) {
    const { name, op_type, error_schemas } = operation;
    if (!TYPES.includes(op_type)) {
      throw new RangeError(
        `cannot declare operation ${quoted(name)}: expected one of ${TYPES.join(", ")}, got ${quoted(op_type)}`,
      );
    }
    // Only what refers to itself or is used twice needs a name; the number keeps two of them apart.
    const label = `${identifier(name)}_${index}`;
    const typeOf = (schema: unknown, part: string): string => {
      const { type, declarations: more } = typeOfSchema(schema, `${label}_${part}`);
      declarations.push(...more);
      return type;
    };
    const errors = error_schemas.map(
      ({ code, description, schema }, at) =>
        `${comment({ description })}${propertyName(code)}: ${typeOf(schema, `error_${at}`)};`,
    );
    const types = [
      `type: ${quoted(op_type)};`,
      `input: ${typeOf(operation.input_schema, "input")};`,
      `output: ${typeOf(operation.output_schema, "output")};`,
      errors.length === 0 ? "errors: {};" : `errors: {\n${indented(errors.join("\n"))}\n};`,
    ];
    members.push(`${comment(operation)}${quoted(name)}: {\n${indented(types.join("\n"))}\n};`);
  }
  const heading = `// Operations of ${quoted(from)}, as it described them. Made by: alknet call types\n`;
  const named = declarations.map((line) => `${line}\n`).join("");
  return `${heading}\nexport interface Operations {\n${indented(members.join("\n"))}\n}\n${named === "" ? "" : `\n${named}`}`;
}

/** Some identifier with `name` in it. */
function identifier(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  const text = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  return `T${text.slice(0, 64)}`;
}
