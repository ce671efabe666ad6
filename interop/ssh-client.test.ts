import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { start, type TestHome, testHome } from "alknet/testing";
import { follow, type Program } from "./program.ts";
import { makeAccount } from "./system-account.ts";

const MAIN = join(import.meta.dirname, "../packages/alknet/src/main.ts");

test("a command's exit status and signal are those of alknet ssh; its outputs are apart, its stdin ends", async () => {
  await using it = await machines(["ssh:exec"]);
  const mixed = await it.run(["den", "cat; echo oops >&2; exit 7"], "typed");
  assert.deepEqual([mixed.code, mixed.stdout, mixed.stderr], [7, "typed", "oops\n"]);
  assert.equal((await it.run(["den", "kill -TERM $$"])).code, 128 + 15);
  assert.equal((await it.run(["-n", "den", "cat; echo end"], "not sent")).stdout, "end\n");
  assert.equal((await it.run(["den", "id", "-un"])).stdout, `${it.account}\n`);
  assert.equal((await it.run(["den.alk", "--", "echo", "-n", "x"])).stdout, "x");
});

test("what goes through alknet ssh is binary, both ways", async () => {
  await using it = await machines(["ssh:exec"]);
  const bytes = Buffer.alloc(
    3_000_000,
    Uint8Array.from({ length: 256 }, (_, index) => index),
  );
  const child = spawn(process.execPath, it.words(["den", "cat"]), { env: it.env });
  child.stdin.end(bytes);
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(bytes));
});

