/**
 * The schema of `alknet.toml` as JSON Schema: for editors, for the page of the documentation, and to say what was
 * expected where something else stands.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { configDocument } from "./config-document.ts";
import type { TomlPath } from "./toml-positions.ts";

/** A JSON Schema, of the part of draft 2020-12 that {@linkcode configJsonSchema} uses. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false | JsonSchema;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
}

let jsonSchema: JsonSchema | undefined;

/** The schema as JSON Schema, draft 2020-12, with descriptions and defaults. */
export function configJsonSchema(): JsonSchema {
  return (jsonSchema ??= {
    title: "alknet.toml",
    ...(z.toJSONSchema(configDocument.schema, {
      target: "draft-2020-12",
      unrepresentable: "any",
      // Of the output: the way in leads through checks that JSON Schema cannot express.
      io: "output",
      override: ({ zodSchema, jsonSchema: made }) => {
        const { def } = zodSchema._zod;
        if (def.type !== "object") return;
        // There is a default for all others; `output` means the file after they were filled in.
        const { shape } = def as z.core.$ZodObjectDef;
        const required = Object.keys(shape).filter((key) => shape[key]!._zod.optin === undefined);
        if (required.length > 0) made.required = required;
        else delete made.required;
      },
    }) as JsonSchema),
  });
}

/** What the schema says of the place at `path`; `undefined` where nothing may stand. */
export function schemaAt(path: TomlPath): JsonSchema | undefined {
  let schema: JsonSchema | undefined = configJsonSchema();
  for (const key of path) {
    if (schema === undefined) return undefined;
    const list: JsonSchema | undefined =
      schema.items ?? schema.anyOf?.find(({ items }) => items)?.items;
    if (typeof key === "number") schema = list;
    else if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) {
      schema = schema.properties[key];
    } else schema = schema.additionalProperties || undefined;
  }
  return schema;
}
