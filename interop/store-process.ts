/**
 * A process with a store of identities: `store-process.ts MODE DATABASE`, for the tests of `store-faults*.test.ts`.
 *
 * - `write FIRST`: adds peers, and has invitations redeemed, until it is killed; `ack NAME` after each.
 * - `follow`: opens for reading, and prints what it sees after each change, with the monotonic clock in nanoseconds.
 * - `keep`: opens for writing, has one peer, and answers each line on stdin with how many there are; ends at SIGTERM.
 * - `full`: adds peers until there is no room, then again whenever a line comes on stdin.
 * - `hold MILLISECONDS`: has the database locked for so long.
 *
 * @module
 */

import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { hashToken } from "@alknet/core/api-key";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { StoreError } from "@alknet/core/store-error";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";

const [mode = "", path = "", argument = "0"] = process.argv.slice(2);

switch (mode) {
  case "write":
    await write(Number(argument));
    break;
  case "follow":
    await follow();
    break;
  case "keep":
    await keep();
    break;
  case "full":
    await full();
    break;
  case "hold":
    hold(Number(argument));
    break;
  default:
    throw new Error(`no mode ${mode}`);
}

/** Past all buffers: what was printed was printed, however the process ends. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

function fingerprint(name: string): string {
  return `SHA256:${hashToken(name).slice("sha256:".length)}`;
}

async function write(first: number): Promise<void> {
  const store = await openSqliteStore({ path });
  for (let at = first; ; at++) {
    if (at % 2 === 0) await add(store, `peer-${at}`);
    else await join(store, at);
  }
}

async function add(store: IdentityStore, peerId: string): Promise<void> {
  const fingerprints = [fingerprint(peerId)];
  await store.putPeer({ peerId, fingerprints, scopes: ["ssh:shell"], enabled: true });
  say(`ack ${peerId}`);
}

async function join(store: IdentityStore, at: number): Promise<void> {
  const peerId = `join-${at}`;
  const now = Date.now();
  const secretHash = hashToken(`secret ${at}`);
  await store.addInvitation({
    id: at.toString(36).padStart(8, "0"),
    secretHash,
    peerId,
    scopes: ["git:read"],
    addsKey: false,
    createdAt: now,
    expiresAt: now + 60_000,
    createdBy: "owner",
    usedAt: undefined,
    usedBy: undefined,
  });
  const redeemed = await store.redeem(secretHash, { fingerprint: fingerprint(peerId) });
  if (redeemed.outcome !== "joined") throw new Error(`it was ${redeemed.outcome}`);
  say(`ack ${peerId}`);
}

async function follow(): Promise<void> {
  const store = await openSqliteStore({ path, readOnly: true });
  const tell = (): void => {
    const at = process.hrtime.bigint();
    const shown = store.peers.map(({ peerId, displayName }) => [peerId, displayName]);
    say(`saw ${at} ${JSON.stringify(Object.fromEntries(shown))}`);
  };
  store.subscribe(tell);
  store.onstate(() => say(`state ${JSON.stringify(store.state)}`));
  say("ready");
  // Nothing else keeps it alive, and that is right for a store.
  setInterval(() => {}, 60_000);
}

async function keep(): Promise<void> {
  const store = await openSqliteStore({ path });
  await add(store, "laptop");
  store.onstate(() => say(`state ${JSON.stringify(store.state)}`));
  process.on("SIGTERM", () => {
    say("stopped");
    process.exit();
  });
  say("ready");
  for await (const _ of createInterface({ input: process.stdin })) {
    say(`peers ${store.peers.length}`);
  }
}

async function full(): Promise<void> {
  const store = await openSqliteStore({ path });
  let at = 0;
  const fill = async (): Promise<void> => {
    for (;;) {
      try {
        await add(store, `peer-${at}`);
        at++;
      } catch (error) {
        const { code, message } = error as StoreError;
        const known = store.peers.length;
        await store.reload();
        say(`refused ${JSON.stringify({ code, message, at, known, after: store.peers.length })}`);
        return;
      }
    }
  };
  await fill();
  for await (const _ of createInterface({ input: process.stdin })) await fill();
}

function hold(milliseconds: number): void {
  const database = new DatabaseSync(path);
  database.exec("BEGIN IMMEDIATE");
  say("locked");
  setTimeout(() => {
    database.exec("COMMIT");
    database.close();
    say("unlocked");
  }, milliseconds);
}
