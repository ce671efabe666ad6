/**
 * Stores in several processes: what one commits the others see, whatever happens to locks, disks and file events.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { PeerEntry } from "@alknet/core/peers";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import { follow, type Program } from "./program.ts";

const PROCESS = fileURLToPath(new URL("store-process.ts", import.meta.url));

/** As on a machine that has no more inotify watches to give. */
const WITHOUT_WATCH = `data:text/javascript,${encodeURIComponent(`
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  fs.watch = () => { throw new Error("no watches left"); };
  syncBuiltinESMExports();
`)}`;

function place(): Disposable & { folder: string; path: string } {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-faults-"));
  return {
    folder,
    path: join(folder, "alknet.db"),
    [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

interface Started {
  readonly flags?: readonly string[];
  /** Of Linux; the test has to be root. */
  readonly uid?: number;
  /** Bytes that a file may have. */
  readonly fileSize?: number;
}

function start(mode: string, words: readonly string[], options: Started = {}): Program {
  const { flags = [], uid, fileSize } = options;
  const node = ["--conditions=@alknet/source", ...flags, PROCESS, mode, ...words];
  const [command, args] =
    fileSize === undefined
      ? [process.execPath, node]
      : ["prlimit", [`--fsize=${fileSize}:unlimited`, process.execPath, ...node]];
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  inputs.set(child.pid ?? -1, child.stdin);
  return follow(child, `store-process ${mode}`);
}

const inputs = new Map<number, NodeJS.WritableStream>();

function peer(peerId: string, displayName: string): PeerEntry {
  const fingerprints = [`SHA256:${Buffer.from(peerId).toString("hex").padStart(64, "0")}`];
  return { peerId, fingerprints, scopes: ["ssh:shell"], enabled: true, displayName };
}

/** Change a peer so many times, and see when the other process sees each. @returns milliseconds, sorted. */
async function delays(store: IdentityStore, other: Program, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let at = 0; at < count; at++) {
    const from = other.output.length;
    const begin = process.hrtime.bigint();
    await store.putPeer(peer("laptop", `change ${at}`));
    const pattern = new RegExp(`^saw ([0-9]+) .*"change ${at}"`, "m");
    const [, seen = "0"] = await other.waitFor(pattern, { after: from });
    found.push(Number(BigInt(seen) - begin) / 1e6);
  }
  return found.toSorted((a, b) => a - b);
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
}

test("a commit in one process is seen in another", async (context) => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await using other = start("follow", [at.path]);
  await other.waitFor(/^ready$/m);
  const sorted = await delays(store, other, 200);
  context.diagnostic(
    `from the call to the other's look-up: p50 ${quantile(sorted, 0.5).toFixed(1)} ms, p99 ${quantile(sorted, 0.99).toFixed(1)} ms`,
  );
  // Not a promise of speed: that of being told, and not of having asked four times a second.
  assert.ok(quantile(sorted, 0.25) < 200, `p25 is ${quantile(sorted, 0.25)} ms`);
});

test("a change is seen by those who hear nothing of it", async (context) => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await using other = start("follow", [at.path], { flags: [`--import=${WITHOUT_WATCH}`] });
  await other.waitFor(/^ready$/m);
  const sorted = await delays(store, other, 8);
  context.diagnostic(`p50 ${quantile(sorted, 0.5).toFixed(0)} ms by asking`);
  // And where the file that is touched cannot be.
  fs.rmSync(`${at.path}.notify`);
  fs.mkdirSync(`${at.path}.notify`);
  await delays(store, other, 2);
});

test("another program's transaction is seen, and one that is rolled back is not", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", "before"));
  await using other = start("follow", [at.path]);
  await other.waitFor(/^ready$/m);
  using program = new DatabaseSync(at.path);
  const change = (name: string, end: "COMMIT" | "ROLLBACK"): void =>
    program.exec(`
      BEGIN IMMEDIATE;
      UPDATE peers SET display_name = '${name}' WHERE peer_id = 'laptop';
      INSERT INTO notifications (channel, payload) VALUES ('peers_changed', '{"peers":["laptop"]}');
      ${end};
    `);
  change("taken back", "ROLLBACK");
  change("first", "COMMIT");
  await other.waitFor(/^saw .*"first"/m);
  change("taken back", "ROLLBACK");
  change("second", "COMMIT");
  await other.waitFor(/^saw .*"second"/m);
  assert.ok(!other.output.includes("taken back"));
});

