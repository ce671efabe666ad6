/**
 * Have the collector take what is no longer used, now.
 *
 * Key objects of node:crypto hold copies of keys that no code can reach; OpenSSL wipes them when the collector takes
 * the objects. A program that has nothing to do, as one whose vault is locked, may not collect for days.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Objects that own native memory are let go of in several steps. */
const ROUNDS = 4;

let gc: (() => void) | undefined;

/** Some ten milliseconds for a heap like that of the agent. */
export async function collectGarbage(): Promise<void> {
  if (gc === undefined) {
    // Only contexts that are made after the flag was set have the function.
    setFlagsFromString("--expose-gc");
    gc = runInNewContext("gc") as () => void;
    setFlagsFromString("--no-expose-gc");
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    gc();
    await setImmediate();
  }
}
