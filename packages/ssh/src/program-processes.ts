/**
 * Which processes a program has started: those of its session (setsid(2)), its descendants, and those that have its
 * mark in their environment, wherever they have gone.
 *
 * Linux tells (`/proc`); elsewhere only the program's own process group is found.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { uptime } from "node:os";
import process from "node:process";

/** The variable with a program's mark, which what it starts inherits. */
export const MARK: string = "ALKNET_SESSION";

/** A program that leads a session of its own. */
export interface Leader {
  readonly pid: number;
  /** Value of {@linkcode MARK}; no other program has it. */
  readonly mark: string;
  /** Time of the machine when it began, in seconds; {@linkcode startTime}. */
  readonly since: number;
  /** Whether it has been waited for: its number may be another's then. */
  hasEnded: boolean;
}

/** When to look again while the system has no descriptor to look with, in milliseconds; and how often. */
const LOOK_AGAIN = { after: 250, tries: 240 };
/** How often what may have forked meanwhile is looked for again. */
const ROUNDS = 100;
/** Clock ticks of a second in `/proc`; it is the same on all of Linux. */
const TICKS = 100;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** In ticks. */
  readonly started: number;
  /** Its environment, as `/proc` has it. */
  readonly environment: () => string;
}

type Find = (table: readonly Process[]) => readonly number[];

/** Signals that are to go to what `find` finds. */
interface Order {
  readonly leader: Leader;
  readonly names: readonly NodeJS.Signals[];
  readonly find: Find;
  readonly triesLeft: number;
}

/**
 * Those of this turn, whose processes are found in one look at the machine. That takes some milliseconds, and a right that
 * is taken back, or a connection that dies, may end a hundred programs.
 */
let orders: Order[] = [];

/** For {@linkcode Leader}: what began before cannot be its. */
export function startTime(): number {
  return Math.floor(uptime()) - 1;
}

/** Send a signal to the process group that a program began with. */
export function signalGroup({ pid, hasEnded }: Leader, name: NodeJS.Signals): void {
  if (!hasEnded) signal(-pid, name);
}

/** Send signals to each process that is still of a program's session. */
export function signalSession(leader: Leader, ...names: readonly NodeJS.Signals[]): void {
  signalAll(leader, names, (table) => sessionOf(leader, table));
}

/**
 * Kill all that a program has started, also what has left its session.
 *
 * It is done at the end of this turn, for all programs that end in it. Neither this nor {@linkcode signalSession} throws:
 * they are called when something is over, where nobody would hear of it. Without a descriptor to look into `/proc` with,
 * the program's group gets the signals at once, and the rest for up to a minute as soon as there is one.
 */
export function killProcesses(leader: Leader): void {
  signalAll(leader, ["SIGKILL"], (table) => belonging(leader, table));
}

function signalAll(
  leader: Leader,
  names: readonly NodeJS.Signals[],
  find: Find,
  triesLeft: number = LOOK_AGAIN.tries,
): void {
  if (orders.length === 0) queueMicrotask(signalOrdered);
  orders.push({ leader, names, find, triesLeft });
}

function signalOrdered(): void {
  const all = orders;
  orders = [];
  try {
    if (process.platform === "linux") return signalFound(all);
  } catch {
    for (const { leader, names, find, triesLeft } of all) {
      const again = (): void => signalAll(leader, names, find, triesLeft - 1);
      if (triesLeft > 0) setTimeout(again, LOOK_AGAIN.after).unref();
    }
  }
  for (const { leader, names, triesLeft } of all) {
    if (triesLeft < LOOK_AGAIN.tries) continue;
    for (const name of names) signalGroup(leader, name);
  }
}

/** @throws the system's error while it has no descriptors: `EMFILE`, `ENFILE`. */
function signalFound(all: readonly Order[]): void {
  const left = new Map(all.map((order) => [order, new Set<number>()]));
  for (let round = 0; round < ROUNDS && left.size > 0; round++) {
    const table = processes(Math.min(...all.map(({ leader }) => leader.since)));
    for (const [order, met] of left) {
      const { leader, names, find } = order;
      // What began before cannot be its.
      const since = table.filter(({ started }) => started >= leader.since * TICKS);
      const found = find(since).filter((pid) => !met.has(pid));
      // Each round finds what those of the last had started before the signal met them.
      if (found.length === 0) left.delete(order);
      for (const pid of found) {
        met.add(pid);
        for (const name of names) signal(pid, name);
      }
    }
  }
}

function sessionOf(leader: Leader, table: readonly Process[]): number[] {
  // A number is not given to a new process as long as a session has it: who has it now has nothing to do with this.
  if (leader.hasEnded && table.some(({ pid }) => pid === leader.pid)) return [];
  return table.filter(({ session }) => session === leader.pid).map(({ pid }) => pid);
}

function belonging(leader: Leader, table: readonly Process[]): number[] {
  const found = new Set(sessionOf(leader, table));
  const mark = `\0${MARK}=${leader.mark}\0`;
  for (const { pid, environment } of table) {
    if (!found.has(pid) && environment().includes(mark)) found.add(pid);
  }
  // A set grows while it is gone through: to the last descendant.
  for (const each of found) {
    for (const { pid, parent } of table) if (parent === each) found.add(pid);
  }
  return [...found];
}

/** Those that run and began after `since`, in seconds. */
function processes(since: number): Process[] {
  return readdirSync("/proc").flatMap((name) => {
    const found = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : undefined;
    if (found === undefined) return [];
    // proc_pid_stat(5): the name of the program is in brackets, and may have brackets and blanks in it.
    const fields = found.slice(found.lastIndexOf(")") + 2).split(" ");
    const [state, parent, , session] = fields;
    const started = Number(fields[19]);
    if (state === "Z" || state === "X" || started < since * TICKS) return [];
    let variables: string | undefined;
    const environment = (): string => (variables ??= `\0${read(`/proc/${name}/environ`) ?? ""}`);
    return [
      { pid: Number(name), parent: Number(parent), session: Number(session), started, environment },
    ];
  });
}

/** `undefined`: it has ended, or is another user's. @throws as {@linkcode signalFound}. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EMFILE" || code === "ENFILE") throw error;
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It has ended, or has become another user's, who is not ours to end.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}