test("several processes that write at once lose nothing, and the notifications stay few", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  const writers = [0, 1, 2].map((lane) => start("write", [at.path, String(lane * 1_000_000)]));
  const acknowledged: string[] = [];
  try {
    await Promise.all(writers.map((writer) => writer.waitFor(/(^ack .*\n){250}/m)));
  } finally {
    for (const writer of writers) {
      const { stdout } = await writer.stop("SIGKILL");
      acknowledged.push(...stdout.split("\n").slice(0, -1));
    }
  }
  await store.reload();
  for (const line of acknowledged) {
    assert.ok(store.peer(line.replace(/^ack /, "")) !== undefined, line);
  }
  using database = new DatabaseSync(at.path, { readOnly: true });
  const { n } = database.prepare("SELECT count(*) AS n FROM notifications").get()!;
  assert.ok(Number(n) <= 1_024 + 64 * (writers.length + 1), `${Number(n)} notifications`);
});

test("a database that is locked for seconds is waited for, and nothing else waits", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await using holder = start("hold", [at.path, "3000"]);
  await holder.waitFor(/^locked$/m);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  await store.putPeer(peer("laptop", "written"));
  delay.disable();
  assert.match(holder.output, /unlocked/);
  assert.equal(store.peer("laptop")?.displayName, "written");
  assert.ok(delay.max / 1e6 < 1_000, `the event loop was held for ${delay.max / 1e6} ms`);
});

test("a database that stays locked is given up after 10 s, and works again afterwards", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await using holder = start("hold", [at.path, "60000"]);
  await holder.waitFor(/^locked$/m);
  await assert.rejects(store.putPeer(peer("laptop", "x")), {
    code: "STORE_BUSY",
    message: /is locked by another program/,
  });
  await holder.stop("SIGKILL");
  assert.deepEqual(store.peers, []);
  await store.putPeer(peer("laptop", "x"));
  assert.equal(store.peers.length, 1);
});

/** See a store through a disk that is full, and has room again. */
async function throughFullDisk(path: string, full: Program, makeRoom: () => void): Promise<void> {
  const [, text = ""] = await full.waitFor(/^refused (.*)$/m);
  const refused = JSON.parse(text) as Record<string, unknown>;
  assert.equal(refused.code, "STORE_FULL", text);
  assert.ok(Number(refused.at) > 0);
  assert.equal(refused.known, refused.at, "what was refused is not seen");
  assert.equal(refused.after, refused.at, "nor is it there");
  const from = full.output.length;
  makeRoom();
  inputs.get(full.pid)!.write("again\n");
  await full.waitFor(/^ack peer-/m, { after: from });
  await full.stop("SIGKILL");
  await using store = await openSqliteStore({ path });
  const acknowledged = full.output.match(/^ack /gm)?.length ?? 0;
  assert.ok(store.peers.length >= acknowledged);
  assert.deepEqual(store.problems, []);
}

test("a file that may grow no more refuses a write whole, and takes the next when it may", async () => {
  using at = place();
  await using full = start("full", [at.path], { fileSize: 400_000 });
  await throughFullDisk(at.path, full, () => {
    const { status } = spawnSync("prlimit", [`--pid=${full.pid}`, "--fsize=unlimited"]);
    assert.equal(status, 0);
  });
});

test(
  "a disk that is full refuses a write whole, and takes the next when there is room",
  {
    skip: process.getuid?.() === 0 ? false : "only root can mount a small disk",
  },
  async () => {
    using at = place();
    const disk = join(at.folder, "disk");
    fs.mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
    assert.equal(mounted.status, 0, String(mounted.stderr));
    try {
      const path = join(disk, "alknet.db");
      const ballast = join(disk, "ballast");
      fs.writeFileSync(ballast, Buffer.alloc(300_000));
      await using full = start("full", [path]);
      await throughFullDisk(path, full, () => fs.rmSync(ballast));
    } finally {
      spawnSync("umount", ["-l", disk]);
    }
  },
);

