/**
 * Stamps: a step is skipped while the hash of what it reads is the one written down after it.
 *
 * Hashes of contents, not dates: a checkout changes every date.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";

/** SHA-256, in hex, over the names and contents of `files`; `salt` is what else the step depends on. */
export function hashFiles(files, salt) {
  const hash = createHash("sha256").update(JSON.stringify(salt));
  for (const file of files) {
    const bytes = readFileSync(file);
    hash.update(`\0${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

/** All files under `folder`, sorted; `skip` names folders to stay out of. */
export function filesUnder(folder, skip = []) {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !skip.includes(entry.name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesUnder(path, skip) : entry.isFile() ? [path] : [];
    })
    .sort();
}

/** What a stamp says, or `undefined` if there is none that can be read. */
export function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined; // no stamp: the step is done again, which is always right
  }
}

/** Write a stamp, whole or not at all. */
export function writeStamp(path, value) {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(value)}\n`);
  renameSync(draft, path);
}
