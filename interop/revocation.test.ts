/**
 * A right that is taken away, by every way there is to do so, while everything runs: the node and whoever
 * changes it are processes of the real program, or of another one; the peers dial from here.
 */

import assert from "node:assert/strict";
import { renameSync, utimesSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { Target } from "@alknet/core/target";
import { FlowRefused } from "@alknet/tunnel/refused";
import { type Program, start, type TestHome, testHome } from "../packages/alknet/src/testing.ts";
import { TRANSPORTS, until } from "./attack.ts";
import { heldHandshake } from "./held-handshake.ts";
import {
  beginWork,
  type FlowTarget,
  goesOn,
  somebody,
  type Somebody,
  startFlowTarget,
  startStuckPorts,
  type Work,
} from "./revoked-work.ts";

/** A node with two peers, and where they may go. */
interface Place extends AsyncDisposable {
  readonly home: TestHome;
  readonly program: Program;
  readonly node: Target;
  readonly laptop: Somebody;
  readonly phone: Somebody;
  readonly narrow: FlowTarget;
  readonly wide: FlowTarget;
  /** Nobody answers there; the first is taken away with `narrow`. */
  readonly stuck: readonly [number, number];
  /** What alknet.toml has, with these entries. */
  toml(entries: string): string;
  /** Write it, in place. */
  configure(entries: string): void;
  /** Run a command in a process of its own. */
  alknet(...words: string[]): Promise<Record<string, unknown>>;
}

interface Scopes {
  /** Of both peers, at the beginning. */
  readonly all: readonly string[];
  /** Of the laptop, when what is narrow is gone. */
  readonly left: readonly string[];
}

async function place(): Promise<Place & Scopes> {
  await using made = new AsyncDisposableStack();
  const home = made.use(testHome());
  const [narrow, wide] = [made.use(await startFlowTarget()), made.use(await startFlowTarget())];
  const { ports } = made.use(await startStuckPorts(2));
  const [first, second] = [ports[0]!, ports[1]!];
  const [laptop, phone] = [made.use(somebody()), made.use(somebody())];
  const toml = (entries: string): string =>
    [
      'listen = ["127.0.0.1:0"]',
      "[limits]",
      // Who is refused and dials again is not what is asked here.
      'exempt = ["127.0.0.0/8"]',
      'drain = "5m"',
      "[tunnel]",
      "opening_per_peer = 1",
      // No end of theirs may be mistaken for ours.
      'deadline = "10m"',
      entries,
    ].join("\n");
  const configure = (entries: string): void => home.config(toml(entries));
  configure("");
  const program = made.use(start(home, ["up", "--json"]));
  const { fingerprint, addresses } = (await program.ready) as {
    fingerprint: string;
    addresses: string[];
  };
  const scope = (port: number): string => `tunnel:dial:127.0.0.1:${port}`;
  const left = [scope(wide.port), scope(second)];
  const owned = made.move();
  return {
    home,
    program,
    node: { address: addresses[0]!, fingerprint },
    laptop,
    phone,
    narrow,
    wide,
    stuck: [first, second],
    all: [scope(narrow.port), scope(first), ...left],
    left,
    toml,
    configure,
    async alknet(...words) {
      const { code, stdout, stderr } = await start(home, [...words, "--json"]).exited;
      assert.equal(code, 0, `alknet ${words.join(" ")}: ${stderr}`);
      return JSON.parse(stdout) as Record<string, unknown>;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Both peers, as rows of the store. */
async function addPeers(at: Place & Scopes): Promise<void> {
  const { laptop, phone, all } = at;
  for (const [name, { identity }] of Object.entries({ laptop, phone })) {
    await at.alknet("peers", "add", name, identity.fingerprint, "--grant", ...all);
  }
}

/** Both peers, as the configuration has them. @param scopes of the laptop; `undefined`: it is not there. */
function peersToml(at: Place & Scopes, scopes: readonly string[] | undefined): string {
  const entry = (name: string, who: Somebody, list: readonly string[]): string =>
    `[peers.${name}]\nfingerprint = "${who.identity.fingerprint}"\nscopes = ${JSON.stringify(list)}\n`;
  const phone = entry("phone", at.phone, at.all);
  return scopes === undefined ? phone : `${phone}${entry("laptop", at.laptop, scopes)}`;
}

/** The node says so itself: all commands return before it has followed a file. */
async function knows(at: Place, peers: number): Promise<void> {
  const state = async (): Promise<number> => (await at.alknet("status"))["peers"] as number;
  await until(async () => (await state()) === peers, state);
}

interface Rig {
  readonly work: Work;
  readonly bystander: Work;
}

async function begin(at: Place): Promise<Rig> {
  return { work: await beginWork(at.laptop, at), bystander: await beginWork(at.phone, at) };
}

/** Flows that the node is busy with, however far it has come with them. */
async function hasFlows(at: Place, flows: number): Promise<void> {
  const state = async (): Promise<number> => (await at.alknet("status"))["flows"] as number;
  await until(async () => (await state()) === flows, state);
}

/** Flows that a peer's work has. */
const FLOWS = 8;

/** Take what is narrow away, and see that this and nothing else ends. */
async function narrowed(
  at: Place & Scopes,
  { work, bystander }: Rig,
  act: () => Promise<void>,
): Promise<void> {
  // One is under way to a target that does not answer; the others wait for their turn behind it.
  const waiting = [];
  for (const port of at.stuck) {
    for (const transport of TRANSPORTS) {
      waiting.push(at.laptop.waiting(at.node, port, transport));
      await hasFlows(at, 2 * FLOWS + waiting.length);
    }
  }
  const [fallen, kept] = [waiting.slice(0, 2), waiting.slice(2)];
  let early: unknown;
  for (const { refused } of kept) void refused.then((error) => (early = error));
  const closes = revokedLines(at.program).length;

  await act();
  await Promise.all([...work.narrow, ...work.narrowBrim].map(({ over }) => over));
  // (The second of them asked for its right after that was gone.) What is left there: what others have, and here two that are wide, two brims of these, two that wait.
  await hasFlows(at, FLOWS + 6);
  for (const { transport, refused } of fallen) {
    const error = await refused;
    assert.ok(error instanceof FlowRefused, `${transport}: ${error}`);
    assert.equal(error.refusal, "not-allowed");
  }
  // What needed less goes on, on the very same connections,
  await goesOn(work);
  // and so does all that others have.
  await goesOn(bystander);
  await Promise.all(bystander.narrow.map((flow) => flow.moves()));
  assert.equal(early, undefined);
  assert.equal(revokedLines(at.program).length, closes);
}

/** Take the key away, and see that all of its owner's work ends, and nobody else's. */
async function cutOff(
  at: Place & Scopes,
  { work, bystander }: Rig,
  act: () => Promise<void>,
): Promise<void> {
  // One stands before a target that does not answer, the other waits for its turn.
  const waiting = [];
  const { flows } = await at.alknet("status");
  for (const transport of TRANSPORTS) {
    waiting.push(at.laptop.waiting(at.node, at.stuck[1], transport));
    await hasFlows(at, (flows as number) + waiting.length);
  }
  const before = revokedLines(at.program).length;
  await act();
  for (const { transport, connection } of work.lines) {
    const { by, name } = await connection.closed;
    // TCP has no word for why; the log has.
    assert.deepEqual([by, name], transport === "quic" ? ["peer", "REVOKED"] : ["transport", "CUT"]);
  }
  const all = [...work.narrow, ...work.wide, ...work.narrowBrim, ...work.wideBrim];
  await Promise.all(all.map(({ over }) => over));
  await hasFlows(at, FLOWS);
  for (const { refused } of waiting) assert.ok(!((await refused) instanceof FlowRefused));
  for (const transport of TRANSPORTS) {
    assert.equal(await at.laptop.refusedDial(at.node, transport), "UNAVAILABLE");
  }
  // Two of QUIC, one for ping and one for all flows; of TCP one each, those that had ended before left out.
  const quic = (): LogLine[] => revokedLines(at.program, "quic").slice(-2);
  const tcp = (): number => revokedLines(at.program).length - before - 2;
  await until(
    () => quic().length === 2 && tcp() >= 4,
    () => revokedLines(at.program),
  );
  assert.deepEqual(
    new Set(quic().map(({ alpn }) => alpn)),
    new Set(["alknet/ping", "alknet/tunnel"]),
  );
  assert.ok(revokedLines(at.program).every(({ peer }) => peer === "laptop"));
  await goesOn(bystander);
  await Promise.all(bystander.narrow.map((flow) => flow.moves()));
}

interface LogLine {
  readonly msg: string;
  readonly peer?: string;
  readonly alpn?: string;
  readonly transport?: string;
  readonly name?: string;
}

/** Connections that the node has closed as REVOKED, by its log. */
function revokedLines(program: Program, transport?: string): LogLine[] {
  return program
    .stderr()
    .split("\n")
    .filter((line) => line.includes('"REVOKED"'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter((line) => line.msg === "connection closed")
    .filter((line) => transport === undefined || line.transport === transport);
}

test("by the command line: alknet peers revoke, disable, rotate-key, remove", async () => {
  await using at = await place();
  await addPeers(at);
  const rig = await begin(at);
  const { bystander } = rig;
  await narrowed(at, rig, async () => {
    const taken = at.all.filter((scope) => !at.left.includes(scope));
    const told = await at.alknet("peers", "revoke", "laptop", ...taken);
    // Four flows that stood, and one on its way.
    assert.deepEqual([told["closedConnections"], told["endedGrants"]], [0, 5]);
  });
  let { work } = rig;
  const again = async (): Promise<void> => {
    await at.alknet("peers", "grant", "laptop", ...at.all);
    work = await beginWork(at.laptop, at);
  };
  const cut = async (...words: string[]): Promise<void> =>
    await cutOff(at, { work, bystander }, async () => {
      const told = await at.alknet("peers", ...words);
      assert.ok((told["closedConnections"] as number) >= 6, JSON.stringify(told));
    });
  await cut("disable", "laptop");
  await at.alknet("peers", "enable", "laptop");
  await again();
  await cut("rotate-key", "laptop", `ed25519:${"7".repeat(64)}`);
  await at.alknet("peers", "rotate-key", "laptop", at.laptop.identity.fingerprint);
  await again();
  await cut("remove", "laptop");
});

test("by an edit of alknet.toml that is saved in place", async () => {
  await using at = await place();
  at.configure(peersToml(at, at.all));
  await knows(at, 2);
  const rig = await begin(at);
  await narrowed(at, rig, async () => at.configure(peersToml(at, at.left)));
  await cutOff(at, rig, async () => at.configure(`${peersToml(at, at.left)}enabled = false`));
});

test("by an alknet.toml that another is renamed over", async () => {
  await using at = await place();
  at.configure(peersToml(at, at.all));
  await knows(at, 2);
  const rig = await begin(at);
  const replace = async (peers: string): Promise<void> => {
    const { home } = at;
    const beside = `${home.home.config}.new`;
    writeFileSync(beside, at.toml(peers));
    renameSync(beside, home.home.config);
  };
  await narrowed(at, rig, () => replace(peersToml(at, at.left)));
  await cutOff(at, rig, () => replace(peersToml(at, undefined)));
});

for (const [how, tells] of [
  ["the documented notification", true],
  ["no notification", false],
] as const) {
  test(`by SQL of another program, with ${how}`, async () => {
    await using at = await place();
    await addPeers(at);
    const rig = await begin(at);
    const path = at.home.home.database;
    using database = new DatabaseSync(path);
    database.exec("PRAGMA busy_timeout = 5000");
    const update = async (set: string, ...values: string[]): Promise<void> => {
      database.exec("BEGIN IMMEDIATE");
      database.prepare(`UPDATE peers SET ${set} WHERE peer_id = 'laptop'`).run(...values);
      if (tells) {
        const say = "INSERT INTO notifications (channel, payload) VALUES ('peers_changed', ?)";
        database.prepare(say).run('{"peers":["laptop"]}');
      }
      database.exec("COMMIT");
      const now = new Date();
      if (tells) utimesSync(`${path}.notify`, now, now);
    };
    await narrowed(at, rig, () => update("scopes = ?", JSON.stringify(at.left)));
    await cutOff(at, rig, () => update("enabled = 0"));
  });
}

test("by the clock: a right that was granted until a moment", async () => {
  await using at = await place();
  await addPeers(at);
  const rig = await begin(at);
  await narrowed(at, rig, async () => {
    const taken = at.all.filter((scope) => !at.left.includes(scope));
    const told = await at.alknet("peers", "grant", "laptop", ...taken, "--until", "2s");
    // Not the change has ended it, but the moment.
    assert.deepEqual([told["closedConnections"], told["endedGrants"]], [0, 0]);
  });
});

test("by a role that is changed in the configuration, of a peer of the store and of one beside it", async () => {
  await using at = await place();
  const roles = (scopes: readonly string[]): string =>
    `[roles]\nlaptops = ${JSON.stringify(scopes)}\nphones = ${JSON.stringify(at.all)}\n` +
    `[peers.phone]\nfingerprint = "${at.phone.identity.fingerprint}"\nscopes = "@phones"`;
  at.configure(roles(at.all));
  await knows(at, 1);
  await at.alknet("peers", "add", "laptop", at.laptop.identity.fingerprint, "--grant", "@laptops");
  const rig = await begin(at);
  await narrowed(at, rig, async () => at.configure(roles(at.left)));
});

test("while the node drains", async () => {
  await using at = await place();
  await addPeers(at);
  const { work, bystander } = await begin(at);
  const [line] = bystander.lines;
  at.program.child.kill("SIGTERM");
  // Answers to pings end with the drain; flows go on.
  await line!.connection.closed;
  await Promise.all([...work.wide, ...bystander.wide].map((flow) => flow.moves()));

  await at.alknet("peers", "revoke", "laptop", `tunnel:dial:127.0.0.1:${at.narrow.port}`);
  await Promise.all([...work.narrow, ...work.narrowBrim].map(({ over }) => over));
  await Promise.all([...work.wide, ...bystander.wide].map((flow) => flow.moves()));
  await at.alknet("peers", "disable", "laptop");
  await Promise.all([...work.wide, ...work.wideBrim].map(({ over }) => over));
  await Promise.all([...bystander.wide, ...bystander.narrow].map((flow) => flow.moves()));
  // There is nothing left to wait for: five minutes would be left.
  await at.alknet("peers", "remove", "phone");
  const { code } = await at.program.exited;
  assert.equal(code, 0);
});

for (const transport of TRANSPORTS) {
  test(`while the handshake is under way, over ${transport}`, async () => {
    await using at = await place();
    await addPeers(at);
    await using held = await heldHandshake(transport, at.node);
    const refused = at.laptop.refusedDial(held.node, transport);
    // The node has shown its key; the laptop's is on its way.
    await held.waiting;
    await at.alknet("peers", "disable", "laptop");
    held.release();
    assert.equal(await refused, "UNAVAILABLE");
    assert.deepEqual(revokedLines(at.program), []);
    assert.match(at.program.stderr(), /refused for alknet\/ping: not a peer/);
  });
}