test("a shell has the terminal: its size and keys, and escapes; it is as it was afterwards", async () => {
  await using it = await machines(["ssh:shell"]);
  await using terminal = it.terminal("ssh den");
  const tty = (await terminal.until(/tty (\S+)/))[1]!;
  await terminal.until(/[$#] $/);
  terminal.press("stty size; echo $TERM\r");
  await terminal.until(/33 99\r\nxterm[^]*[$#] $/);
  execFileSync("stty", ["-F", tty, "rows", "41", "cols", "121"]);
  terminal.press("stty size\r");
  await terminal.until(/41 121[^]*[$#] $/);
  terminal.press("sleep 1000\r");
  await terminal.until(/sleep 1000\r\n/);
  terminal.press("\x03");
  await terminal.until(/\^C[^]*[$#] $/);
  terminal.press("\r~?");
  await terminal.until(/Supported escape sequences/);
  terminal.press("\r~.");
  await terminal.until(/closed[^]*code 255/);
  await terminal.until(COOKED);
});

test("an exit of the shell is passed on, and SIGTERM leaves the terminal as it was", async () => {
  await using it = await machines(["ssh:shell"]);
  await using ended = it.terminal("ssh den");
  await ended.until(/[$#] $/);
  ended.press("exit 9\r");
  await ended.until(/code 9\r\n/);
  await ended.until(COOKED);

  await using killed = it.terminal("ssh den & pid=$!; fg >/dev/null");
  await killed.until(/[$#] $/);
  killed.press("echo $PPID ready\r");
  await killed.until(/\d ready/);
  const pid = execFileSync("pgrep", ["-f", `-n`, `${MAIN} ssh den`], { encoding: "utf8" }).trim();
  process.kill(Number(pid), "SIGTERM");
  await killed.until(COOKED);
});

test("ports are forwarded both ways, and by SOCKS; what is refused is told with its reason", async () => {
  await using echo = await echoServer();
  await using it = await machines([
    `tunnel:dial:localhost:${echo.port}`,
    "tunnel:listen:localhost:*",
    "tunnel:listen:127.0.0.1:*",
  ]);
  const there = join(it.folder, "near.sock");
  await using forwards = it.events([
    ...[
      "-N",
      "-L",
      `0:localhost:${echo.port}`,
      "-L",
      "0:localhost:1",
      "-L",
      `${there}:localhost:${echo.port}`,
    ],
    ...["-R", `0:127.0.0.1:${echo.port}`, "-D", "0", "den"],
  ]);
  const places = [];
  for (let count = 0; count < 5; count++) places.push(await forwards.next("listening"));
  const [good, bad, path, socks] = places.filter(({ side }) => side === "local");
  const [far] = places.filter(({ side }) => side === "remote");
  await forwards.next("connected");
  assert.equal(await ask(good!.listen, "local"), "local");
  assert.equal(await ask(path!.listen, "socket"), "socket");
  assert.equal(await ask(far!.listen.replace("localhost", "127.0.0.1"), "remote"), "remote");
  // As curl: a name, resolved over there.
  const through = ["--silent", "--http0.9", "--socks5-hostname", socks!.listen];
  const said = execFile("curl", [...through, "--max-time", "2", `http://localhost:${echo.port}/`]);
  assert.match(await said, /GET \/ HTTP/);
  await assert.rejects(ask(bad!.listen, "never"), { code: "ECONNRESET" });
  const { code, scope } = await forwards.next("refused");
  assert.deepEqual([code, scope], ["CHANNEL_REFUSED", "tunnel:dial:localhost:1"]);
});

test("a listener that is refused over there ends it at first", async () => {
  await using it = await machines(["ssh:exec"]);
  const refused = await it.run(["-R", "0:localhost:1", "den", "true"]);
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /den does not listen on localhost:0[^]*alknet peers grant NAME/);
});

test("the agent is there over there", async () => {
  await using it = await machines(["ssh:exec", "ssh:agent"]);
  const socket = join(it.folder, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "inherit"] });
  await once(agent.stdout, "data");
  const env = { ...it.env, SSH_AUTH_SOCK: socket };
  const key = join(it.folder, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "forwarded", "-f", key]);
  execFileSync("ssh-add", ["-q", key], { env, stdio: "ignore" });
  const listed = await it.run(["-A", "den", "ssh-add", "-l"], "", { SSH_AUTH_SOCK: socket });
  agent.kill();
  await once(agent, "close");
  assert.match(listed.stdout, /forwarded \(ED25519\)/);
});

test("a peer is reached through others, with TLS from end to end, and the gate's no is told", async () => {
  await using it = await machines(["ssh:exec"]);
  await using gate = await it.node("gate", [`tunnel:dial:${it.address}`]);
  const through = await it.run(["-J", "gate", "den", "echo", "through"]);
  assert.deepEqual([through.stdout, through.stderr], ["through\n", ""]);
  assert.equal((await it.run(["-J", "gate,gate", "den", "true"])).code, 4);
  await gate.stop();
  await using _closed = await it.node("shut", []);
  const refused = await it.run(["-J", "shut", "den", "true"]);
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, /shut[^]*tunnel:dial/);
});

test("who is not let in, or not there, is told what to do, by the exit code too", async () => {
  await using it = await machines(["tunnel:dial:localhost:1"]);
  const denied = await it.run(["den", "true"]);
  assert.match(denied.stderr, /may not|alknet: /);
  const unknown = await it.run(["dem", "true"]);
  assert.deepEqual([unknown.code, /did you mean "den/.test(unknown.stderr)], [2, true]);
  await it.stop();
  const away = await it.run(["den", "true"]);
  assert.deepEqual([away.code, /cannot reach den/.test(away.stderr)], [4, true]);
});

test("--persist dials again and forwards again, for who is connected to the port here too", async () => {
  await using echo = await echoServer();
  await using it = await machines([
    `tunnel:dial:localhost:${echo.port}`,
    "tunnel:listen:127.0.0.1:*",
    "tunnel:listen:localhost:*",
  ]);
  await using forwards = it.events([
    ...[
      "--persist",
      "-N",
      "-L",
      `0:localhost:${echo.port}`,
      "-R",
      `0:127.0.0.1:${echo.port}`,
      "den",
    ],
  ]);
  const local = await forwards.next("listening");
  await forwards.next("listening");
  await forwards.next("connected");
  assert.equal(await ask(local.listen, "before"), "before");
  await it.stop();
  await forwards.next("lost");
  const waiting = ask(local.listen, "after");
  await it.restart();
  const again = await forwards.next("listening");
  assert.equal(again.side, "remote");
  await forwards.next("connected");
  assert.equal(await waiting, "after");
  assert.equal(await ask(again.listen.replace("localhost", "127.0.0.1"), "there"), "there");
});

test("--persist does not run a command twice: it is over with its connection", async () => {
  await using it = await machines(["ssh:exec"]);
  const child = spawn(process.execPath, it.words(["--persist", "den", "echo ran; sleep 1000"]), {
    env: it.env,
  });
  const program = follow(child, "alknet ssh");
  await program.waitFor(/ran/);
  await it.stop();
  const { status, stdout } = await program.ended;
  assert.deepEqual([status, stdout], [255, "ran\n"]);
});

interface Event {
  readonly event: string;
  readonly side: string;
  readonly listen: string;
  readonly code: string;
  readonly scope: string;
}

/** This machine, called laptop over there, and a node called den here. */
async function machines(scopes: readonly string[]) {
  await using made = new AsyncDisposableStack();
  const here = made.use(testHome());
  const account = process.getuid?.() === 0 ? made.use(makeAccount()).name : undefined;
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  const peers: string[] = [];

  function nodeHome(rights: readonly string[], listen: string): TestHome {
    const home = testHome();
    home.config(
      `listen = ["${listen}"]`,
      "[peers.laptop]",
      `fingerprint = "${here.fingerprint}"`,
      `scopes = ${JSON.stringify(rights)}`,
      ...(account === undefined ? [] : [`user = "${account}"`]),
    );
    return home;
  }

  /** Start a node, and have this machine know it by `name`. */
  async function node(name: string, rights: readonly string[]) {
    const home = nodeHome(rights, "127.0.0.1:0");
    let program = start(home, ["up", "--json"]);
    const { addresses } = await program.ready;
    const [address = ""] = addresses as string[];
    peers.push(
      `[peers.${name}]`,
      `fingerprint = "${home.fingerprint}"`,
      `addresses = ["${address}"]`,
    );
    here.config(...peers);
    return {
      address,
      async stop() {
        program.child.kill("SIGTERM");
        await program.exited;
      },
      async restart() {
        home.config(
          `listen = ["${address}"]`,
          "[peers.laptop]",
          `fingerprint = "${here.fingerprint}"`,
          `scopes = ${JSON.stringify(rights)}`,
          ...(account === undefined ? [] : [`user = "${account}"`]),
        );
        program = start(home, ["up", "--json"]);
        await program.ready;
      },
      async [Symbol.asyncDispose]() {
        await program[Symbol.asyncDispose]();
        home[Symbol.dispose]();
      },
    };
  }

  const den = made.use(await node("den", scopes));
  const env = { ...process.env, ALKNET_HOME: here.folder, NODE_OPTIONS: "", TERM: "xterm" };
  const words = (args: readonly string[]): string[] => [
    "--conditions=@alknet/source",
    MAIN,
    "ssh",
    ...args,
  ];
  const owned = made.move();
  return {
    ...den,
    node,
    words,
    env,
    folder,
    account: account ?? userInfo().username,
    async run(args: readonly string[], input = "", more: Record<string, string> = {}) {
      const child = spawn(process.execPath, words(args), { env: { ...env, ...more } });
      child.stdin.on("error", () => {});
      child.stdin.end(input);
      const program = follow(child, "alknet ssh");
      const { status: code, stdout, stderr } = await program.ended;
      return { code, stdout, stderr };
    },
    /** It tells what happens, and goes on until it is disposed of. */
    events(args: readonly string[]) {
      const child = spawn(process.execPath, words(["--json", ...args]), { env });
      return eventsOf(follow(child, "alknet ssh"));
    },
    /** On a terminal of 33 by 99, with what is left of it afterwards. */
    terminal: (command: string) => onTerminal(command, env),
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync();
    },
  };
}

function eventsOf(program: Program) {
  let read = 0;
  return {
    /** The next one with this name. */
    async next(name: string): Promise<Event> {
      for (;;) {
        const lines = program.stdout.split("\n").slice(0, -1);
        while (read < lines.length) {
          const event = JSON.parse(lines[read++]!) as Event;
          if (event.event === name) return event;
        }
        await program.waitFor(/\n/, { after: program.output.length });
      }
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** A terminal as a shell has it. */
const COOKED = /\nopost [^]*\nisig icanon [^\n]* echo /;

const ON_TERMINAL = [
  "import os, pty, sys, fcntl, termios, struct",
  "def read(fd):",
  "  return os.read(fd, 4096)",
  "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], read)))",
].join("\n");

function onTerminal(command: string, env: NodeJS.ProcessEnv) {
  const alknet = `alknet() { '${process.execPath}' --conditions=@alknet/source '${MAIN}' "$@"; }`;
  const script = `stty rows 33 cols 99; echo "tty $(tty)"; ${alknet}; alknet ${command}; echo "code $?"; stty -a`;
  const child = spawn("python3", ["-c", ON_TERMINAL, "bash", "-mc", script], { env });
  const program = follow(child, "a terminal");
  let read = 0;
  return {
    /** The first match in what came since the last keys. */
    async until(pattern: RegExp): Promise<RegExpExecArray> {
      return await program.waitFor(pattern, { after: read });
    },
    press(keys: string): void {
      read = program.output.length;
      child.stdin.write(keys);
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function echoServer(): Promise<
  AsyncDisposable & { readonly port: number; readonly server: Server }
> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {}).pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

/** What comes back from there. */
async function ask(place: string, words: string): Promise<string> {
  const at = place.lastIndexOf(":");
  const where = place.startsWith("/")
    ? { path: place }
    : { host: place.slice(0, at), port: Number(place.slice(at + 1)) };
  const socket = connect({ ...where, allowHalfOpen: true });
  socket.end(words);
  return await text(socket);
}

async function execFile(file: string, words: readonly string[]): Promise<string> {
  const child = spawn(file, words, { stdio: ["ignore", "pipe", "inherit"] });
  const kill = setTimeout(() => child.kill(), 10_000);
  const said = await text(child.stdout);
  clearTimeout(kill);
  return said;
}
