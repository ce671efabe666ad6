/**
 * Processor time of a process and all it has started, from proc(5).
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

/** Ticks of /proc/PID/stat per second; every Linux that is in use has 100. */
const TICKS = 100;

/** User and system time of `pid` and its living descendants so far, in seconds. */
export function treeCpuSeconds(pid: number): number {
  const all = new Map<number, { parent: number; ticks: number }>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const stat = readStat(name);
    if (stat !== undefined) all.set(Number(name), stat);
  }
  const below = (each: number): boolean => {
    for (let at: number | undefined = each; at !== undefined && at > 1; at = all.get(at)?.parent) {
      if (at === pid) return true;
    }
    return false;
  };
  let ticks = 0;
  for (const [each, stat] of all) if (below(each)) ticks += stat.ticks;
  return ticks / TICKS;
}

function readStat(pid: string): { parent: number; ticks: number } | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a name in brackets, which may hold blanks and brackets.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    // It ended between the listing and the reading.
    return undefined;
  }
}
