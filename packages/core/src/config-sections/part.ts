/**
 * A part of `alknet.toml`: the form that it is written in, and what programs make of it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type * as z from "zod/mini";

declare const written: unique symbol;

/** What was written, defaults filled in. Its type is known to the part alone: it cannot be spelt but by the schema. */
export type Written<Value> = object & { readonly [written]: Value };

/** The absolute path of a file that the configuration names. */
export type FileAt = (file: string | undefined) => string | undefined;

export interface ConfigPart<Value> {
  readonly schema: z.ZodMiniType<Written<Value>>;
  /** What `schema` accepted, as programs use it; frozen. */
  readonly read: (written: Written<Value>, fileAt: FileAt) => Value;
}

/** Put a schema together with what reads its output. */
export function part<Schema extends z.ZodMiniType<object>, Value>(
  schema: Schema,
  read: (written: z.output<Schema>, fileAt: FileAt) => Value,
): ConfigPart<Value> {
  return { schema, read } as unknown as ConfigPart<Value>;
}
