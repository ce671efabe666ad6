import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { Logger } from "@alknet/core/log";
import type { PeerEntry } from "@alknet/core/peers";
import { type OpenSqliteStoreOptions, openSqliteStore } from "./sqlite-store.ts";

const KEYS = Array.from({ length: 8 }, (_, at) => `ed25519:${String(at).repeat(64)}`);
const [A = "", B = ""] = KEYS;

/** A folder for a database. */
function place(): Disposable & { folder: string; path: string } {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-store-"));
  return {
    folder,
    path: join(folder, "alknet.db"),
    [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

function peer(peerId: string, fingerprint: string): PeerEntry {
  return { peerId, fingerprints: [fingerprint], scopes: ["ssh:shell"], enabled: true };
}

/** A database with one peer, closed. */
async function prepared(path: string, entry: PeerEntry): Promise<void> {
  await using store = await openSqliteStore({ path });
  await store.putPeer(entry);
}

/** A copy of an open database, as a backup that was changed since: one other peer instead of all. */
async function copied(from: string, to: string, entry: PeerEntry): Promise<void> {
  {
    using database = new DatabaseSync(from);
    database.prepare("VACUUM INTO ?").run(to);
  }
  await using store = await openSqliteStore({ path: to });
  for (const { peerId } of store.peers) await store.removePeer(peerId);
  await store.putPeer(entry);
}

/** Resolves when `holds` does, which is asked whenever something about the store changes. */
function until(store: IdentityStore, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!holds()) return;
      for (const stop of stops) stop();
      resolve();
    };
    const stops = [store.onstate(look), store.subscribe(look)];
    look();
  });
}

async function isStale(store: IdentityStore, reason: RegExp): Promise<void> {
  await until(store, () => store.state.kind === "stale" && reason.test(store.state.reason));
}

async function knows(store: IdentityStore, fingerprint: string): Promise<void> {
  await until(
    store,
    () => store.state.kind === "ready" && store.resolveFingerprint(fingerprint) !== undefined,
  );
}

test("openSqliteStore() makes a file that only its owner can read", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", A));
  for (const name of fs.readdirSync(at.folder)) {
    assert.equal(fs.statSync(join(at.folder, name)).mode & 0o777, 0o600, name);
  }
  assert.deepEqual(fs.readdirSync(at.folder).toSorted(), [
    "alknet.db",
    "alknet.db-shm",
    "alknet.db-wal",
    "alknet.db.notify",
  ]);
});

test("openSqliteStore() refuses what is not its file, and leaves it as it is", async () => {
  using at = place();
  const refusals: [name: string, make: (path: string) => void, code: string, message: RegExp][] = [
    ["text", (path) => fs.writeFileSync(path, "x".repeat(10_000)), "STORE_CORRUPT", /is damaged/],
    [
      "foreign",
      (path) => {
        using database = new DatabaseSync(path);
        database.exec("CREATE TABLE peers (x)");
      },
      "STORE_CORRUPT",
      /database of another program/,
    ],
    [
      "another application",
      (path) => {
        using database = new DatabaseSync(path);
        database.exec("PRAGMA application_id = 7; CREATE TABLE x (y)");
      },
      "STORE_CORRUPT",
      /another program, with application_id 7/,
    ],
    [
      "newer",
      (path) => {
        using database = new DatabaseSync(path);
        database.exec("PRAGMA application_id = 0x616c6b6e; PRAGMA user_version = 999");
      },
      "STORE_NEWER",
      /written by a newer alknet: it has version 999, we know up to [0-9]+$/,
    ],
    ["folder", (path) => fs.mkdirSync(path), "STORE_UNAVAILABLE", /cannot open .*folder/],
  ];
  for (const [name, make, code, message] of refusals) {
    const path = join(at.folder, name);
    make(path);
    const before = name === "folder" ? undefined : fs.readFileSync(path);
    await assert.rejects(openSqliteStore({ path }), { name: "StoreError", code, message }, name);
    if (before !== undefined) assert.deepEqual(fs.readFileSync(path), before, name);
  }
  await assert.rejects(openSqliteStore({ path: join(at.folder, "no", "alknet.db") }), {
    code: "STORE_UNAVAILABLE",
    hint: /ls -ld/,
  });
  await assert.rejects(openSqliteStore({ path: join(at.folder, "none"), readOnly: true }), {
    code: "STORE_UNAVAILABLE",
    message: /there is no/,
  });
});

