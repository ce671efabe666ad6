/**
 * The Deno peer: the npm package `deno`, whose program comes as an optional package of the platform.
 *
 * @module
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Pki } from "./pki.ts";
import { startWorker, type Worker } from "./worker.ts";

/** Start both ends in one Deno process. */
export function startDeno(pki: Pki): Promise<Worker> {
  const certificate = join(pki.folder, "named.pem");
  const key = join(pki.folder, "named.key.pem");
  const root = join(pki.folder, "root.pem");
  writeFileSync(certificate, pki.named.certificatePem);
  writeFileSync(key, pki.named.keyPem, { mode: 0o600 });
  writeFileSync(root, pki.root);
  const script = fileURLToPath(new URL("peers/deno-quic.ts", import.meta.url));
  const flags = ["run", "--unstable-net", "--allow-net", "--allow-read", "--no-check", "--quiet"];
  return startWorker(program(), [...flags, script, certificate, key, root]);
}

/** For the result. */
export function denoPeerName(): string {
  // Our own package.json pins it.
  const { version } = JSON.parse(readFileSync(require.resolve("deno/package.json"), "utf8")) as {
    version: string;
  };
  return `Deno ${version}`;
}

const require = createRequire(import.meta.url);

/** Not `.bin/deno`, which is a script that would copy the program into the package first. */
function program(): string {
  const { platform, arch } = process;
  const name = `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`;
  const file = platform === "win32" ? "deno.exe" : "deno";
  let found: string;
  try {
    found = require.resolve(`${name}/${file}`);
  } catch (cause) {
    throw new Error(
      `cannot find Deno: the optional package ${name} is not installed; npm install`,
      {
        cause,
      },
    );
  }
  if (!existsSync(found)) throw new Error(`cannot find Deno: no ${found}`);
  return found;
}
