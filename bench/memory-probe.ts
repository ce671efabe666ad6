/**
 * Loaded into a process beside its program (`--import`): says at SIGUSR2 what it holds once garbage has been collected,
 * in a line of JSON on stdout.
 *
 * @module
 */

import { dlopen } from "node:ffi";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes. */
export interface Memory {
  /** Heap and buffers of JavaScript. */
  readonly held: number;
  /** What the system has given to the process, the engine's own memory and all. */
  readonly resident: number;
  /** The same, with what the C library keeps of freed memory for its next use. */
  readonly kept: number;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

// Each read of a socket is a buffer of 64 KiB from malloc(3), and hundreds of them are dead between two collections. What
// they were the library gives back only from its end: how much of that is counted before and how much after is chance.
const { functions: libc } = dlopen("libc.so.6", {
  malloc_trim: { arguments: ["u64"], return: "i32" },
});

process.on("SIGUSR2", () => {
  for (let round = 0; round < 3; round++) collect();
  const kept = process.memoryUsage.rss();
  libc.malloc_trim(0n);
  const { heapUsed, external, rss: resident } = process.memoryUsage();
  const memory: Memory = { held: heapUsed + external, resident, kept };
  console.log(JSON.stringify(memory));
});
