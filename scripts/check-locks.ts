/**
 * `npm run locks`: the lock files fit the manifests, and name no registry but the public ones.
 *
 * The set-up installs what `package-lock.json` says, and would fill its gaps from the registry without a
 * word. Cargo looks after its own (`--locked`, in CI).
 *
 * @module
 */

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isDeepStrictEqual } from "node:util";

type Manifest = { workspaces?: string[]; resolved?: string; [key: string]: unknown };

const SECTIONS = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
const CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index";

const read = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Manifest;
const mistakes: string[] = [];

const locked = read("package-lock.json")["packages"] as Record<string, Manifest>;
const { workspaces = [] } = read("package.json");
for (const folder of ["", ...workspaces]) {
  const wanted = read(join(folder, "package.json"));
  const fits = (key: string) => isDeepStrictEqual(wanted[key] ?? {}, locked[folder]?.[key] ?? {});
  if (SECTIONS.every(fits)) continue;
  mistakes.push(`package-lock.json does not fit ${join(folder, "package.json")}: npm install`);
}
for (const [name, { resolved }] of Object.entries(locked)) {
  if (resolved === undefined || workspaces.includes(resolved)) continue;
  mistakes.push(`package-lock.json takes ${name} from ${resolved}: npm install again`);
}
for (const file of globSync("native/*/Cargo.lock")) {
  for (const [, source] of readFileSync(file, "utf8").matchAll(/^source = "(.*)"$/gm)) {
    if (source !== CRATES_IO) mistakes.push(`${file} names ${source}: expected only ${CRATES_IO}`);
  }
}
for (const mistake of new Set(mistakes)) console.error(mistake);
process.exitCode = mistakes.length > 0 ? 1 : 0;
