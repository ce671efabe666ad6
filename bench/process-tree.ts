/**
 * Processor time and memory of a process and all it has started, from proc(5).
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

/** Ticks of /proc/PID/stat per second; every Linux that is in use has 100. */
const TICKS = 100;
/** Of memory; so on every machine that the benches have seen. */
const PAGE = 4_096;

/** User and system time of `pid` and its living descendants so far, in seconds. */
export function treeCpuSeconds(pid: number): number {
  return treeSum(pid, ({ ticks }) => ticks) / TICKS;
}

/** Resident memory of `pid` and its living descendants, in bytes. */
export function treeResidentBytes(pid: number): number {
  return treeSum(pid, ({ pages }) => pages) * PAGE;
}

interface Stat {
  readonly parent: number;
  readonly ticks: number;
  readonly pages: number;
}

function treeSum(pid: number, of: (stat: Stat) => number): number {
  const all = new Map<number, Stat>();
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
  let sum = 0;
  for (const [each, stat] of all) if (below(each)) sum += of(stat);
  return sum;
}

function readStat(pid: string): Stat | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a name in brackets, which may hold blanks and brackets.
    const fields = line
      .slice(line.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const [parent = 0, utime = 0, stime = 0, pages = 0] = [1, 11, 12, 21].map((at) => fields[at]);
    return { parent, ticks: utime + stime, pages };
  } catch {
    // It ended between the listing and the reading.
    return undefined;
  }
}
