/**
 * The process that bench `identity` measures: `identity-worker.ts DATABASE PEERS ROUNDS`.
 *
 * It prints one line of JSON a round, the figures of {@linkcode IdentityFigures}.
 *
 * @module
 */

import { monitorEventLoopDelay } from "node:perf_hooks";
import { DatabaseSync } from "node:sqlite";
import { authenticate } from "@alknet/core/access";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";

export interface IdentityFigures {
  /** Of a fingerprint, in nanoseconds. */
  lookup: number;
  /** `grant()` and its end, of a peer with 50 scopes, in nanoseconds. */
  grant: number;
  /** Of all rows, in milliseconds. */
  reload: number;
  /** Longest that the event loop was held during the reload, in milliseconds. */
  loopDelay: number;
  /** What the process has grown by with the store, after collecting garbage, in MiB. */
  memory: number;
}

const LOOKUPS = 1_000_000;
/** From one peer to the next that is looked up; it has no divisor in common with their number. */
const STRIDE = 37_501;
const GRANTS = 200_000;

const [path = "", peers = "0", rounds = "0"] = process.argv.slice(2);
const count = Number(peers);
await fill();
// Of their own, and there before the store is: they are no part of its memory.
const texts = Array.from({ length: count }, (_, at) => Buffer.from(fingerprint(at)).toString());
const before = memory();
await using store = await openSqliteStore({ path });
if (store.peers.length !== count + 1) throw new Error(`loaded ${store.peers.length} peers`);
// What was needed to fill and to read the file first is not what the store keeps.
await store.reload();

for (let round = 0; round < Number(rounds); round++) {
  const [reload, loopDelay] = await measureReload();
  const figures: IdentityFigures = {
    lookup: measureLookup(texts),
    grant: measureGrant(),
    reload,
    loopDelay,
    memory: memory() - before,
  };
  console.log(JSON.stringify(figures));
}

function fingerprint(at: number): string {
  // As a hash is: no two begin alike.
  return `ed25519:${((at * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, "0").repeat(7)}${at.toString(16).padStart(8, "0")}`;
}

/** Straight into the table: as a program that brings its users along. */
async function fill(): Promise<void> {
  // Makes the tables.
  await (await openSqliteStore({ path })).close();
  using database = new DatabaseSync(path);
  const insert = database.prepare(
    "INSERT INTO peers (peer_id, fingerprints, scopes) VALUES (?, ?, ?)",
  );
  database.exec("BEGIN");
  for (let at = 0; at < count; at++) {
    const scopes = ["ssh:shell", `git:read:team-${at % 100}/*`, "tunnel:dial:*.internal:443"];
    insert.run(`peer-${at}`, JSON.stringify([fingerprint(at)]), JSON.stringify(scopes));
  }
  const many = Array.from({ length: 50 }, (_, at) => `tunnel:dial:host-${at}.internal:5432`);
  insert.run("many", JSON.stringify([fingerprint(count)]), JSON.stringify(many));
  database.exec("COMMIT");
}

/** Of each peer, in an order that no cache can foresee; the texts are not those that the store keeps. */
function measureLookup(texts: readonly string[]): number {
  let found = 0;
  const begin = performance.now();
  for (let look = 0, at = 0; look < LOOKUPS; look++) {
    if (store.resolveFingerprint(texts[at]!) !== undefined) found++;
    at = (at + STRIDE) % texts.length;
  }
  const spent = performance.now() - begin;
  if (found !== LOOKUPS) throw new Error(`found ${found} of ${LOOKUPS}`);
  return (spent * 1e6) / LOOKUPS;
}

function measureGrant(): number {
  using auth = authenticate(store, { kind: "fingerprint", fingerprint: fingerprint(count) });
  const resource = { host: "host-49.internal", port: 5_432, address: "10.1.2.3" };
  const begin = performance.now();
  for (let at = 0; at < GRANTS; at++) auth.grant("tunnel:dial", resource)[Symbol.dispose]();
  return ((performance.now() - begin) * 1e6) / GRANTS;
}

async function measureReload(): Promise<[reload: number, loopDelay: number]> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await new Promise((resolve) => setImmediate(resolve));
  const begin = performance.now();
  await store.reload();
  const spent = performance.now() - begin;
  // So that a delay at its end is counted, too.
  await new Promise((resolve) => setTimeout(resolve, 5));
  delay.disable();
  return [spent, delay.max / 1e6];
}

function memory(): number {
  global.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}