test("openSqliteStore() refuses to start on a damaged file", async () => {
  using at = place();
  {
    await using store = await openSqliteStore({ path: at.path });
    for (let n = 0; n < 200; n++) {
      await store.putPeer(peer(`peer-${n}`, `SHA256:${String(n).padStart(64, "0")}`));
    }
  }
  const bytes = fs.readFileSync(at.path);
  // All pages but the first, which has the header.
  bytes.fill(0xa5, 4_096);
  fs.writeFileSync(at.path, bytes);
  await assert.rejects(openSqliteStore({ path: at.path }), {
    code: "STORE_CORRUPT",
    message: /alknet\.db is damaged/,
    hint: /\.recover/,
  });
});

test("a database that is deleted keeps its peers in force, takes no writes, and may come back", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", A));
  const copy = join(at.folder, "copy");
  await copied(at.path, copy, peer("phone", B));
  fs.rmSync(at.path);
  // At once, also before anybody has noticed.
  await assert.rejects(store.putPeer(peer("phone", B)), { code: "STORE_UNAVAILABLE" });
  await isStale(store, /was deleted/);
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
  assert.equal(fs.existsSync(at.path), false);
  fs.renameSync(copy, at.path);
  await knows(store, B);
  // The one that came is another: what it does not have is gone.
  assert.equal(store.resolveFingerprint(A), undefined);
  await store.putPeer(peer("desk", A));
  assert.equal(store.resolveFingerprint(A)?.id, "desk");
});

test("a database that is replaced while its -wal stays is read as it is now", async () => {
  using at = place();
  const lines: string[] = [];
  const logger: Logger = {
    debug() {},
    info() {},
    warn: (_, message) => void lines.push(message),
    error: (_, message) => void lines.push(message),
  };
  await using store = await openSqliteStore({ path: at.path, logger });
  await store.putPeer(peer("laptop", A));
  const copy = join(at.folder, "copy");
  await copied(at.path, copy, peer("phone", B));
  assert.ok(fs.statSync(`${at.path}-wal`).size > 0);
  fs.renameSync(copy, at.path);
  await knows(store, B);
  assert.equal(store.resolveFingerprint(A), undefined);
  assert.ok(lines.some((line) => line.includes("was replaced by another file")));
  assert.ok(lines.some((line) => line.includes("put aside")));
  // What others see is what we see.
  using other = new DatabaseSync(at.path, { readOnly: true });
  assert.deepEqual(
    other
      .prepare("SELECT peer_id FROM peers")
      .all()
      .map(({ peer_id }) => peer_id),
    ["phone"],
  );
});

test("a database that was replaced while nobody ran, its -wal left behind, is known for that", async () => {
  using at = place();
  const source = join(at.folder, "source");
  {
    await using store = await openSqliteStore({ path: source });
    await store.putPeer(peer("laptop", A));
    // As a process that was killed leaves them.
    for (const end of ["", "-wal", ".notify"]) fs.linkSync(source + end, at.path + end);
  }
  const wal = fs.statSync(`${at.path}-wal`);
  assert.ok(wal.size > 0);
  const copy = join(at.folder, "copy");
  await prepared(copy, peer("phone", B));
  fs.renameSync(copy, at.path);
  await using store = await openSqliteStore({ path: at.path });
  assert.equal(store.resolveFingerprint(B)?.id, "phone");
  assert.equal(store.resolveFingerprint(A), undefined);
  assert.equal(fs.statSync(`${at.path}-wal.old`).ino, wal.ino);
});

