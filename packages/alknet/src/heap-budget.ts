/**
 * How much garbage V8 may let lie, for processes that move bytes.
 *
 * Every read of a socket, and of QUIC, is a buffer outside the heap. By V8's own rules a heap of 9 MB with a gigabyte a
 * second of these passing through it is collected in full ten times a second: measured on a forwarded flow, 40 %
 * of the processor time of both ends. With a budget there is one such collection in 4 GiB, and the process
 * stays as large as it was (about 190 MB): young buffers are freed by the short collections anyway. Beside a
 * download by `alknet ssh`, V8's threads otherwise have the core that the echo of another session waits for.
 *
 * @module
 */

import { getHeapStatistics, setFlagsFromString } from "node:v8";

/** Bytes that may lie about, beyond those in use. */
const BUDGET = 192 * 2 ** 20;

/** How often the share is worked out again, in milliseconds: a heap that has grown gets less of it. */
const INTERVAL = 10_000;

/** Set the budget for this process, from now on. */
export function setHeapBudget(): void {
  // Buffers count towards the limit that the next flag sets, and not towards one of their own.
  setFlagsFromString("--external-memory-accounted-in-global-limit");
  let percent = 0;
  const adjust = (): void => {
    const { used_heap_size: used, external_memory: external } = getHeapStatistics();
    const wanted = growingPercent(used + external);
    // V8 reads it at the end of each collection.
    if (wanted !== percent) setFlagsFromString(`--heap-growing-percent=${wanted}`);
    percent = wanted;
  };
  adjust();
  setInterval(adjust, INTERVAL).unref();
}

/**
 * By how many percent `used` bytes may grow before they are collected, in steps of 10: the budget, and never
 * less than V8's own rules would leave to a large heap.
 */
export function growingPercent(used: number): number {
  const percent = (100 * BUDGET) / used;
  return Math.min(Math.max(Math.round(percent / 10) * 10, 30), 3_000);
}
