/**
 * Loaded into a process beside its program (`--import`): says at SIGUSR2 what it holds once garbage has been collected,
 * in a line of JSON on stdout.
 *
 * @module
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes. */
export interface Memory {
  /** Heap and buffers of JavaScript. */
  readonly held: number;
  /** What the system has given to the process, the engine's own memory and all. */
  readonly resident: number;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

process.on("SIGUSR2", () => {
  for (let round = 0; round < 3; round++) collect();
  const { heapUsed, external, rss: resident } = process.memoryUsage();
  const memory: Memory = { held: heapUsed + external, resident };
  console.log(JSON.stringify(memory));
});