test("a folder that was copied as a whole, -wal and all, loses nothing", async () => {
  using at = place();
  const copy = join(at.folder, "copy");
  fs.mkdirSync(copy);
  {
    await using store = await openSqliteStore({ path: at.path });
    await store.putPeer(peer("laptop", A));
    for (const end of ["", "-wal", ".notify"]) {
      fs.copyFileSync(at.path + end, join(copy, `alknet.db${end}`));
    }
  }
  await using store = await openSqliteStore({ path: join(copy, "alknet.db") });
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
});

test("a database that is damaged while it is open keeps its peers in force, and recovers", async () => {
  using at = place();
  {
    await using store = await openSqliteStore({ path: at.path });
    await store.putPeer(peer("laptop", A));
  }
  await using store = await openSqliteStore({ path: at.path });
  const good = fs.readFileSync(at.path);
  fs.writeFileSync(at.path, Buffer.alloc(good.length, 0xa5));
  await isStale(store, /is damaged/);
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
  await assert.rejects(store.putPeer(peer("phone", B)), { code: "STORE_CORRUPT" });
  fs.rmSync(`${at.path}-wal`, { force: true });
  fs.writeFileSync(at.path, good);
  await until(store, () => store.state.kind === "ready");
  await store.putPeer(peer("phone", B));
  assert.equal(store.resolveFingerprint(B)?.id, "phone");
});

test("a database that is emptied is not taken for a new one", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", A));
  const empty = join(at.folder, "empty");
  fs.writeFileSync(empty, "");
  fs.renameSync(empty, at.path);
  await isStale(store, /is empty now/);
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
  assert.equal(fs.statSync(at.path).size, 0);
});

test("another database in its place is taken over by the next start, and not before", async () => {
  using at = place();
  const other = join(at.folder, "other");
  await prepared(other, peer("phone", B));
  {
    await using store = await openSqliteStore({ path: at.path });
    await store.putPeer(peer("laptop", A));
    const kept = join(at.folder, "kept");
    await copied(at.path, kept, peer("laptop", A));
    for (const end of ["-wal", "-shm"]) assert.ok(fs.existsSync(at.path + end));
    fs.renameSync(other, at.path);
    await isStale(store, /is another database now: put the file back, or if .*alknet up/);
    assert.equal(store.resolveFingerprint(A)?.id, "laptop");
    await assert.rejects(store.putPeer(peer("desk", B)), { code: "STORE_UNAVAILABLE" });
    fs.renameSync(at.path, other);
    fs.renameSync(kept, at.path);
    await until(store, () => store.state.kind === "ready");
    assert.equal(store.resolveFingerprint(A)?.id, "laptop");
    fs.renameSync(other, at.path);
    await isStale(store, /is another database now/);
  }
  await using next = await openSqliteStore({ path: at.path });
  assert.equal(next.resolveFingerprint(B)?.id, "phone");
});

test("with `create: false` a file that is missing or empty is an error, and stays so", async () => {
  using at = place();
  await assert.rejects(openSqliteStore({ path: at.path, create: false }), {
    code: "STORE_UNAVAILABLE",
  });
  assert.equal(fs.existsSync(at.path), false);
  fs.writeFileSync(at.path, "");
  await assert.rejects(openSqliteStore({ path: at.path, create: false }), {
    code: "STORE_CORRUPT",
    message: /is empty/,
  });
  assert.equal(fs.statSync(at.path).size, 0);
});

test("a database that another has locked is waited for, and the event loop goes on", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  using other = new DatabaseSync(at.path);
  other.exec("BEGIN IMMEDIATE");
  let turns = 0;
  const written = store.putPeer(peer("laptop", A));
  while (turns < 200) {
    await new Promise((resolve) => setImmediate(resolve));
    turns++;
  }
  assert.equal(store.resolveFingerprint(A), undefined);
  other.exec("COMMIT");
  await written;
  assert.equal(store.resolveFingerprint(A)?.id, "laptop");
});

