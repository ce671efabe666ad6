import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { COOKED, machines, RAW } from "./alknet-ssh.ts";

/** Prints the next line, with what is not printable as `^X`. */
const TELL_LINE = "stty -icanon -echo; echo ready; head -n 1 | cat -v";

test("a shell has the terminal: its size and keys, and escapes; it is as it was afterwards", async () => {
  await using it = await machines(["ssh:shell"]);
  await using terminal = it.terminal("den");
  await terminal.shell();
  terminal.press("stty size; echo $TERM\r");
  await terminal.until(/33 99\r\nxterm[^]*mark> /);
  execFileSync("stty", ["-F", await terminal.file, "rows", "41", "cols", "121"]);
  terminal.press("stty size\r");
  await terminal.until(/41 121[^]*mark> /);
  // It says itself that it runs: what is interrupted before that is the shell.
  terminal.press("sh -c 'echo begun; exec sleep 1000'\r");
  await terminal.until(/begun\r\n/);
  terminal.press("\x03");
  await terminal.until(/\^C[^]*mark> /);
  terminal.press("\r~?");
  await terminal.until(/Supported escape sequences/);
  terminal.press("\r~.");
  await terminal.until(/closed[^]*code 255/);
  await terminal.until(COOKED);
});

test("an exit of the shell is passed on", async () => {
  await using it = await machines(["ssh:shell"]);
  await using terminal = it.terminal("den");
  await terminal.shell();
  terminal.press("exit 9\r");
  await terminal.until(/code 9\r\n/);
  await terminal.until(COOKED);
});

test("what is told of an end that was no exit begins a line, on a terminal that is as it was", async () => {
  await using it = await machines(["ssh:exec"]);
  await using terminal = it.terminal("-t den 'printf half; kill -KILL $$'");
  // Of what it writes, `until` sees no control sequences.
  await terminal.until(/half\r\nalknet: ended by SIGKILL over there\r\n[^]*code 137/);
  await terminal.until(COOKED);
});

test("why a right is gone is told when the program's screen is", async () => {
  await using it = await machines(["ssh:exec"]);
  await using terminal = it.terminal("-t den 'printf shown; sleep 1000'");
  await terminal.until(/shown/);
  it.den.allow(["ssh:shell"]);
  // What leaves that screen ends with a line of its own.
  await terminal.until(
    /shown\r\nalknet: access revoked: [^\r]*ssh:exec\r\nalknet: ended by SIGKILL over there\r\n/,
  );
  await terminal.until(COOKED);
});

test("~~ sends one ~; -e takes another character, or none", async () => {
  await using it = await machines(["ssh:exec"]);
  const told = async (options: string, keys: string): Promise<string> => {
    await using terminal = it.terminal(`-t ${options} den '${TELL_LINE}'`);
    await terminal.until(/ready\r\n/);
    terminal.press(keys);
    const [, line = ""] = await terminal.until(/(.*)\r\ncode 0/);
    return line;
  };
  assert.equal(await told("", "~~.\r"), "~.");
  assert.equal(await told("-e none", "~.~~\r"), "~.~~");
  assert.equal(await told("-e ^B", "~.\x02\x02?\r"), "~.^B^B?");
  assert.equal(await told("-e %", "%%.~.\r"), "%.~.");

  await using ended = it.terminal(`-t -e ^B den '${TELL_LINE}'`);
  await ended.until(/ready\r\n/);
  ended.press("\x02.");
  await ended.until(/code 255/);
});

test("~^Z stops alknet ssh and gives the terminal back; continued, it has that again, of the size it has by then", async () => {
  await using it = await machines(["ssh:exec"]);
  const command = `echo ready; read x; echo "[$x]"; read x; stty size; read x; exit 3`;
  await using terminal = it.terminal(`-t den '${command}'`, {
    // 148: stopped, as a shell tells it.
    after: 'read line; stty rows 44 cols 111; fg >/dev/null; echo "then $?"; stty -a',
  });
  await terminal.until(/ready\r\n/);
  terminal.press("~\x1a");
  await terminal.until(/code 148[^]*\nopost [^]*\nisig icanon [^\n]* echo /);
  terminal.press("for the shell here\r");
  await terminal.until(/for the shell here/);
  terminal.press("for there\r");
  await terminal.until(/\[for there\]\r\n/);
  terminal.press("\r");
  await terminal.until(/44 111\r\n/);
  assert.match(modesOf(await terminal.file), RAW);
  terminal.press("\r");
  await terminal.until(/then 3\r\n/);
  await terminal.until(COOKED);
});

