/**
 * The forms that values in `alknet.toml` have, each with a description for people and for editors.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { DURATION_PATTERN, formatDuration, parseDuration } from "../duration.ts";

export type Described = {
  readonly description: string;
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
};

/** Text that `parse` accepts. It is parsed again where it is used; here only whether it can be. */
export function text(described: Described, parse?: (text: string) => unknown): z.ZodMiniString {
  const schema = z.string().check(z.meta({ ...described }));
  return parse === undefined ? schema : schema.check(parses(parse));
}

/** The path of a file, from the folder of `alknet.toml` on. */
export function file(description: string, example: string): z.ZodMiniOptional<z.ZodMiniString> {
  return z.optional(text({ description, examples: [example] }, parsePath));
}

function parsePath(path: string): void {
  if (path !== "" && !path.includes("\0")) return;
  throw new SyntaxError(`cannot use path ${quoted(path)}: expected the path of a file`);
}

interface Checked {
  readonly value: string;
  readonly issues: unknown[];
}

/** A check that text parses. */
export function parses(parse: (text: string) => unknown): (context: Checked) => void {
  return (context) => {
    try {
      parse(context.value);
    } catch (error) {
      const { message } = error as Error;
      context.issues.push({ code: "custom", message, input: context.value });
    }
  };
}

/** A list, or its one entry by itself. */
export function oneOrMore<Item extends z.ZodMiniType>(
  item: Item,
  described: Described,
  most: number,
): z.ZodMiniUnion<readonly [Item, z.ZodMiniArray<Item>]> {
  return z.union([item, z.array(item).check(z.maxLength(most))]).check(z.meta({ ...described }));
}

/** What {@linkcode oneOrMore} accepts, as a list. */
export function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}

export function flag(description: string, value: boolean): z.ZodMiniDefault<z.ZodMiniBoolean> {
  return z._default(z.boolean(), value).check(z.meta({ description }));
}

export function count(
  description: string,
  value: number,
  most: number,
): z.ZodMiniDefault<z.ZodMiniInt> {
  return z._default(z.int().check(z.gte(1), z.lte(most)), value).check(z.meta({ description }));
}

/** A duration, default and bounds in milliseconds. */
export function duration(
  description: string,
  value: number,
  [least, most]: readonly [number, number],
): z.ZodMiniDefault<z.ZodMiniString> {
  const range = `${formatDuration(least)} to ${formatDuration(most)}`;
  const within = (written: string): void => {
    const milliseconds = parseDuration(written);
    if (milliseconds >= least && milliseconds <= most) return;
    throw new RangeError(`cannot use ${JSON.stringify(written)}: expected ${range}`);
  };
  return z
    ._default(
      z.string().check(parses(within), z.meta({ pattern: DURATION_PATTERN })),
      formatDuration(value),
    )
    .check(z.meta({ description: `${description} ${sentence(range)}` }));
}

export function sentence(words: string): string {
  return `${words[0]!.toUpperCase()}${words.slice(1)}.`;
}

export const NOT_A_TABLE = "expected a table";

/** A date is an object too, and zod would take it for an empty table. */
export const notDate: z.ZodMiniCustom<object> = z.custom<object>(
  (value) => !(value instanceof Date),
  NOT_A_TABLE,
);

/** A table with these keys, and no others. */
export type Table<Shape extends z.core.$ZodLooseShape> = z.ZodMiniPipe<
  z.ZodMiniCustom<object>,
  z.ZodMiniObject<z.core.util.Writeable<Shape>, z.core.$strict>
>;

export function table<Shape extends z.core.$ZodLooseShape>(
  description: string,
  shape: Shape,
): Table<Shape> {
  return z.pipe(notDate, z.strictObject(shape)).check(z.meta({ description }));
}

/** A table that need not be there: its keys all have defaults, or none. */
export function section<Shape extends z.core.$ZodLooseShape>(
  description: string,
  shape: Shape,
): z.ZodMiniPrefault<Table<Shape>> {
  const whole = z.strictObject(shape);
  return z
    .prefault(z.pipe(notDate, whole), {} as z.input<typeof whole> & object)
    .check(z.meta({ description }));
}

/** A table in which people choose the names. */
export function named<Value extends z.ZodMiniType>(
  description: string,
  name: { readonly pattern: string; readonly parse: (text: string) => unknown },
  value: Value,
): z.ZodMiniPrefault<z.ZodMiniRecord<z.ZodMiniString, Value>> {
  const key = z.string().check(z.meta({ pattern: name.pattern }), parses(name.parse));
  return z.prefault(z.record(key, value), {}).check(z.meta({ description }));
}

export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}
