/**
 * `alknet ssh` in processes and on terminals of its own, as somebody has it who is called laptop on a node called den.
 *
 * @module
 */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { start, type TestHome, testHome } from "alknet/testing";
import { follow, type Program } from "./program.ts";
import { makeAccount } from "./system-account.ts";

export const MAIN: string = join(import.meta.dirname, "../packages/alknet/src/main.ts");

export interface Machines extends AsyncDisposable {
  readonly den: Node;
  /** For files of a test; removed at the end. */
  readonly folder: string;
  /** What a peer may log in as, on every node. */
  readonly account: string;
  readonly here: TestHome;
  /** Start another node, which is known here by `name`. @param listen default any port */
  node(name: string, scopes: readonly string[], listen?: string): Promise<Node>;
  /** Have a peer here by `name`, at an address where it may not be. */
  know(name: string, fingerprint: string, address: string): void;
  run(args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Its output as bytes. */
  spawn(args: readonly string[], options?: RunOptions): ChildProcessWithoutNullStreams;
  /** With `--json`: tells what happens, until it is disposed of. */
  events(args: readonly string[]): Events;
  /** On a terminal of 33 by 99. */
  terminal(args: string, options?: TerminalOptions): OnTerminal;
}

export interface Node extends AsyncDisposable {
  /** `host:port` */
  readonly address: string;
  stop(): Promise<void>;
  /** Give laptop these rights there, and no others, while it runs. */
  allow(scopes: readonly string[]): void;
  /** Again, at the same address. */
  restart(): Promise<void>;
}

export interface RunOptions {
  /** What is piped in. @default nothing */
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Outcome {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** What `--json` tells. */
export interface Event {
  readonly event: string;
  readonly side: string;
  /** As an address of this machine. */
  readonly listen: string;
  readonly code: string;
  readonly scope: string;
}

export interface Events extends AsyncDisposable {
  /** The next one with this name. */
  next(name: string): Promise<Event>;
}

export interface TerminalOptions {
  /** Lines of bash, before and after. */
  readonly before?: string;
  readonly after?: string;
  /** Options of `node`. */
  readonly node?: string;
  /** Nothing else is on the terminal, no shell either. */
  readonly alone?: boolean;
}

export interface OnTerminal extends AsyncDisposable {
  /** The first match in what came since the last keys. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  press(keys: string): void;
  /** Wait for a shell over there, and have its prompt be {@linkcode PROMPT}. */
  shell(): Promise<void>;
  /** The file of the terminal. */
  readonly file: Promise<string>;
}

export async function machines(scopes: readonly string[]): Promise<Machines> {
  await using made = new AsyncDisposableStack();
  const here = made.use(testHome());
  const account = process.getuid?.() === 0 ? made.use(makeAccount()).name : userInfo().username;
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  const peers: string[] = [];

  function know(name: string, fingerprint: string, address: string): void {
    peers.push(`[peers.${name}]`, `fingerprint = "${fingerprint}"`, `addresses = ["${address}"]`);
    here.config(...peers);
  }

  async function node(
    name: string,
    rights: readonly string[],
    listen = "127.0.0.1:0",
  ): Promise<Node> {
    const home = testHome();
    const write = (at: string, allowed: readonly string[]): void =>
      home.config(
        `listen = ["${at}"]`,
        ...["[peers.laptop]", `fingerprint = "${here.fingerprint}"`, `user = "${account}"`],
        `scopes = ${JSON.stringify(allowed)}`,
      );
    const up = async (at: string) => {
      write(at, rights);
      const program = start(home, ["up", "--json"]);
      const { addresses } = await program.ready;
      return { program, address: (addresses as string[])[0]! };
    };
    let { program, address } = await up(listen);
    know(name, home.fingerprint, address);
    return {
      address,
      async stop() {
        program.child.kill("SIGTERM");
        await program.exited;
      },
      allow(allowed) {
        write(listen, allowed);
        program.child.kill("SIGHUP");
      },
      async restart() {
        ({ program } = await up(address));
      },
      async [Symbol.asyncDispose]() {
        await program[Symbol.asyncDispose]();
        home[Symbol.dispose]();
      },
    };
  }

  const den = made.use(await node("den", scopes));
  const env = { ...process.env, ALKNET_HOME: here.folder, NODE_OPTIONS: "", TERM: "xterm" };
  const spawnSsh: Machines["spawn"] = (args, { input, env: more } = {}) => {
    const words = ["--conditions=@alknet/source", MAIN, "ssh", ...args];
    const child = spawn(process.execPath, words, { env: { ...env, ...more } });
    child.stdin.on("error", () => {});
    if (input !== undefined) child.stdin.end(input);
    return child;
  };
  const owned = made.move();
  return {
    den,
    folder,
    account,
    here,
    node,
    know,
    spawn: spawnSsh,
    async run(args, options = {}) {
      const program = follow(spawnSsh(args, { input: "", ...options }), "alknet ssh");
      const { status: code, stdout, stderr } = await program.ended;
      return { code, stdout, stderr };
    },
    events: (args) => eventsOf(follow(spawnSsh(["--json", ...args]), "alknet ssh")),
    terminal: (args, options = {}) => onTerminal(args, env, options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function eventsOf(program: Program): Events {
  let read = 0;
  return {
    async next(name) {
      for (;;) {
        const lines = program.stdout.split("\n").slice(0, -1);
        while (read < lines.length) {
          const event = JSON.parse(lines[read++]!) as Event;
          const listen = event.listen?.replace("localhost", "127.0.0.1");
          if (event.event === name) return { ...event, listen };
        }
        await program.waitFor(/\n/, { after: program.output.length });
      }
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** What `stty -a` says of a terminal as a shell has it, and of a raw one. */
export const COOKED = /\nopost [^]*\nisig icanon [^\n]* echo /;
export const RAW = /\n-opost [^]*\n-isig -icanon [^\n]* -echo /;

/** Of a shell that is ready; what is typed to have it does not look like it. */
export const PROMPT = "mark> ";
const SET_PROMPT = "PS1=mark'> '\r";

const ON_TERMINAL = [
  "import os, pty, sys",
  "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096))))",
].join("\n");

function onTerminal(
  args: string,
  env: NodeJS.ProcessEnv,
  { before = "", after = "", node = "", alone = false }: TerminalOptions,
): OnTerminal {
  const ssh = `'${process.execPath}' ${node} --conditions=@alknet/source '${MAIN}' ssh ${args}`;
  const script = [
    'stty rows 33 cols 99; echo "tty $(tty)"',
    before,
    ...(alone ? [`exec ${ssh}`] : [ssh, 'echo "code $?"; stty -a', after]),
  ].join("\n");
  const child = spawn("python3", ["-c", ON_TERMINAL, "bash", "-mc", script], { env });
  const program = follow(child, "a terminal");
  let read = 0;
  const until = (pattern: RegExp): Promise<RegExpExecArray> =>
    program.waitFor(pattern, { after: read });
  const press = (keys: string): void => {
    read = program.output.length;
    child.stdin.write(keys);
  };
  const file = until(/tty (\S+)\r\n/).then(([, name = ""]) => name);
  file.catch(() => {});
  return {
    until,
    press,
    file,
    async shell() {
      await file;
      await until(/tty \S+\r\n[^]*[$#] /);
      press(SET_PROMPT);
      await until(/mark> /);
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}
