/**
 * Host keys of peers, in the format of `ssh` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): one line for each, under the name by
 * which `ssh` knows it.
 *
 *     laptop.alk,[laptop.alk]:* ssh-ed25519 AAAA…
 *
 * A key that takes the place of another is no alarm here: who wrote it was dialed by TLS, and has proved the key that the
 * peer is known by.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { whileLocked } from "@alknet/vault/vault-file-lock";

/** What peers are called towards `ssh`: `laptop.alk` */
export const SUFFIX = ".alk";

/** See that there is a file at `path`: `ssh` is told to read it. */
export function makeKnownHosts(path: string): void {
  fs.closeSync(fs.openSync(path, "a", 0o600));
}

/**
 * Have `ssh` know `peer` by `hostKey`, and by no other. The file is replaced whole, and by one process at a time.
 *
 * @param hostKey as SSH sends it (RFC 8709 §4).
 * @returns whether it was another before, or none.
 * @throws {Error} what the system says.
 */
export async function pinHostKey(
  path: string,
  peer: string,
  hostKey: Uint8Array,
): Promise<boolean> {
  const key = Buffer.from(hostKey).toString("base64");
  // Nearly always it is there, and no lock is asked for.
  const text = readText(path);
  if (withHostKey(text, peer, key) === text) return false;
  await whileLocked(path, () => replace(path, withHostKey(readText(path), peer, key)));
  return true;
}

/**
 * `text` with one line for `peer`, and the lines of others as they are.
 *
 * @param key base64
 */
export function withHostKey(text: string, peer: string, key: string): string {
  const name = `${peer.toLowerCase()}${SUFFIX}`;
  // Asked for another port, `ssh` looks for `[name]:port`.
  const names = `${name},[${name}]:*`;
  const line = `${names} ssh-ed25519 ${key}`;
  const lines = text.split("\n").filter((each) => each !== "");
  if (lines.includes(line)) return text;
  const others = lines.filter((each) => !each.startsWith(`${names} `));
  return [...others, line, ""].join("\n");
}

function readText(path: string): string {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function replace(path: string, text: string): void {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    fs.writeFileSync(temporary, text, { flag: "wx", mode: 0o600 });
    fs.renameSync(temporary, path);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}
