/**
 * The items of a subscription on their way out: as its schema has them, its errors as they are declared.
 *
 * @module
 */

import { failure } from "./call-failure.ts";
import type { CallContext } from "./operation-context.ts";
import { EventItem } from "./output-stream.ts";
import { checkedOutput } from "./schema-check.ts";

/** What `items` gives, checked; the call is over when they end. One reader, one item at a time. */
export function checkedItems(
  context: CallContext,
  items: AsyncIterable<unknown>,
  checkOutput: boolean,
): AsyncIterable<unknown> {
  const inner = items[Symbol.asyncIterator]();

  function finished(): IteratorResult<unknown> {
    context.end();
    return { done: true, value: undefined };
  }

  async function failed(error: unknown): Promise<never> {
    context.end();
    throw await failure(context, error, checkOutput);
  }

  function passed(
    result: IteratorResult<unknown>,
  ): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    if (result.done === true) return finished();
    if (!checkOutput) return result;
    try {
      const value = check(result.value);
      if (!(value instanceof Promise)) return { done: false, value };
      return value.then((it: unknown) => ({ done: false, value: it }), mismatched);
    } catch (error) {
      return mismatched(error);
    }
  }

  /** The handler goes on where it yielded, and is to stop there. */
  async function mismatched(error: unknown): Promise<never> {
    context.end();
    const seen = await failure(context, error, checkOutput);
    await inner.return?.().catch((cause: unknown) => failure(context, cause, checkOutput));
    throw seen;
  }

  function check(value: unknown): unknown {
    const schema = context.registration.operation.output;
    if (!(value instanceof EventItem)) return checkedOutput(schema, value);
    const { eventId } = value;
    const output = checkedOutput(schema, value.output);
    return output instanceof Promise
      ? output.then((it: unknown) => new EventItem(eventId, it))
      : new EventItem(eventId, output);
  }

  const iterator: AsyncIterator<unknown> = {
    next() {
      try {
        return inner.next().then(passed, failed);
      } catch (error) {
        return failed(error);
      }
    },
    async return() {
      context.end();
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
