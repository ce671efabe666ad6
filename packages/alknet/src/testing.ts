/**
 * For tests of the CLI: homes of their own, commands in this process, and the real program in another.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, type Writable } from "node:stream";
import { type Home, homePaths } from "@alknet/core/home";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { runCli } from "./cli.ts";
import { secretInput } from "./secret-input.ts";

/** A folder for one node; disposing removes it. */
export interface TestHome extends Disposable {
  readonly folder: string;
  readonly home: Home;
  /** Of its key, which is made by asking. */
  readonly fingerprint: string;
  /** Write its `alknet.toml`. */
  config(...lines: readonly string[]): void;
}

export function testHome(): TestHome {
  // Short: the path of the control socket has to fit.
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  const home = homePaths({
    env: { ALKNET_HOME: folder },
    platform: process.platform,
    userHome: folder,
    temporary: folder,
    uid: process.getuid?.(),
  });
  return {
    folder,
    home,
    get fingerprint() {
      return loadOrCreateIdentity(home.identity).fingerprint;
    },
    config: (...lines) => writeFileSync(home.config, lines.join("\n")),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const MAIN = join(import.meta.dirname, "main.ts");

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly interrupted?: AbortSignal | undefined;
  /** Whether a person looks on. @default false */
  readonly terminal?: boolean | undefined;
  /** What is piped in. @default nothing */
  readonly input?: string | undefined;
  /** Streams in the place of stdin and stdout, for who carries a connection. */
  readonly pipe?: { readonly input: Readable; readonly output: Writable } | undefined;
  /** Hears what goes to stdout as it goes. */
  readonly ondata?: ((text: string) => void) | undefined;
}

/** Run a command in this process. */
export async function run(
  { home }: TestHome,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const { interrupted = new AbortController().signal, terminal = false, input = "" } = options;
  let stdout = "";
  let stderr = "";
  const code = await runCli(args, {
    home,
    input: { ...secretInput(chunksOf(input)), isTerminal: false },
    pipe: () => options.pipe ?? { input: Readable.from([input]), output: new PassThrough() },
    openTty: async () => undefined,
    interrupted,
    killed: new AbortController().signal,
    program: [process.execPath, "--conditions=@alknet/source", MAIN],
    version: "1.2.3",
    terminal: {
      data: {
        isTerminal: terminal,
        write(text) {
          stdout += text;
          options.ondata?.(text);
        },
        async writeBytes(bytes) {
          stdout += Buffer.from(bytes).toString();
        },
      },
      words: { isTerminal: terminal, write: (text) => (stderr += text) },
    },
  });
  return { code, stdout, stderr };
}

async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  yield Uint8Array.from(Buffer.from(text));
}

/** The program in a process of its own; disposing kills it. */
export interface Program extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Its first line on stdout, as JSON. */
  readonly ready: Promise<Record<string, unknown>>;
  readonly exited: Promise<Outcome>;
}

/** Start the program, as `alknet` does. @param input what is piped in; without it nothing is. */
export function start({ folder }: TestHome, args: readonly string[], input?: string): Program {
  const child = spawn(process.execPath, ["--conditions=@alknet/source", MAIN, ...args], {
    env: { ...process.env, ALKNET_HOME: folder, NODE_OPTIONS: "" },
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  child.stdin?.on("error", () => {}).end(input);
  let stdout = "";
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const line = Promise.withResolvers<Record<string, unknown>>();
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const end = stdout.indexOf("\n");
    if (end < 0) return;
    // Not all commands print JSON first; who waits for it hears so.
    const parsed = Promise.try(() => JSON.parse(stdout.slice(0, end)) as Record<string, unknown>);
    parsed.then(line.resolve, line.reject);
  });
  const exited = once(child, "close").then(([code]) => {
    const outcome = { code: code as number, stdout, stderr };
    line.reject(new Error(`ended with ${String(code)} before it was ready:\n${stderr}`));
    return outcome;
  });
  line.promise.catch(() => {});
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ready: line.promise,
    exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** A node in a process of its own that knows `peer`, with these rights; on ports of its own. */
export interface TestNode extends AsyncDisposable {
  readonly program: Program;
  readonly home: TestHome;
  readonly ticket: string;
  /** `host:port` */
  readonly address: string;
}

export async function startNode(
  peer: TestHome | undefined,
  scopes: readonly string[] = [],
): Promise<TestNode> {
  const home = testHome();
  const list = scopes.map((scope) => JSON.stringify(scope)).join(", ");
  home.config(
    'listen = ["127.0.0.1:0"]',
    ...(peer === undefined
      ? []
      : ["[peers.laptop]", `fingerprint = "${peer.fingerprint}"`, `scopes = [${list}]`]),
  );
  const program = start(home, ["up", "--json"]);
  const { ticket, addresses } = await program.ready;
  return {
    program,
    home,
    ticket: ticket as string,
    address: (addresses as string[])[0]!,
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      home[Symbol.dispose]();
    },
  };
}
