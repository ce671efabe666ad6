/**
 * Schemas of lists, as our own types have them.
 *
 * @module
 */

import * as z from "zod";

/** An array that nobody changes. */
export function list<Item extends z.ZodType>(item: Item): z.ZodReadonly<z.ZodArray<Item>> {
  return z.array(item).readonly();
}
