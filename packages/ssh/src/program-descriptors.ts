/**
 * Descriptors that a program would inherit from this process: whoever started it may have left it some, and node-pty
 * opens terminals without O_CLOEXEC, which Node cannot set. A program of one peer must not have another's terminal.
 *
 * @module
 */

import { openSync, readdirSync, readFileSync } from "node:fs";

const inheritable = new Set<number>(leftOpen());
let nothing: number | undefined;

/** Have no program inherit a descriptor. */
export function keepFromPrograms(descriptor: number): void {
  inheritable.add(descriptor);
}

/** It is closed. */
export function isClosedNow(descriptor: number): void {
  inheritable.delete(descriptor);
}

/** For `spawn`: `stdio`, with `/dev/null` in the place of each descriptor that would be inherited. */
export function onlyStdio<Stdio>(stdio: readonly Stdio[]): (Stdio | "ignore" | number)[] {
  const all: (Stdio | "ignore" | number)[] = [...stdio];
  for (const descriptor of inheritable) {
    // Node leaves alone what is ignored from 3 on, and those are closed by O_CLOEXEC.
    while (all.length < descriptor) all.push("ignore");
    all[descriptor] = nothing ??= openSync("/dev/null", "r+");
  }
  return all;
}

/** What this process was started with; only Linux tells. */
function leftOpen(): number[] {
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .filter((each) => each > 2 && isInherited(each));
  } catch {
    return [];
  }
}

/** proc_pid_fdinfo(5): `flags` is octal, O_CLOEXEC among them. */
function isInherited(descriptor: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1");
    const flags = Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? "", 8);
    return (flags & 0o2000000) === 0;
  } catch {
    // That of the folder itself.
    return false;
  }
}
