/**
 * The database of a running node is lost: the real program answers, keeps its peers, says so, and makes no other.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { run, start, testHome } from "../packages/alknet/src/testing.ts";

const KEY = `ed25519:${"a".repeat(64)}`;
const OTHER = `ed25519:${"b".repeat(64)}`;

interface Status {
  readonly peers: number;
  readonly store: { readonly state: { readonly kind: string; readonly reason?: string } };
}

test("a node whose database is lost goes on, whatever is asked, until the file is back", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  await using node = start(home, ["up", "--json"]);
  await node.ready;
  assert.equal((await run(home, ["peers", "add", "laptop", KEY])).code, 0);
  const { database } = home.home;
  const backup = `${database}.backup`;
  const status = async (): Promise<Status> =>
    JSON.parse((await run(home, ["status", "--json"])).stdout) as Status;
  const becomes = async (kind: string): Promise<Status> => {
    for (;;) {
      const now = await status();
      if (now.store.state.kind === kind) return now;
      await sleep(20);
    }
  };
  for (const ends of [[""], ["", "-wal", "-shm"]]) {
    fs.copyFileSync(database, backup);
    if (fs.existsSync(`${database}-wal`)) fs.copyFileSync(`${database}-wal`, `${backup}-wal`);
    for (const end of ends) fs.rmSync(database + end, { force: true });
    assert.match(
      (await becomes("stale")).store.state.reason ?? "",
      /was deleted: put the file back/,
    );

    for (const words of [["peers"], ["log", "-n", "1"], ["token", "list"], ["invite", "list"]]) {
      const { code, stderr } = await run(home, words);
      assert.equal(code, 0, `${words.join(" ")}: ${stderr}`);
      assert.match(stderr, /note: the running node cannot read its store/, words.join(" "));
    }
    for (const words of [
      ["peers", "add", "desk", OTHER],
      ["peers", "remove", "laptop"],
      ["peers", "revoke", "laptop", "ssh:shell"],
      ["call", ".", "/node/peers/remove", "--name", "laptop"],
      ["token", "create", "--grant", "ssh:shell"],
      ["invite", "--address", "127.0.0.1:1"],
      ["up"],
    ]) {
      const { code, stderr } = await run(home, words);
      assert.equal(code, 1, words.join(" "));
      assert.match(stderr, /has lost its store|its database is gone/, words.join(" "));
    }
    const { stdout } = await run(home, ["doctor"]);
    assert.match(stdout, /BAD +node: it cannot read its store.*was deleted/);
    assert.match(stdout, /BAD +store: .* is gone, and there was one/);
    assert.equal(fs.existsSync(database), false);
    assert.equal((await status()).peers, 1);

    // Also what another program puts there does not cut anybody off.
    fs.writeFileSync(`${database}.empty`, "");
    fs.renameSync(`${database}.empty`, database);
    while (!/is empty now/.test((await status()).store.state.reason ?? "")) await sleep(20);
    assert.equal((await status()).peers, 1);

    for (const end of ["-wal", "-shm"]) fs.rmSync(database + end, { force: true });
    if (fs.existsSync(`${backup}-wal`)) fs.renameSync(`${backup}-wal`, `${database}-wal`);
    fs.renameSync(backup, database);
    assert.equal((await becomes("ready")).peers, 1);
  }
  assert.equal((await run(home, ["peers", "add", "desk", OTHER])).code, 0);
  assert.equal((await status()).peers, 2);
  node.child.kill("SIGTERM");
  assert.equal((await node.exited).code, 0);
});

test("commands that read or change make no database; one that is empty is a problem", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  for (const words of [
    ["peers"],
    ["peers", "remove", "laptop"],
    ["log"],
    ["token", "list"],
    ["token", "revoke", "alk_abcd"],
    ["invite", "list"],
    ["invite", "revoke", "abcd"],
    ["doctor"],
  ]) {
    await run(home, words);
    assert.equal(fs.existsSync(home.home.database), false, words.join(" "));
  }
  fs.writeFileSync(home.home.database, "");
  const { stdout } = await run(home, ["doctor"]);
  assert.match(stdout, /BAD +store: .*it is empty\n +fix: .*alknet up/);
});

test("doctor says that a node runs and does not answer", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  await using node = start(home, ["up", "--json"]);
  await node.ready;
  node.child.kill("SIGSTOP");
  const { stdout } = await run(home, ["doctor"]);
  const { pid } = node.child;
  assert.match(stdout, new RegExp(`BAD +node: the node, pid ${pid}, runs and does not answer`));
  assert.match(stdout, new RegExp(`fix: .*kill -KILL ${pid}`));
});
