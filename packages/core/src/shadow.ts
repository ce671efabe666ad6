/**
 * Put a method of our own before that of one stream, for its first call.
 *
 * The method is assigned, and its prototype's is assigned again later: to define or to delete a property
 * would make every access to the stream a slow one.
 *
 * @module
 */

import type { Duplex } from "node:stream";

/** Have the next call of `stream[name]` be one of `method`. */
export function shadowOnce<Name extends "push" | "destroy">(
  stream: Duplex,
  name: Name,
  method: Duplex[Name],
): void {
  const original = Reflect.get(Object.getPrototypeOf(stream) as object, name) as Duplex[Name];
  stream[name] = ((...args: never[]) => {
    stream[name] = original;
    return Reflect.apply(method as (...args: never[]) => unknown, stream, args);
  }) as Duplex[Name];
}
