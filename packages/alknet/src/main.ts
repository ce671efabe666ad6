#!/usr/bin/env node
/**
 * `alknet`, the program: the only place that reads `process`, prints errors and sets the exit code.
 *
 * @module
 */

import { lstatSync, readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Home, homePaths } from "@alknet/core/home";
import type { TextSink } from "./terminal.ts";

const home = homePaths({
  env: process.env,
  platform: process.platform,
  userHome: homedir(),
  temporary: tmpdir(),
  uid: process.getuid?.(),
});
cacheCode(home);

// After the cache is on: what is imported from here on is compiled once for all starts.
const { runCli } = await import("./cli.ts");

const interrupted = new AbortController();
const killed = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupted.signal.aborted) {
      // The second one ends now, whatever is going on.
      killed.abort();
      process.exit(130);
    }
    interrupted.abort(new Error(`interrupted by ${signal}`));
  });
}
// Who reads our output may stop (`alknet status | head`): that ends us, without a word.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", () => process.exit(0));
}

const exitCode = await runCli(process.argv.slice(2), {
  home,
  terminal: { data: sink(process.stdout), words: sink(process.stderr) },
  interrupted: interrupted.signal,
  killed: killed.signal,
  version: ownVersion(),
});
// All is closed by now; what is left (a look-up in the system's resolver) is waited for by nobody.
process.exit(exitCode);

function sink(stream: NodeJS.WriteStream): TextSink {
  return { isTerminal: stream.isTTY === true, write: (text) => stream.write(text) };
}

function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * Keep compiled code beside the identity: 150 ms less at each start from sources. Only in a folder that is ours
 * alone: who could write there could run code as us.
 */
function cacheCode({ identity }: Home): void {
  const folder = dirname(identity);
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true || process.getuid === undefined) return;
  if (stat.uid !== process.getuid() || (stat.mode & 0o022) !== 0) return;
  enableCompileCache(join(folder, "cache"));
}
