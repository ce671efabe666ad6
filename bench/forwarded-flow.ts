/**
 * Bytes through one forwarded port, and the processor time of those who forward.
 *
 * @module
 */

import { treeCpuSeconds } from "./process-tree.ts";
import type { Timed, Worker } from "./worker.ts";

export interface ForwardedFlow {
  /** @returns megabytes a second */
  run(direction: "download" | "upload", bytes: number): Promise<number>;
  /** Processor seconds for each gigabyte so far. */
  secondsPerGigabyte(): number;
}

/**
 * @param load `bench-peer tcp-client`
 * @param way words for it: where to, e.g. `to=127.0.0.1:40001`
 * @param pids those who forward
 */
export function forwardedFlow(load: Worker, way: string, pids: readonly number[]): ForwardedFlow {
  let seconds = 0;
  let gigabytes = 0;
  const spent = (): number => pids.reduce((sum, pid) => sum + treeCpuSeconds(pid), 0);
  return {
    async run(direction, bytes) {
      const before = spent();
      const time = await load.ask<Timed>(`${direction} bytes=${bytes} ${way}`);
      seconds += spent() - before;
      gigabytes += bytes / 1e9;
      return bytes / 1e6 / time.seconds;
    },
    secondsPerGigabyte: () => seconds / gigabytes,
  };
}
