import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { createNamespace, joinByCable, type Namespace, sweepNamespaces } from "./netns.ts";

const PROBE = fileURLToPath(new URL("probe.ts", import.meta.url));

async function startEcho(namespace: Namespace): Promise<void> {
  const child = namespace.spawn(process.execPath, [PROBE, "echo", "7"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  assert.ok(child.stdout);
  await once(createInterface({ input: child.stdout }), "line");
}

async function twoMachines(): Promise<{ near: Namespace; far: Namespace } & AsyncDisposable> {
  await using made = new AsyncDisposableStack();
  const near = made.use(await createNamespace("near"));
  const far = made.use(await createNamespace("far"));
  await joinByCable(
    { namespace: near, addresses: ["10.77.0.1/24", "fd77::1/64"] },
    { namespace: far, addresses: ["10.77.0.2/24", "fd77::2/64"] },
  );
  const owned = made.move();
  return { near, far, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test("joinByCable() lets two namespaces talk over IPv4 and IPv6", async () => {
  await using machines = await twoMachines();
  await startEcho(machines.far);
  for (const address of ["10.77.0.2", "fd77::2"]) {
    const echoed = await machines.near.run(process.execPath, PROBE, "tcp", address, "7", "hello");
    assert.equal(echoed, "hello");
  }
});

test("blockUdp() stops UDP, lets TCP through, and unblockUdp() undoes it", async () => {
  await using machines = await twoMachines();
  await startEcho(machines.far);
  await machines.far.blockUdp();
  await machines.far.blockUdp();
  const { near } = machines;
  assert.equal(await near.run(process.execPath, PROBE, "tcp", "10.77.0.2", "7", "tcp"), "tcp");

  const probe = near.spawn(process.execPath, [PROBE, "rtt", "::ffff:10.77.0.2", "7", "1"]);
  while (!/packets [1-9]/.test(await machines.far.run("nft", "list", "table", "inet", "alknet")));
  assert.equal(probe.exitCode, null, "the probe had an answer");
  probe.kill();

  await machines.far.unblockUdp();
  await machines.far.unblockUdp();
  const answer = await near.run(process.execPath, PROBE, "rtt", "::ffff:10.77.0.2", "7", "1");
  assert.match(answer, /^\{"milliseconds":\[[0-9.]+\]\}\n$/);
});

test("removeAddress() of the first address of a subnet leaves the others", async () => {
  await using machines = await twoMachines();
  await startEcho(machines.far);
  await machines.near.addAddress("eth0", "10.77.0.9/24");
  await machines.near.removeAddress("eth0", "10.77.0.1/24");
  const addresses = await machines.near.run("ip", "-4", "-br", "address", "show", "eth0");
  assert.match(addresses, /\b10\.77\.0\.9\/24/);
  assert.doesNotMatch(addresses, /\b10\.77\.0\.1\/24/);
  const echoed = await machines.near.run(process.execPath, PROBE, "tcp", "10.77.0.2", "7", "moved");
  assert.equal(echoed, "moved");
});

test("a namespace that is disposed of takes its processes with it", async () => {
  const namespace = await createNamespace("alone");
  const child = namespace.spawn("sleep", ["1000"]);
  await once(child, "spawn");
  // Until `ip` has moved in, the process is not in the namespace yet.
  while (
    (await namespace.run("ip", "netns", "pids", namespace.name)).includes(`${child.pid}\n`) ===
    false
  );
  const ended = once(child, "exit");
  await namespace[Symbol.asyncDispose]();
  await namespace[Symbol.asyncDispose]();
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  assert.equal(readdirSync("/run/netns").includes(namespace.name), false);
});

test("sweepNamespaces() removes what a killed run left, and nothing of a live one", async () => {
  await using mine = await createNamespace("mine");
  const dead = spawn("true");
  await once(dead, "exit");
  const left = `alknet-${dead.pid}-1-1-left`;
  assert.equal(spawnSync("ip", ["netns", "add", left]).status, 0);
  assert.ok(sweepNamespaces().includes(left));
  const names = readdirSync("/run/netns");
  assert.equal(names.includes(left), false);
  assert.ok(names.includes(mine.name));
});

test("run() fails with the status and what the command wrote", async () => {
  await using namespace = await createNamespace("failing");
  await assert.rejects(namespace.run("sh", "-c", "echo why >&2; exit 3"), {
    code: "COMMAND_FAILED",
    status: 3,
    stderr: "why\n",
  });
});

test("createNamespace() refuses a label that is not a plain word", async () => {
  await assert.rejects(createNamespace("../up"), RangeError);
});
