/**
 * 300 processes that write into a store are killed at random moments: what was acknowledged is there, and no
 * half of anything.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";

const KILLS = 300;

/** Each with a database of its own. */
const LANES = 3;

/** From the first acknowledgement to the end, in milliseconds, at most. */
const LONGEST_LIFE = 40;

test(
  "a store whose writers are killed keeps all that was acknowledged, and no half",
  {
    timeout: 900_000,
  },
  async (context) => {
    const lanes = Array.from({ length: LANES }, (_, at) => lane(at, KILLS / LANES));
    const counts = await Promise.all(lanes);
    const sum = counts.reduce((all, one) => ({
      kills: all.kills + one.kills,
      acknowledged: all.acknowledged + one.acknowledged,
      written: all.written + one.written,
    }));
    context.diagnostic(
      `${sum.kills} kills, ${sum.acknowledged} acknowledged, ${sum.written - sum.acknowledged} more were written`,
    );
    assert.equal(sum.kills, KILLS);
    assert.ok(sum.acknowledged > KILLS, "most were killed in the midst of writing");
  },
);

interface Counts {
  kills: number;
  acknowledged: number;
  written: number;
}

async function lane(seed: number, kills: number): Promise<Counts> {
  const folder = await mkdtemp(join(tmpdir(), "alknet-kill-"));
  const path = join(folder, "alknet.db");
  const random = randomFrom(seed + 1);
  const acknowledged = new Set<string>();
  let written = 0;
  try {
    for (let kill = 0; kill < kills; kill++) {
      // Numbers that no process before has used.
      for (const name of await killed(path, kill * 100_000, random)) acknowledged.add(name);
      written = await check(path, acknowledged);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { kills, acknowledged: acknowledged.size, written };
}

/** Run a writer and kill it. @returns what it has acknowledged. */
async function killed(path: string, first: number, random: () => number): Promise<string[]> {
  const file = new URL("store-process.ts", import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ["--conditions=@alknet/source", file, "write", path, String(first)],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const closed = once(child, "close");
  let stdout = "";
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdout.setEncoding("utf8");
  const begun = new Promise<void>((resolve) => {
    child.stdout.on("data", (text: string) => {
      stdout += text;
      resolve();
    });
    child.once("close", () => resolve());
  });
  // Most while they write, some while they open.
  if (random() < 0.85) await begun;
  await sleep(random() * LONGEST_LIFE);
  child.kill("SIGKILL");
  const [, signal] = (await closed) as [number | null, string | null];
  assert.equal(signal, "SIGKILL", stderr);
  // The last line may have been cut off: then it was not acknowledged.
  return stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => line.replace(/^ack /, ""));
}

/** @returns how many peers there are. */
async function check(path: string, acknowledged: ReadonlySet<string>): Promise<number> {
  {
    await using store = await openSqliteStore({ path });
    assert.deepEqual(store.problems, []);
    const names = new Set(store.peers.map(({ peerId }) => peerId));
    for (const name of acknowledged) assert.ok(names.has(name), `${name} was acknowledged`);
  }
  using database = new DatabaseSync(path, { readOnly: true });
  const number = (sql: string): number => Number(Object.values(database.prepare(sql).get()!)[0]);
  assert.deepEqual(Object.values(database.prepare("PRAGMA integrity_check").get()!), ["ok"]);
  const peers = number("SELECT count(*) FROM peers");
  const noted = "SELECT count(*) FROM audit WHERE action IN ('peer.add', 'peer.join')";
  assert.equal(number(noted), peers, "each peer has its line in the audit");
  const joined = number("SELECT count(*) FROM peers WHERE peer_id LIKE 'join-%'");
  const used = "SELECT count(*) FROM invitations WHERE used_at IS NOT NULL";
  assert.equal(number(used), joined, "who joined has used up an invitation, and nobody else");
  const last = (table: string): number =>
    number(`SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = '${table}'), 0)`);
  assert.equal(last("notifications"), last("audit"), "each change was told of once");
  return peers;
}

/** The same numbers from 0 to 1 in each run: a linear congruence of 32 bits, which is random enough for moments. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
