/**
 * JSON Schema (draft 2020-12) of any Standard Schema, and back as far as an imported operation needs it.
 *
 * @module
 */

import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import type { Schema } from "./operation.ts";

/** A schema as JSON. `{}` is anything. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * What may go into `schema`. What JSON Schema cannot say (a date, a transformation) is `{}`, as is a schema of
 * a library that has no JSON Schema.
 */
export function inputJsonSchema(schema: Schema): JsonSchema {
  return converted(schema, "input");
}

/** What comes out of `schema`; see {@linkcode inputJsonSchema}. */
export function outputJsonSchema(schema: Schema): JsonSchema {
  return converted(schema, "output");
}

/**
 * A schema that says `json` and lets everything pass: the node that the operation is imported from checks
 * what it is given.
 */
export function uncheckedSchema(json: JsonSchema): Schema {
  const convert = (): Record<string, unknown> => ({ ...json });
  const props: StandardSchemaV1.Props & StandardJSONSchemaV1.Props = {
    version: 1,
    vendor: "alknet",
    validate: (value) => ({ value }),
    jsonSchema: { input: convert, output: convert },
  };
  return { "~standard": props };
}

/** Schemas do not change, and anybody who is connected may ask for them: they are converted once. */
const known = {
  input: new WeakMap<Schema, JsonSchema>(),
  output: new WeakMap<Schema, JsonSchema>(),
};

function converted(schema: Schema, side: "input" | "output"): JsonSchema {
  const before = known[side].get(schema);
  if (before !== undefined) return before;
  const json = Object.freeze(convert(schema, side));
  known[side].set(schema, json);
  return json;
}

function convert(schema: Schema, side: "input" | "output"): JsonSchema {
  const props = schema["~standard"];
  if (!hasJsonSchema(props)) return {};
  try {
    // Of zod; others ignore it, and may throw at what they cannot say.
    const libraryOptions = { unrepresentable: "any" };
    const { $schema: _, ...json } = props.jsonSchema[side]({
      target: "draft-2020-12",
      libraryOptions,
    });
    return json;
  } catch {
    // It is a description for others to read: the schema itself still decides.
    return {};
  }
}

function hasJsonSchema(
  props: StandardSchemaV1.Props,
): props is StandardSchemaV1.Props & StandardJSONSchemaV1.Props {
  return "jsonSchema" in props;
}
