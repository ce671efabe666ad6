/**
 * One set-up at a time in one folder.
 *
 * @module
 */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "./say.mjs";

const LOCK = ".setup.lock";

/** Run `work` while holding the lock. One whose holder has died is taken over. */
export async function locked(work) {
  for (let waited = false; !take(); waited = true) {
    if (!waited) say(`waiting for the set-up that process ${holder()} has begun`);
    await sleep(200);
  }
  const release = () => rmSync(LOCK, { force: true });
  process.once("exit", release);
  try {
    return await work();
  } finally {
    process.off("exit", release);
    release();
  }
}

function take() {
  try {
    writeFileSync(LOCK, `${process.pid}\n`, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  const pid = holder();
  if (pid === undefined || isAlive(pid)) return false;
  rmSync(LOCK, { force: true });
  return take();
}

function holder() {
  try {
    return Number.parseInt(readFileSync(LOCK, "utf8"), 10) || undefined;
  } catch {
    return undefined; // released, or not written yet
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
  return !isZombie(pid);
}

/** In a container often nobody takes note that a process has ended. */
function isZombie(pid) {
  try {
    return /^[0-9]+ \(.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false; // gone by now, or no Linux
  }
}
