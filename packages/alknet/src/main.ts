#!/usr/bin/env node
/**
 * `alknet`, the program: the only place that reads `process`, prints errors and sets the exit code.
 *
 * @module
 */

import { fstatSync, lstatSync, readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { Socket } from "node:net";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import type { Home } from "@alknet/core/home";
import { makeFolders } from "@alknet/core/make-folders";
import { endSignals } from "./end-signals.ts";
import { findHome } from "./home-folder.ts";
import { secretInput } from "./secret-input.ts";
import type { DataSink, TextSink } from "./terminal.ts";
import type { Tty } from "./tty.ts";

const args = process.argv.slice(2);
// Everybody on this machine can list the programs that run, with their arguments.
if (args.some((each) => /^\s*alk(?:invite[0-9]|_)/i.test(each))) process.title = "alknet";
const terminal = { data: dataSink(process.stdout), words: sink(process.stderr) };
const home = homeOrError();
if ("identity" in home) cacheCode(home);

// After the cache is on: what is imported from here on is compiled once for all starts.
const { runCli, tellError } = await import("./cli.ts");

const interrupted = new AbortController();
const killed = new AbortController();
const takeSignal = endSignals(() => performance.now());
/** Who has a use of its own for SIGHUP. */
let hangup: (() => void) | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (signal === "SIGHUP" && hangup !== undefined) return hangup();
    const request = takeSignal(signal);
    if (request === "same") return;
    if (request === "finish" && !interrupted.signal.aborted) {
      return interrupted.abort(new Error(`interrupted by ${signal}`));
    }
    // Whatever is going on.
    killed.abort();
    process.exit(130);
  });
}
// Node would open its debugger on a port, to everybody on this machine, and with it all keys that are in memory.
process.on("SIGUSR1", () => {});
let unwritten: NodeJS.ErrnoException | undefined;
process.stdout.on("error", (error) => {
  // Who reads our output may stop, a disk may be full: there is nothing to go on for.
  unwritten ??= error;
  interrupted.abort(error);
});
// Words and log lines that nobody can read: a node goes on serving without.
process.stderr.on("error", () => {});

const exitCode =
  "identity" in home
    ? await runCli(args, {
        home,
        terminal,
        input: { ...secretInput(stdin()), isTerminal: isatty(0) },
        pipe: () => ({ input: process.stdin, output: process.stdout }),
        openTty,
        interrupted: interrupted.signal,
        killed: killed.signal,
        onhangup,
        program: [process.execPath, ...process.execArgv, import.meta.filename],
        version: ownVersion(),
      })
    : await tellError(terminal, home.error, args.includes("--json"));
await new Promise((resolve) => process.stdout.write("", resolve));
// All is closed by now; what is left (a look-up in the system's resolver) is waited for by nobody.
process.exit(unwritten === undefined ? exitCode : tellUnwritten(unwritten));

/** SIGHUP asks for a reload, unless it says that our terminal is gone: then it ends us, as it does every command. */
function onhangup(listener: () => void): Disposable {
  const onTerminal = process.stderr.isTTY;
  hangup = () => {
    if (onTerminal && !isatty(process.stderr.fd))
      interrupted.abort(new Error("the terminal is gone"));
    else listener();
  };
  return { [Symbol.dispose]: () => void (hangup = undefined) };
}

/** Not what failed to be done: what was asked for did not arrive. */
function tellUnwritten({ code, message }: NodeJS.ErrnoException): number {
  // `alknet status | head -1` has what it wants.
  if (code !== "EPIPE") {
    terminal.words.write(`alknet: cannot write to standard output: ${message}\n`);
    terminal.words.write("hint: send it elsewhere, or make room: df -h\n");
  }
  return 1;
}

/** Opened when it is read: until then it keeps nothing alive. */
async function* stdin(): AsyncGenerator<Uint8Array> {
  const stat = fstatSync(0);
  if (!stat.isFIFO() && !stat.isSocket()) return yield* process.stdin as AsyncIterable<Uint8Array>;
  const onread = (await import("./wiped-reads.ts")).wipedReads(() => pipe);
  const pipe = new Socket({ fd: 0, writable: false, onread });
  yield* pipe as AsyncIterable<Uint8Array>;
}

async function openTty(): Promise<Tty | undefined> {
  const tty = await import("./tty.ts");
  return tty.openTty({ term: process.env["TERM"], interrupted: interrupted.signal });
}

function homeOrError(): Home | { readonly error: unknown } {
  try {
    return findHome({
      env: process.env,
      platform: process.platform,
      userHome: homedir(),
      temporary: tmpdir(),
      uid: process.getuid?.(),
    });
  } catch (error) {
    return { error };
  }
}

function sink(stream: NodeJS.WriteStream): TextSink {
  return { isTerminal: stream.isTTY === true, write: (text) => stream.write(text) };
}

function dataSink(stream: NodeJS.WriteStream): DataSink {
  const writeBytes = (bytes: Uint8Array): Promise<void> =>
    // Whether it went well is heard by the listener of the stream's errors.
    new Promise((resolve) => void stream.write(bytes, () => resolve()));
  return { ...sink(stream), writeBytes };
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
  const cache = join(folder, "cache");
  try {
    const stat = lstatSync(folder);
    if (!stat.isDirectory() || process.getuid === undefined) return;
    if (stat.uid !== process.getuid() || (stat.mode & 0o022) !== 0) return;
    // Left to itself, Node would for ever try to make it where that is impossible (/proc).
    makeFolders(cache);
  } catch {
    return; // what is wrong with the folder, the command will say
  }
  enableCompileCache(cache);
}