test("a store for reading follows the one that writes, and writes nothing itself", async () => {
  using at = place();
  await using writer = await openSqliteStore({ path: at.path });
  await using reader = await openSqliteStore({ path: at.path, readOnly: true });
  const { change } = await writer.putPeer(peer("laptop", A));
  await reader.effectOf(change);
  assert.equal(reader.resolveFingerprint(A)?.id, "laptop");
  await assert.rejects(reader.putPeer(peer("phone", B)), { code: "STORE_READ_ONLY" });
  assert.equal((await reader.audit()).length, 1);
});

test("what another program writes as documented is seen, with and without a notification", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", A));
  using other = new DatabaseSync(at.path);
  other.exec(`
    BEGIN IMMEDIATE;
    UPDATE peers SET fingerprints = '["${B}"]' WHERE peer_id = 'laptop';
    INSERT INTO notifications (channel, payload) VALUES ('peers_changed', '{"peers":["laptop"]}');
    COMMIT;
  `);
  await knows(store, B);
  assert.equal(store.resolveFingerprint(A), undefined);
  // Nothing is going on in this one that would have it read everything anyway.
  await using idle = await openSqliteStore({ path: at.path, readOnly: true });
  other.exec(`UPDATE peers SET fingerprints = '["${A}"]'`);
  await Promise.all([knows(store, A), knows(idle, A)]);
});

test("a row that another program has spoilt costs no other, and is told of", async () => {
  using at = place();
  await using store = await openSqliteStore({ path: at.path });
  await store.putPeer(peer("laptop", A));
  await store.putPeer(peer("phone", B));
  using other = new DatabaseSync(at.path);
  other.exec("UPDATE peers SET scopes = '[\"ssh:shell\"' WHERE peer_id = 'laptop'");
  await until(store, () => store.problems.length === 1);
  assert.equal(store.problems[0]?.subject, "peer laptop");
  assert.match(store.problems[0].message, /cannot read column scopes: expected JSON text/);
  assert.equal(store.resolveFingerprint(A), undefined);
  assert.equal(store.resolveFingerprint(B)?.id, "phone");
  await assert.rejects(
    store.changePeer("laptop", (entry) => entry),
    { code: "STORE_CORRUPT", message: /row of peer laptop cannot be used/ },
  );
  // Numbers that JavaScript has no number for are refused by the table itself.
  assert.throws(() => other.exec("UPDATE peers SET enabled = 9223372036854775807"), /CHECK/);
  assert.throws(() => other.exec("UPDATE peers SET display_name = x'00'"), /cannot store BLOB/);
});

test("notifications and audit entries are kept within bounds", async () => {
  using at = place();
  const options: OpenSqliteStoreOptions = { path: at.path };
  {
    await using _made = await openSqliteStore(options);
    using other = new DatabaseSync(at.path);
    const fill = (table: string, columns: string, values: string): void =>
      other.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
        INSERT INTO ${table} (${columns}) SELECT ${values} FROM n`);
    fill("notifications", "channel", "'x'");
    fill("audit", "at, actor, action, subject, detail", "i, 'a', 'b', 'c', '{}'");
  }
  await using store = await openSqliteStore(options);
  await store.putPeer(peer("laptop", A));
  using other = new DatabaseSync(at.path, { readOnly: true });
  const count = (table: string): unknown =>
    other.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n;
  assert.equal(count("notifications"), 1_024);
  assert.equal(count("audit"), 10_000);
});

test("a clock that goes back stops no news, and brings no key back", async () => {
  using at = place();
  await using here = await openSqliteStore({ path: at.path });
  const clock: Clock = { ...systemClock, wallTime: () => 1_000 };
  await using there = await openSqliteStore({ path: at.path, clock });
  const first = await here.putPeer(peer("laptop", A));
  await there.effectOf(first.change);
  const second = await there.removePeer("laptop");
  assert.ok(second.change > first.change);
  await here.effectOf(second.change);
  assert.equal(here.resolveFingerprint(A), undefined);
  const entries = await here.audit();
  assert.deepEqual(
    entries.map(({ action }) => action),
    ["peer.add", "peer.remove"],
  );
});
