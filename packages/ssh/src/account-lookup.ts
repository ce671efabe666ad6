/**
 * Accounts of this machine, as the system's own look-up has them (`getent`: files, LDAP, …).
 *
 * Answers are kept for some seconds: a login asks two or three times in a row.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** passwd(5), without the fields that nobody needs. */
export interface AccountEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

/** How long an answer is kept, in milliseconds. */
const KEPT = 3_000;
/** Most answers that are kept. */
const MAX_KEPT = 256;
/** How long a look-up may take, in milliseconds: a directory server may be out of reach. */
const PATIENCE = 10_000;
/** `getent` exits so if there is no such entry. */
const NOT_FOUND = 2;
const DAY = 86_400_000;

const run = promisify(execFile);
const kept = new Map<string, Promise<string | undefined>>();

/** The account that is called `name`; `undefined`: there is none. */
export async function accountEntry(name: string): Promise<AccountEntry | undefined> {
  const entry = await passwd(name);
  // A number is looked up as one, and an alias gives the name that it stands for.
  return entry?.name === name ? entry : undefined;
}

/** What a user is called: by the first entry, if there are several. */
export async function nameOfUid(uid: number): Promise<string | undefined> {
  return (await passwd(String(uid)))?.name;
}

/** When an account expires, in milliseconds since 1970 (shadow(5), the eighth field); only root can know. */
export async function accountExpiry(name: string): Promise<number | undefined> {
  const days = (await getent("shadow", name))?.split(":")[7] ?? "";
  return /^\d{1,7}$/.test(days) ? Number(days) * DAY : undefined;
}

/** The number of a group; `undefined`: there is none. */
export async function groupId(name: string): Promise<number | undefined> {
  const [, , gid = ""] = (await getent("group", name))?.split(":") ?? [];
  return number(gid);
}

async function passwd(key: string): Promise<AccountEntry | undefined> {
  const [name = "", , uid, gid, , home = "", shell] =
    (await getent("passwd", key))?.split(":") ?? [];
  const [user, group] = [number(uid), number(gid)];
  if (user === undefined || group === undefined || !home.startsWith("/")) return undefined;
  // passwd(5): an empty field is the standard shell.
  return { name, uid: user, gid: group, home, shell: shell || "/bin/sh" };
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** One line of a database. @throws {Error} if it cannot be asked. */
function getent(database: string, key: string): Promise<string | undefined> {
  const question = `${database} ${key}`;
  const known = kept.get(question);
  if (known !== undefined) return known;
  const answer = ask(database, key);
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(question, answer);
  setTimeout(() => kept.delete(question), KEPT).unref();
  return answer;
}

async function ask(database: string, key: string): Promise<string | undefined> {
  try {
    const { stdout } = await run("getent", ["--", database, key], { timeout: PATIENCE });
    return stdout.split("\n", 1)[0];
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) return undefined;
    throw new Error(`cannot look up ${database}: getent has failed`, { cause: error });
  }
}