test("a process that may only read does so: the file, or the whole folder", async () => {
  using at = place();
  {
    await using store = await openSqliteStore({ path: at.path });
    await store.putPeer(peer("laptop", "there"));
  }
  const uid = process.getuid?.() === 0 ? 65_534 : undefined;
  // The -wal went away with the last process: a reader would have to make one.
  assert.equal(fs.existsSync(`${at.path}-wal`), false);
  fs.chmodSync(at.path, 0o444);
  fs.chmodSync(dirname(at.path), 0o555);
  try {
    await using reader = start("follow", [at.path], uid === undefined ? {} : { uid });
    await reader.waitFor(/^ready$/m);
    if (uid === undefined) return;
    // We are another user, who may write: the reader sees that, too.
    await using store = await openSqliteStore({ path: at.path });
    await store.putPeer(peer("laptop", "changed"));
    for (const end of ["-wal", "-shm"]) fs.chmodSync(at.path + end, 0o444);
    await reader.waitFor(/^saw .*"changed"/m);
  } finally {
    fs.chmodSync(dirname(at.path), 0o755);
  }
});

test("a database that is deleted, damaged or replaced under several processes", async () => {
  using at = place();
  const copy = join(at.folder, "copy");
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", "before"));
  {
    using database = new DatabaseSync(at.path);
    database.prepare("VACUUM INTO ?").run(copy);
    await using changed = await openSqliteStore({ path: copy });
    await changed.putPeer(peer("phone", "from the copy"));
  }
  await using other = start("follow", [at.path]);
  await other.waitFor(/^ready$/m);

  fs.rmSync(at.path);
  await other.waitFor(/^state .*was deleted/m);
  fs.copyFileSync(copy, at.path);
  await other.waitFor(/^saw .*"from the copy"/m);

  const good = fs.readFileSync(copy);
  fs.writeFileSync(join(at.folder, "bad"), Buffer.alloc(good.length, 0x5a));
  const damaged = other.output.length;
  fs.renameSync(join(at.folder, "bad"), at.path);
  await other.waitFor(/^state .*is damaged/m, { after: damaged });

  const replaced = other.output.length;
  fs.renameSync(copy, at.path);
  await other.waitFor(/^state \{"kind":"ready"\}/m, { after: replaced });
  // Ours has followed the same way; it may be some milliseconds behind.
  while (store.state.kind !== "ready" || store.peer("phone") === undefined) await sleep(5);
  await store.putPeer(peer("phone", "after all"));
  await other.waitFor(/^saw .*"after all"/m);
});

test("a lost database whose place another half-made takes does not hold the event loop", async () => {
  using at = place();
  await using keeper = start("keep", [at.path]);
  await keeper.waitFor(/^ready$/m);
  for (const ends of [[""], ["", "-shm"], ["", "-wal", "-shm"]]) {
    const from = keeper.output.length;
    for (const end of ends) fs.rmSync(at.path + end, { force: true });
    await keeper.waitFor(/^state .*was deleted/m, { after: from });
    // As a program that was stopped between making the file and its tables leaves it: opening and closing it makes
    // and removes files beside it, which wakes who watches.
    const half = join(at.folder, "half");
    {
      using database = new DatabaseSync(half);
      database.exec("PRAGMA journal_mode = WAL");
    }
    fs.renameSync(half, at.path);
    await keeper.waitFor(/^state .*is empty now/m, { after: from });
    // It answers, and what it does meanwhile is next to nothing.
    const before = cpuSeconds(keeper.pid);
    for (let n = 0; n < 20; n++) {
      const asked = keeper.output.length;
      inputs.get(keeper.pid)!.write("are you there?\n");
      await keeper.waitFor(/^peers 1$/m, { after: asked });
      await sleep(50);
    }
    const used = cpuSeconds(keeper.pid) - before;
    assert.ok(used < 0.5, `it used ${used} s of a second`);
  }
  process.kill(keeper.pid, "SIGTERM");
  await keeper.waitFor(/^stopped$/m);
});

/** Of a process, on Linux, which counts hundredths. */
function cpuSeconds(pid: number): number {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
