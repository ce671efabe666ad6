import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { run, start, startNode, testHome } from "./testing.ts";

const main = join(import.meta.dirname, "main.ts");

/** The program, with this as its ALKNET_HOME and its stdout. */
async function program(folder: string, args: readonly string[], options: ProgramOptions = {}) {
  const { stdout = "pipe", cwd } = options;
  const child = spawn(process.execPath, ["--conditions=@alknet/source", main, ...args], {
    env: { ...process.env, ALKNET_HOME: folder, NODE_OPTIONS: "" },
    stdio: ["ignore", stdout, "pipe"],
    cwd,
  });
  let stderr = "";
  let data = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (data += text));
  if (options.deaf) child.stdout!.destroy();
  const [code] = (await once(child, "close")) as [number];
  return { code, stdout: data, stderr };
}

interface ProgramOptions {
  readonly stdout?: "pipe" | number;
  readonly cwd?: string;
  /** Nobody reads its stdout. */
  readonly deaf?: boolean;
}

test("alknet whose output nobody reads fails without a word", async () => {
  using home = testHome();
  assert.ok(home.fingerprint);
  for (const args of [["id"], ["id", "--json"], ["--help"]]) {
    const { code, stderr } = await program(home.folder, args, { deaf: true });
    assert.deepEqual({ code, stderr }, { code: 1, stderr: "" }, args.join(" "));
  }
});

test("SIGUSR1 opens no debugger, which would be everybody's on this machine", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  await using node = start(home, ["up", "--json"]);
  await node.ready;
  node.child.kill("SIGUSR1");
  // Later than the signal was.
  assert.equal((await run(home, ["status"])).code, 0);
  node.child.kill("SIGTERM");
  const { code, stderr } = await node.exited;
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /Debugger/);
});

test("alknet whose output does not fit on the disk fails, and says so", async (t) => {
  if (!existsSync("/dev/full")) return t.skip("no /dev/full here");
  using home = testHome();
  const full = openSync("/dev/full", "w");
  for (const args of [["id"], ["ticket", "--address", "192.0.2.1"], ["doctor", "--json"]]) {
    const { code, stderr } = await program(home.folder, args, { stdout: full });
    assert.equal(code, 1);
    assert.match(stderr, /alknet: cannot write to standard output: ENOSPC.*\nhint: .*df -h\n$/);
  }
  closeSync(full);
});

test("alknet forward --json ends when nobody reads its events any more", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const spec = `0:localhost:${await freePort()}`;
  await using forward = start(laptop, ["forward", node.ticket, spec, "--json"]);
  const { forwards } = (await forward.ready) as { forwards: { listen: string }[] };
  forward.child.stdout!.destroy();
  await once(forward.child.stdout!, "close");
  const refused = connect({ port: Number(forwards[0]!.listen.split(":")[1]), host: "127.0.0.1" });
  await assert.rejects(once(refused, "end"), { code: "ECONNRESET" });
  assert.equal((await forward.exited).code, 1);
});

test("alknet up goes on when nobody reads its log any more, and ends with 0 when it is told to", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    using stranger = testHome();
    await using node = await startNode(undefined);
    node.program.child.stderr!.destroy();
    // It has something to say of this one.
    assert.equal((await run(stranger, ["ping", node.ticket, "--count", "1"])).code, 3);
    assert.equal((await run(node.home, ["status"])).code, 0);
    node.program.child.kill(signal);
    assert.equal((await node.program.exited).code, 0);
  }
});

test("alknet knows a peer or not, whatever the command: exit code 2", async () => {
  using home = testHome();
  for (const args of [
    ["ping", "nobody"],
    ["forward", "nobody", "0:localhost:80"],
    ["socks", "nobody", "--listen", "0"],
    ["doctor", "nobody"],
  ]) {
    const { code, stderr, stdout } = await run(home, [...args, "--json"]);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /^alknet: no peer is called "nobody"\nhint: /);
    assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, "PEER_UNKNOWN");
  }
});

test("alknet with an ALKNET_HOME that cannot be one says so once, with what to do", async () => {
  using scratch = testHome();
  const cannotUse =
    /^alknet: cannot use folder ".*": .*\nhint: name another folder, .*ALKNET_HOME=.*\n$/;
  const file = join(scratch.folder, "file");
  writeFileSync(file, "");
  for (const folder of [file, join(file, "below"), "/proc/alknet/deep", "/proc", "/sys/alknet"]) {
    if (folder.startsWith("/proc") && !existsSync("/proc/self")) continue;
    const { code, stderr, stdout } = await program(folder, ["id", "--json"]);
    assert.equal(code, 1);
    assert.match(stderr, cannotUse);
    assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, "HOME_UNUSABLE");
  }
  for (const command of ["up", "status", "doctor"]) {
    const { code, stderr } = await program(join(file, "below"), [command]);
    assert.equal(code, 1);
    assert.match(stderr, cannotUse);
  }
});

test("alknet takes no relative ALKNET_HOME: it would be another node in every folder", async () => {
  using scratch = testHome();
  mkdirSync(join(scratch.folder, "den"));
  const options = { cwd: scratch.folder };
  for (const folder of ["den", "./den"]) {
    const { code, stderr, stdout } = await program(folder, ["id"], options);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
    assert.match(
      stderr,
      /^alknet: cannot use ALKNET_HOME ".*den": expected an absolute path\nhint: export ALKNET_HOME="\$PWD\/den"\n$/,
    );
  }
  assert.deepEqual(readdirSync(join(scratch.folder, "den")), []);
  const long = `/${"x".repeat(90)}`;
  const { code, stderr } = await program(scratch.folder + long, ["id"], options);
  assert.equal(code, 0, stderr);
});
