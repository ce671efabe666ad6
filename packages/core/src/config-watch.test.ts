import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { loadConfig } from "./config-file.ts";
import { ConfigInvalid } from "./config-problem.ts";
import { type ConfigState, watchConfig } from "./config-watch.ts";
import { FakeClock } from "./fake-clock.ts";
import type { Logger } from "./log.ts";

interface Rig extends AsyncDisposable {
  readonly path: string;
  readonly watch: ReturnType<typeof watchConfig>;
  /** What was put in place, in order. */
  readonly applied: Config[];
  readonly log: string[];
  /** The next state that is entered, or one of late that nobody has asked for. */
  nextState(): Promise<ConfigState>;
}

async function rig(text: string | undefined, clock?: Clock, inFolder = ""): Promise<Rig> {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-watch-"));
  const path = join(folder, inFolder, "alknet.toml");
  if (text !== undefined) fs.writeFileSync(path, text);
  const applied: Config[] = [];
  const log: string[] = [];
  const states: ConfigState[] = [];
  const waiting: ((state: ConfigState) => void)[] = [];
  const write = (fields: object, message: string) => {
    const { report = "" } = fields as { report?: string };
    log.push(`${message}${report === "" ? "" : `: ${report}`}`);
  };
  const logger: Logger = { debug() {}, info: write, warn: write, error: write };
  const watch = watchConfig(await loadConfig(path), {
    onchange(next) {
      if (next.name === "forbidden") throw new Error("not this one");
      applied.push(next);
      return { connections: 2, grants: 1 };
    },
    onstate(state) {
      const hear = waiting.shift();
      if (hear === undefined) states.push(state);
      else hear(state);
    },
    clock,
    logger,
  });
  return {
    path,
    watch,
    applied,
    log,
    nextState() {
      const state = states.shift();
      return state === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(state);
    },
    async [Symbol.asyncDispose]() {
      watch[Symbol.dispose]();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

const peer = (name: string, digit: string) =>
  `[peers.${name}]\nfingerprint = "ed25519:${digit.repeat(64)}"\n`;

test("reload() puts what stands in the file in place, and tells what that was", async () => {
  await using r = await rig(peer("a", "1"), new FakeClock());
  fs.writeFileSync(r.path, `listen = "[::]:1"\n${peer("a", "2")}${peer("b", "3")}`);
  const { changes, cut, restart } = await r.watch.reload();
  assert.deepEqual(changes.peers, { added: 1, removed: 0, changed: 1 });
  assert.deepEqual(cut, { connections: 2, grants: 1 });
  assert.deepEqual(restart, ["listen"]);
  assert.deepEqual(
    r.watch.config.peers.map(({ peerId }) => peerId),
    ["a", "b"],
  );
  assert.deepEqual(r.log, ["configuration reloaded", "listen needs a restart: alknet up"]);
  // Taken back, it needs none.
  fs.writeFileSync(r.path, `${peer("a", "2")}${peer("b", "3")}`);
  assert.deepEqual((await r.watch.reload()).restart, []);
  assert.equal(r.applied.length, 1);
  assert.deepEqual(r.watch.state, { kind: "current", since: r.watch.state.since, restart: [] });
});

test("what cannot be used changes nothing, and is told until it is mended", async () => {
  const clock = new FakeClock();
  await using r = await rig(peer("a", "1"), clock);
  const before = r.watch.config;
  clock.advance(5_000);
  fs.writeFileSync(r.path, "listn = 1");
  await assert.rejects(r.watch.reload(), { code: "CONFIG_INVALID", line: 1, column: 1 });
  const { state } = r.watch;
  assert.ok(state.kind === "refused" && state.error instanceof ConfigInvalid);
  assert.equal(state.since, clock.wallTime());
  assert.equal(r.watch.config, before);
  clock.advance(1_000);
  await assert.rejects(r.watch.reload(), { code: "CONFIG_INVALID" });
  // Once is enough, and it is refused since then.
  assert.equal(r.log.length, 1);
  assert.match(r.log[0]!, /^configuration refused: the one in use stays: .*\n  1 \| listn = 1\n/);
  assert.equal(r.watch.state.since, state.since);
  fs.writeFileSync(r.path, peer("a", "1"));
  await r.watch.reload();
  assert.equal(r.watch.state.kind, "current");
  assert.equal(r.applied.length, 0);
});

test("a change that cannot be put in place is refused as a whole", async () => {
  await using r = await rig(peer("a", "1"), new FakeClock());
  const before = r.watch.config;
  fs.writeFileSync(r.path, 'name = "forbidden"\n[log]\nlevel = "debug"');
  await assert.rejects(r.watch.reload(), { message: "not this one" });
  assert.equal(r.watch.config, before);
  assert.equal(r.watch.state.kind, "refused");
});

test("a file that is gone or empty takes nothing away; one with a comment does", async () => {
  await using r = await rig(peer("a", "1"), new FakeClock());
  fs.rmSync(r.path);
  await assert.rejects(r.watch.reload(), { code: "CONFIG_INVALID", message: /the file is gone/ });
  fs.writeFileSync(r.path, "\n");
  await assert.rejects(r.watch.reload(), { code: "CONFIG_INVALID", message: /the file is empty/ });
  assert.equal(r.applied.length, 0);
  fs.writeFileSync(r.path, "# nobody\n");
  assert.equal((await r.watch.reload()).changes.peers.removed, 1);
  assert.deepEqual(r.watch.config.peers, []);
});

test("watchConfig() sees a save in place, a replacement by rename, and a mistake", async () => {
  await using r = await rig(peer("a", "1"));
  fs.writeFileSync(r.path, `${peer("a", "1")}${peer("b", "2")}`);
  assert.equal((await r.nextState()).kind, "current");
  assert.equal(r.watch.config.peers.length, 2);
  for (const [text, kind] of [
    [peer("c", "3"), "current"],
    ["x = 1", "refused"],
    [peer("d", "4"), "current"],
  ] as const) {
    fs.writeFileSync(`${r.path}.new`, text);
    fs.renameSync(`${r.path}.new`, r.path);
    assert.equal((await r.nextState()).kind, kind);
  }
  assert.deepEqual(
    r.applied.map(({ peers }) => peers.length),
    [2, 1, 1],
  );
});

test("watchConfig() needs no events: a folder that comes later, and a link that is turned", async () => {
  const clock = new FakeClock();
  await using r = await rig(undefined, clock, "later");
  const folder = join(r.path, "..");
  const next = async () => {
    const state = r.nextState();
    clock.advance(2_000);
    clock.advance(1_000);
    return (await state).kind;
  };
  const first = `${folder}-1`;
  fs.mkdirSync(folder);
  fs.writeFileSync(first, peer("a", "1"));
  fs.symlinkSync(first, r.path);
  assert.equal(await next(), "current");
  assert.equal(r.watch.config.peers[0]?.peerId, "a");
  fs.writeFileSync(`${folder}-2`, peer("b", "2"));
  fs.rmSync(r.path);
  fs.symlinkSync(`${folder}-2`, r.path);
  assert.equal(await next(), "current");
  assert.equal(r.watch.config.peers[0]?.peerId, "b");
});

test("watchConfig() finds at its start what was changed since the file was read", async () => {
  const clock = new FakeClock();
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-watch-"));
  const path = join(folder, "alknet.toml");
  fs.writeFileSync(path, peer("a", "1"));
  const config = await loadConfig(path);
  fs.writeFileSync(path, peer("b", "2"));
  const applied = Promise.withResolvers<Config>();
  using _watch = watchConfig(config, {
    onchange(next) {
      applied.resolve(next);
      return { connections: 0, grants: 0 };
    },
    clock,
  });
  clock.advance(1_000);
  assert.equal((await applied.promise).peers[0]?.peerId, "b");
  fs.rmSync(folder, { recursive: true });
});