test("where no shell could continue it, ~^Z does not stop it", async () => {
  await using it = await machines(["ssh:exec"]);
  await using terminal = it.terminal(`-t den '${TELL_LINE}'`, { alone: true });
  await terminal.until(/ready\r\n/);
  terminal.press("~\x1ahere\r");
  await terminal.until(/here\r\n/);
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  test(`${signal} leaves the terminal as it was`, async () => {
    await using it = await machines(["ssh:exec"]);
    await using terminal = it.terminal("-t den 'echo ready; cat'");
    await terminal.until(/ready\r\n/);
    const file = await terminal.file;
    assert.match(modesOf(file), RAW);
    process.kill(pidOn(file), signal);
    await terminal.until(/code (?:130|255)\r\n/);
    await terminal.until(COOKED);
  });
}

test("a mistake of ours leaves the terminal as it was", async () => {
  await using it = await machines(["ssh:exec"]);
  const mistake = `data:text/javascript,process.on("SIGUSR2",()=>{throw%20Error("mistaken")})`;
  await using terminal = it.terminal("-t den 'echo ready; cat'", {
    node: `--import '${mistake}'`,
  });
  await terminal.until(/ready\r\n/);
  const file = await terminal.file;
  assert.match(modesOf(file), RAW);
  process.kill(pidOn(file), "SIGUSR2");
  await terminal.until(/mistaken[^]*code \d+\r\n/);
  await terminal.until(COOKED);
});

test("with its terminal gone it ends, and leaves nothing behind", async () => {
  await using it = await machines(["ssh:exec"]);
  const near = join(it.folder, "near");
  const terminal = it.terminal(`-t -L ${near}:localhost:1 den 'echo ready; cat'`);
  await terminal.until(/ready\r\n/);
  assert.equal(existsSync(near), true);
  // Which ends with the program.
  const watch = spawn("tail", [`--pid=${pidOn(await terminal.file)}`, "-f", "/dev/null"]);
  await terminal[Symbol.asyncDispose]();
  await once(watch, "close");
  assert.equal(existsSync(near), false);
});

test("-tt asks for a terminal without one here, -t only tells that there is none; -T asks for none", async () => {
  await using it = await machines(["ssh:exec"]);
  const forced = await it.run(["-tt", "den", "tty; stty size; echo $TERM"]);
  assert.match(forced.stdout, /^\/dev\/pts\/\d+\r\n24 80\r\nxterm\r\n$/);
  assert.equal(forced.stderr, "");
  const asked = await it.run(["-t", "den", "tty"]);
  assert.deepEqual([asked.code, asked.stdout], [1, "not a tty\n"]);
  assert.match(asked.stderr, /a terminal is not asked for.*-tt/);
  await using terminal = it.terminal("-T den 'tty; echo over'");
  await terminal.until(/not a tty\r\nover\r\ncode 0/);
});

test("a terminal that does not know its size is one of 24 by 80", async () => {
  await using it = await machines(["ssh:exec"]);
  await using terminal = it.terminal("-t den 'stty size'", { before: "stty rows 0 cols 0" });
  // Where the machine is slow, a line that told of waiting is cleared before it.
  await terminal.until(/(?<!\d)24 80\r\n/);
});

test("who waits for more than a second is told for what, and Ctrl-C ends it", async () => {
  await using it = await machines([]);
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  it.know("quiet", `ed25519:${"2".repeat(64)}`, `127.0.0.1:${port}`);
  await using terminal = it.terminal("--tcp quiet");
  await terminal.until(/connecting to quiet…/);
  terminal.press("\x03");
  await terminal.until(/code 130\r\n/);
  await terminal.until(COOKED);
  silent.close();
});

test("--persist begins a new shell when the connection is back", async () => {
  await using it = await machines(["ssh:shell"]);
  await using terminal = it.terminal("--persist den");
  await terminal.shell();
  terminal.press("was=here\r");
  await terminal.until(/mark> /);
  await it.den.stop();
  await terminal.until(/the connection to den was lost: .*trying again in 1 s/);
  const file = await terminal.file;
  await it.den.restart();
  await terminal.until(/trying again[^]*connected to den again[^]*[$#] /);
  assert.match(modesOf(file), RAW);
  terminal.press("echo was=$was.; exit 6\r");
  await terminal.until(/was=\.\r\n[^]*code 6\r\n/);
  await terminal.until(COOKED);
});

function modesOf(file: string): string {
  return execFileSync("stty", ["-F", file, "-a"], { encoding: "utf8" });
}

/** Of the program in the foreground there. */
function pidOn(file: string): number {
  const text = execFileSync("ps", ["-t", file, "-o", "stat=,pid=,args="], { encoding: "utf8" });
  const line = text.split("\n").find((each) => /^\S*\+.*main\.ts ssh /.test(each)) ?? "";
  return Number(line.trim().split(/\s+/)[1]);
}
