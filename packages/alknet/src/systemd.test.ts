import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "@alknet/core/log";
import { systemdNotifier } from "./systemd.ts";
import { start, testHome } from "./testing.ts";

const UNITS = join(import.meta.dirname, "../systemd");
const has = (command: string): boolean => spawnSync(command, ["--version"]).error === undefined;
const NOTIFY = has("systemd-notify") && has("python3");

/** A datagram socket as systemd has it; each datagram is a line of JSON. */
const MANAGER = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps("bound"), flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

async function manager(path: string): Promise<AsyncDisposable & { next(): Promise<string> }> {
  const child: ChildProcess = spawn("python3", ["-c", MANAGER, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  let rest = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const [last = "", ...done] = (rest + text).split("\n").toReversed();
    rest = last;
    const told = done.toReversed().map((line) => JSON.parse(line) as string);
    // By this systemd-notify waits until its words have arrived.
    lines.push(...told.filter((line) => line !== "BARRIER=1"));
    child.emit("line");
  });
  const next = async (): Promise<string> => {
    while (lines.length === 0) await once(child, "line");
    return lines.shift()!;
  };
  assert.equal(await next(), "bound");
  return {
    next,
    async [Symbol.asyncDispose]() {
      const gone = once(child, "close");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

test(
  "alknet up tells systemd that it is ready, reloads and stops",
  { skip: NOTIFY ? false : "systemd-notify or python3 is not installed" },
  async () => {
    using home = testHome();
    home.config('listen = ["127.0.0.1:0"]');
    const path = join(home.folder, "notify");
    await using systemd = await manager(path);
    process.env["NOTIFY_SOCKET"] = path;
    await using node = start(home, ["up", "--json"]);
    delete process.env["NOTIFY_SOCKET"];
    assert.match(await systemd.next(), /^READY=1$/m);
    node.child.kill("SIGHUP");
    assert.match(await systemd.next(), /^RELOADING=1\nMONOTONIC_USEC=\d+$/m);
    assert.match(await systemd.next(), /^READY=1$/m);
    node.child.kill("SIGTERM");
    assert.match(await systemd.next(), /^STOPPING=1$/m);
    assert.equal((await node.exited).code, 0);
  },
);

test("a machine without systemd-notify is told so once, and the node goes on", async () => {
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, text: string) => void warnings.push(text) };
  const tell = systemdNotifier({ socket: "/nowhere", logger, command: "no-such-command" });
  await Promise.all([tell("ready"), tell("stopping")]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /is no-such-command installed\?/);
});

test("without a service manager nothing is started", async () => {
  const logger = { ...silentLogger, warn: () => assert.fail("it was") };
  await systemdNotifier({ socket: undefined, logger, command: "no-such-command" })("ready");
});

test(
  "the units are such as systemd takes",
  { skip: has("systemd-analyze") ? false : "systemd-analyze is not installed" },
  () => {
    using home = testHome();
    for (const name of ["alknet.service", "alknet-user.service"]) {
      const unit = join(home.folder, name);
      copyFileSync(join(UNITS, name), unit);
      // The path is the reader's to set; that it is missing here is no fault of the unit.
      const text = readFileSync(unit, "utf8").replace(/^ExecStart=\S+/m, "ExecStart=/bin/true");
      writeFileSync(unit, text);
      const user = name.includes("-user") ? ["--user"] : [];
      const { stderr } = spawnSync("systemd-analyze", ["verify", ...user, "--man=no", unit], {
        encoding: "utf8",
        env: { ...process.env, XDG_RUNTIME_DIR: home.folder },
      });
      const ours = stderr.split("\n").filter((line) => line.includes(name));
      assert.deepEqual(ours, [], stderr);
    }
  },
);
