/**
 * Where a path leads by symbolic links, and whether somebody else has a say in that.
 *
 * A right to `/home/alice/**` is not one to whatever Alice makes links to: a node that is root would open it for her.
 * Links of root's and of the node's own user are as good as the path itself (`/var/run` is one).
 *
 * @module
 */

import { lstat, readlink } from "node:fs/promises";
import process from "node:process";

export interface Followed {
  /** Absolute, with no link in it any more. */
  readonly real: string;
  /** Whether a link on the way is of another user than root and who this process runs as. */
  readonly isForeign: boolean;
}

/** As Linux has it (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * Follow `path`, which is absolute.
 *
 * @throws {Error} the system's: `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`.
 */
export async function followLinks(path: string): Promise<Followed> {
  const self = process.geteuid?.();
  const left = path.split("/");
  let real = "";
  let isForeign = false;
  let links = 0;
  while (left.length > 0) {
    const part = left.shift();
    if (part === undefined || part === "" || part === ".") continue;
    if (part === "..") {
      real = real.slice(0, real.lastIndexOf("/"));
      continue;
    }
    const next = `${real}/${part}`;
    const stat = await lstat(next);
    if (!stat.isSymbolicLink()) {
      real = next;
      continue;
    }
    if (++links > MAX_LINKS) throw Object.assign(new Error("too many links"), { code: "ELOOP" });
    isForeign ||= stat.uid !== 0 && stat.uid !== self;
    const target = await readlink(next);
    if (target.startsWith("/")) real = "";
    left.unshift(...target.split("/"));
  }
  return { real: real === "" ? "/" : real, isForeign };
}
