/**
 * A typed client of another node's operations, without generated code.
 *
 * ```text
 * const den = client<typeof registry>(session);
 * const names = await den.fs.list({ path: "/" });
 * for await (const event of den.node.events()) console.log(event);
 * ```
 *
 * Types come from the registry's, of which nothing is loaded: `import type`. When it runs, the names are not
 * known: every property is a function, and what does not exist over there is `NOT_FOUND`.
 *
 * @module
 */

import { CallError } from "./call-error.ts";
import type { Caller, CallOptions, SubscribeOptions } from "./caller.ts";
import type { Client, Described, Result } from "./client-types.ts";
import { askedTypes, Invocation, type InvocationTarget } from "./invocation.ts";

/** A client that calls through `caller`. */
export function client<T extends Described>(caller: Caller): Client<T> {
  return branch({ caller, typeOf: askedTypes(caller) }, "") as Client<T>;
}

/** The functions of one segment of a name; each is made when it is first asked for. */
function branch(target: InvocationTarget, name: string): object {
  const known = new Map<string, unknown>();
  return new Proxy(method(target, name), {
    get(own, key) {
      if (key === Symbol.toPrimitive) return () => (name === "" ? "client" : `operation ${name}`);
      if (typeof key === "symbol" || NOT_CALLED.has(key)) return undefined;
      if (OWN.has(key) && name !== "") return Reflect.get(own, key) as unknown;
      let found = known.get(key);
      if (found === undefined) {
        if (known.size === MAX_KNOWN) known.clear();
        found = branch(target, name === "" ? key : `${name}/${key}`);
        known.set(key, found);
      }
      return found;
    },
  });
}

/** Functions of one branch that are kept: the names may be somebody's input. */
const MAX_KNOWN = 1_024;

/** What whoever awaits or prints a branch asks it for: it is no promise, and a log shall call nothing. */
const NOT_CALLED: ReadonlySet<string> = new Set(["then", "toJSON"]);

/** What a function has itself. An operation below it of such a name is called by `caller.call()`. */
const OWN: ReadonlySet<string> = new Set(["try", "isError"]);

function method(target: InvocationTarget, name: string): object {
  const { caller } = target;
  const invoke = (input: unknown = {}, options?: SubscribeOptions): Invocation =>
    new Invocation(target, name, input, options);
  return Object.assign(invoke, {
    async try(input: unknown = {}, options?: CallOptions): Promise<Result<unknown, object>> {
      try {
        return { ok: true, output: await caller.call(name, input, options) };
      } catch (error) {
        if (error instanceof CallError) return { ok: false, error: error as never };
        throw error;
      }
    },
    isError: (error: unknown, code: string): boolean =>
      error instanceof CallError && error.code === code,
  });
}
