/**
 * The work of the call benches, the same for us and for every peer: one that serves says where, one that calls
 * takes these commands.
 *
 * ```text
 * calls count=N parallel=N      echo a text of 200 characters
 * items count=N                 follow a subscription to its end, items of 200 characters
 * bulk count=N bytes=N          echo nothing, take items of that many characters
 * ```
 *
 * @module
 */

import { type Commands, inParallel, number, obey, stopwatch, usage } from "./commands.ts";

/** Characters of a small payload; ASCII, so as many bytes. */
export const SMALL = 200;

/** What a protocol under test can do, seen from the client. */
export interface Caller {
  /** The server answers with what it was given. */
  echo(text: string): Promise<string>;
  /** `count` texts of `size` characters, then an end. */
  follow(count: number, size: number): AsyncIterable<string>;
}

const texts = new Map<number, string>();

/** A text of `size` characters; the same one again and again. */
export function textOf(size: number): string {
  let text = texts.get(size);
  if (text === undefined) texts.set(size, (text = "abcdefghij".repeat(size / 10)));
  return text;
}

/** What every server does for {@linkcode Caller.follow}. */
export async function* produce(count: number, size: number): AsyncGenerator<string> {
  const text = textOf(size);
  for (let i = 0; i < count; i += 1) yield text;
}

/** Obey the bench: `caller` for a client, `address` for a server. */
export async function work(
  address: string,
  caller: Caller | undefined,
  more: Commands = {},
): Promise<void> {
  if (caller === undefined) return await obey(address, { stats: () => usage(), ...more });
  const follow = async (count: number, size: number) => {
    const watch = stopwatch();
    let items = 0;
    for await (const item of caller.follow(count, size)) {
      if (item.length !== size) throw new Error(`expected ${size} characters, got ${item.length}`);
      items += 1;
    }
    if (items !== count) throw new Error(`expected ${count} items, got ${items}`);
    return watch();
  };
  await obey(address, {
    calls: async (words) => {
      const text = textOf(SMALL);
      const watch = stopwatch();
      const latencies = new Float64Array(number(words, "count"));
      let done = 0;
      await inParallel(number(words, "count"), number(words, "parallel"), async () => {
        const begin = performance.now();
        const answer = await caller.echo(text);
        latencies[done++] = performance.now() - begin;
        if (answer.length !== SMALL) throw new Error("wrong answer");
      });
      return { ...watch(), p50: latencies.sort()[done >> 1] };
    },
    items: (words) => follow(number(words, "count"), SMALL),
    bulk: (words) => follow(number(words, "count"), number(words, "bytes")),
    stats: () => usage(),
    ...more,
  });
}
