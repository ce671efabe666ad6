/**
 * The inside of a worker process in Node: commands by the line on stdin, answers in JSON on stdout.
 *
 * @module
 */

import { createInterface } from "node:readline";

/** `name=value` words. */
export type Words = ReadonlyMap<string, string>;

/** What commands do, by name. */
export type Commands = Readonly<Record<string, (words: Words) => object | Promise<object>>>;

/** Say that this process is ready, then do what it is told until its input ends, and exit. */
export async function obey(ready: string, commands: Commands): Promise<never> {
  // Also in the middle of a command: who would have had the answer is gone.
  process.stdin.once("end", () => setImmediate(() => process.exit(0)));
  console.log(`READY ${ready}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [name = "", ...words] = line.split(" ");
    const run = commands[name];
    if (run === undefined) {
      throw new RangeError(
        `cannot run ${JSON.stringify(name)}: expected one of ${Object.keys(commands).join(", ")}`,
      );
    }
    console.log(JSON.stringify(await run(parseWords(words))));
  }
  process.exit(0);
}

export function parseWords(words: readonly string[]): Words {
  return new Map(
    words.map((word) => {
      const at = word.indexOf("=");
      return [word.slice(0, at), word.slice(at + 1)] as const;
    }),
  );
}

export function text(words: Words, name: string): string {
  const value = words.get(name);
  if (value === undefined) throw new RangeError(`missing ${name}=...`);
  return value;
}

export function number(words: Words, name: string): number {
  return Number(text(words, name));
}

/** Wall and processor time since the call, in seconds, of this process. */
export function stopwatch(): () => { seconds: number; cpu: number } {
  const begin = performance.now();
  const cpu = cpuSeconds();
  return () => ({ seconds: (performance.now() - begin) / 1000, cpu: cpuSeconds() - cpu });
}

/** User and system time of this process so far. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Memory that is held, after a collection of garbage where that can be had, and processor time. */
export function usage(): { resident: number; heap: number; external: number; cpu: number } {
  globalThis.gc?.();
  const { rss: resident, heapUsed: heap, external } = process.memoryUsage();
  return { resident, heap, external, cpu: cpuSeconds() };
}

/** Do `work` `count` times (rounded down to a multiple of `parallel`), `parallel` at a time. */
export async function inParallel(
  count: number,
  parallel: number,
  work: () => Promise<void>,
): Promise<void> {
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      for (let left = Math.floor(count / parallel); left > 0; left -= 1) await work();
    }),
  );
}

/** Resolves once `list` has `least` entries: what comes late shall be counted, too. */
export async function untilLength(list: readonly unknown[], least: number): Promise<void> {
  while (list.length < least) await new Promise((resolve) => setTimeout(resolve, 1));
}
