/**
 * Real accounts of this machine, for what runs as somebody else: made for one test, and removed with its home.
 *
 * @module
 */

import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";

export interface SystemAccount extends Disposable {
  readonly name: string;
  readonly home: string;
  /** As `id` has them, with the one that the account is also in: `1001 1002`. */
  readonly groups: string;
  readonly uid: number;
  readonly gid: number;
}

/** An exit status of `useradd`. */
const UID_IN_USE = 4;

/** Only root can. */
export const CANNOT_MAKE_ACCOUNTS: string | false =
  process.getuid?.() === 0 ? false : "accounts are made by root";

/** @param options of `useradd`, before the name. */
export function makeAccount(...options: readonly string[]): SystemAccount {
  const name = `alknet-test-${randomBytes(5).toString("hex")}`;
  const group = `${name}-g`;
  execFileSync("groupadd", [group]);
  const home = options.includes("--no-create-home") ? [] : ["--create-home"];
  const words = [...home, "--shell", "/bin/bash", "--groups", group, ...options, name];
  while (!addUser(words));
  const id = (option: string): string => String(execFileSync("id", [option, name])).trim();
  return {
    name,
    home: String(execFileSync("getent", ["passwd", name])).split(":")[5] ?? "",
    groups: id("-G"),
    uid: Number(id("-u")),
    gid: Number(id("-g")),
    [Symbol.dispose]() {
      execFileSync("userdel", ["--force", "--remove", name], { stdio: "ignore" });
      execFileSync("groupdel", [group]);
    },
  };
}

/** @returns whether the number that was drawn is nobody's. */
function addUser(words: readonly string[]): boolean {
  // Not the number of the test before, which look-ups still know by that one's name. Options may name another.
  const uid = ["--uid", String(randomInt(20_000, 60_000))];
  // It says so of a home that it does not make.
  const { status } = spawnSync("useradd", [...uid, ...words], { stdio: "ignore" });
  if (status !== 0 && status !== UID_IN_USE) throw new Error(`useradd ended with ${status}`);
  return status === 0;
}
