/**
 * The main job, as the README's first page tells it: a PostgreSQL and a web server beside a node, and another
 * machine that has a ticket and a key with the right to two ports.
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openLink } from "../bench/link.ts";
import { carriedTo, createMachine, type Machine } from "./machine.ts";
import { createNamespace } from "./netns.ts";
import { type Postgres, startPostgres } from "./postgres.ts";
import type { Program } from "./program.ts";
import { startNode, twoMachines } from "./two-machines.ts";
import { PAGE, startWebServer, type WebServer } from "./web-server.ts";

const SQL = 5432;
const WEB = 8080;
/** Something listens there too, and nobody is allowed to reach it. */
const OTHER = 9000;
const SOCKS = 1080;

const stack = new AsyncDisposableStack();
let den: Machine;
let laptop: Machine;
let stranger: Machine;
let postgres: Postgres;
let web: WebServer;
let node: Program;
let ticket: string;
let key: string;

before(async () => {
  ({ den, laptop, key } = stack.use(await twoMachines()));
  postgres = stack.use(await startPostgres(den.namespace, SQL));
  web = stack.use(await startWebServer(den.namespace, { ports: [WEB, OTHER] }));

  stranger = stack.use(createMachine(laptop.namespace));
  den.configure(peersToml(key));
  ({ node, ticket } = await startNode(den));
});

after(async () => {
  await node?.stop();
  await stack.disposeAsync();
});

const peersToml = (fingerprint: string): string => `
name = "den"

[peers.laptop]
fingerprint = "${fingerprint}"
scopes = ["tunnel:dial:localhost:${SQL}", "tunnel:dial:localhost:${WEB}"]
`;

/** `alknet forward` to all three ports, under the same numbers. */
async function startForward(
  machine: Machine,
  to: string = ticket,
  ...flags: string[]
): Promise<Program> {
  const forwards = [SQL, WEB, OTHER].map((port) => `${port}:localhost:${port}`);
  const program = machine.start("forward", "--json", ...flags, to, ...forwards);
  // One document, once all of them listen.
  await program.waitFor(/^\{.*\}$/m);
  return program;
}

async function startSocks(machine: Machine, to: string = ticket): Promise<Program> {
  const program = machine.start("socks", "--json", to);
  await program.waitFor(/^\{.*\}$/m);
  return program;
}

/** What a statement answers, by psql through a forwarded port. */
async function sql(machine: Machine, statement: string): Promise<string> {
  const psql = machine.command("psql", "-h", "127.0.0.1", "-U", "postgres", "-tAXc", statement);
  const { status, stdout, stderr } = await psql.ended;
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

async function curl(machine: Machine, ...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await machine.command("curl", "-sS", ...words).ended;
  assert.equal(status, 0, stderr);
  return stdout;
}

const sha256 = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex");

const viaSocks = ["--socks5-hostname", `127.0.0.1:${SOCKS}`];

/** Everything the first page promises, from one machine. */
async function everythingWorks(machine: Machine, to: string = ticket): Promise<void> {
  await using _forward = await startForward(machine, to);
  await using _socks = await startSocks(machine, to);
  assert.equal(await sql(machine, "select 6 * 7"), "42");
  assert.equal(await curl(machine, `http://127.0.0.1:${WEB}/`), PAGE);
  assert.equal(await curl(machine, ...viaSocks, `http://localhost:${WEB}/`), PAGE);
}

interface Ping {
  transport: string;
}

async function ping(machine: Machine, to: string = ticket): Promise<Ping> {
  const { status, stdout, stderr } = await machine.run("ping", to, "--count", "1", "--json");
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Ping;
}

test("psql and curl reach PostgreSQL and the web server through alknet forward", async () => {
  await using _forward = await startForward(laptop);
  assert.equal(await sql(laptop, "select 6 * 7"), "42");
  // Three megabytes each way: the statement carries them there, and they come back.
  const text = randomBytes(1_500_000).toString("hex");
  const file = join(laptop.home, "statement.sql");
  writeFileSync(file, `select '${text}'`);
  const psql = output(laptop, "psql", ["-h", "127.0.0.1", "-U", "postgres", "-tAXf", file]);
  assert.equal(await psql.sum(), sha256(`${text}\n`));

  assert.equal(await curl(laptop, `http://localhost:${WEB}/`), PAGE);
  assert.equal(await download(laptop, `http://localhost:${WEB}/big`).sum(), sha256(web.big));
});

test("curl reaches the web server through alknet socks, by a name of the far side", async () => {
  await using _socks = await startSocks(laptop);
  // Here, nothing listens at that name.
  assert.equal(await curl(laptop, ...viaSocks, `http://localhost:${WEB}/`), PAGE);
  const big = download(laptop, ...viaSocks, `http://localhost:${WEB}/big`);
  assert.equal(await big.sum(), sha256(web.big));
});

test("a port that the key has no right to is refused, and everybody is told why", async () => {
  const forward = laptop.startOnTerminal("forward", ticket, `${OTHER}:localhost:${OTHER}`);
  await forward.waitFor(new RegExp(`127\\.0\\.0\\.1:${OTHER} -> localhost:${OTHER}`));
  await using _socks = await startSocks(laptop);
  const before = node.output.length;

  const forwarded = await laptop.command("curl", "-sS", `http://127.0.0.1:${OTHER}/`).ended;
  assert.match(forwarded.stderr, /reset by peer/);
  await forward.waitFor(new RegExp(`not allowed, this key lacks tunnel:dial:localhost:${OTHER}`));
  forward.interrupt();
  assert.equal((await forward.ended).status, 130);

  const words = ["-sS", ...viaSocks, `http://localhost:${OTHER}/`];
  const proxied = await laptop.command("curl", ...words).ended;
  // 97 is "proxy handshake error"; (2) is "connection not allowed by ruleset" (RFC 1928 §6).
  assert.match(proxied.stderr, /\(97\) .*SOCKS5.*\(2\)/);

  await node.waitFor(/"peer":"laptop","refusal":"not-allowed"/, { after: before });
  // Whom a peer wants to talk to is nothing that a log tells unless it is asked.
  assert.doesNotMatch(node.output.slice(before), new RegExp(`localhost|:${OTHER}\\b`));
  // And what is allowed is as it was.
  await using _forward = await startForward(laptop);
  assert.equal(await sql(laptop, "select 1"), "1");
});

test("a stranger's key gets nothing, and the owner of the node is told whose it was", async () => {
  const strangersKey = (await stranger.run("id")).stdout.trim();
  const before = postgres.connections().length;
  for (const words of [
    ["forward", ticket, `${SQL}:localhost:${SQL}`],
    ["socks", ticket],
    ["ping", ticket, "--quic"],
    ["ping", ticket, "--tcp"],
  ]) {
    const { status, stdout, stderr } = await stranger.run(...words);
    assert.equal(status, 3, stderr);
    assert.equal(stdout, "");
    // What changes that, over there.
    assert.ok(stderr.includes(`alknet peers add NAME ${strangersKey} --grant SCOPE`), stderr);
  }
  assert.equal(postgres.connections().length, before);
  await node.waitFor(new RegExp(`${strangersKey} refused for alknet/ping: not a peer`));
});

test("alknet ping tells the path, and with UDP blocked everything works over TCP", async () => {
  assert.equal((await ping(laptop)).transport, "quic");
  await den.namespace.blockUdp();
  try {
    assert.equal((await ping(laptop)).transport, "tcp");
    await everythingWorks(laptop);
  } finally {
    await den.namespace.unblockUdp();
  }
  assert.equal((await ping(laptop)).transport, "quic");
});

test("over a line with 100 ms and 1 % loss everything works", async () => {
  await using far = await createNamespace("far");
  await using link = await openLink(
    { namespace: den.namespace, addresses: ["10.80.0.1/24", "fd80::1/64"] },
    { namespace: far, addresses: ["10.80.0.2/24", "fd80::2/64"] },
    { delay: 50, lossPpm: 10_000, rate: 100_000_000 },
  );
  // The node listens there already, and a ticket of now says so. It names the other network too: for who is
  // far, some of the addresses lead nowhere.
  const now = (await den.run("ticket")).stdout.trim();
  assert.notEqual(now, ticket);
  using traveller = carriedTo(far, laptop);
  await everythingWorks(traveller, now);
  // Whichever came first in the race, either carries what loses packets all the time.
  for (const transport of ["quic", "tcp"]) {
    const forward = `${WEB}:localhost:${WEB}`;
    await using program = traveller.start("forward", "--json", `--${transport}`, now, forward);
    const [ready] = await program.waitFor(/^\{.*\}$/m);
    assert.equal((JSON.parse(ready) as Ping).transport, transport);
    const part = download(traveller, "-r", "0-262143", `http://127.0.0.1:${WEB}/big`);
    assert.equal(await part.sum(), sha256(web.big.subarray(0, 262_144)));
  }
  const { ab, ba } = await link.report();
  assert.ok(ab.lost + ba.lost > 0, "the line lost nothing: the test shows nothing");
});

test("a download over QUIC goes on when the client's addresses change in the middle of it", async () => {
  await using _forward = await startForward(laptop, ticket, "--quic");
  const move = async (from: number, to: number): Promise<void> => {
    await laptop.namespace.addAddress("eth0", `10.79.0.${to}/24`);
    await laptop.namespace.addAddress("eth0", `fd79::${to}/64`);
    await laptop.namespace.removeAddress("eth0", `10.79.0.${from}/24`);
    await laptop.namespace.removeAddress("eth0", `fd79::${from}/64`);
  };
  const { big } = web;
  const slow = download(laptop, `http://127.0.0.1:${WEB}/slow/big`);
  const sum = slow.sum();
  await slow.received(big.length / 8);
  await move(2, 3);
  await slow.received((big.length / 8) * 3);
  await move(3, 4);
  assert.ok(slow.soFar < big.length, "the download ended before the addresses changed");
  assert.equal(await sum, sha256(big));

  const { stdout } = await den.run("status", "--json");
  const { connections } = JSON.parse(stdout) as { connections: Record<string, string>[] };
  const moved = /^(\[fd79::4\]|10\.79\.0\.4):/;
  assert.ok(
    connections.some(({ remoteAddress = "" }) => moved.test(remoteAddress)),
    stdout,
  );
  await move(4, 2);
});

test("forwards that run reach a node again that was restarted, or killed", async () => {
  await using _forward = await startForward(laptop);
  await using _socks = await startSocks(laptop);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    assert.equal(await sql(laptop, "select 1"), "1");
    assert.equal(await curl(laptop, ...viaSocks, `http://localhost:${WEB}/`), PAGE);
    const ended = await node.stop(signal);
    assert.equal(ended.status, signal === "SIGTERM" ? 0 : undefined, ended.stderr);
    ({ node } = await startNode(den));
    assert.equal(await sql(laptop, "select 2"), "2");
    assert.equal(await curl(laptop, ...viaSocks, `http://localhost:${WEB}/`), PAGE);
  }
});

test("a key is let in by the command that its refusal tells, and cut off again, while the node runs", async () => {
  const { stderr } = await stranger.run("ping", ticket, "--count", "1");
  const [, fingerprint] = /alknet peers add NAME (\S+) --grant SCOPE/.exec(stderr) ?? [];
  assert.ok(fingerprint !== undefined, stderr);
  await den.run("peers", "add", "friend", fingerprint, "--grant", `tunnel:dial:localhost:${WEB}`);
  await using _forward = await startForward(stranger);
  assert.equal(await curl(stranger, `http://127.0.0.1:${WEB}/`), PAGE);
  const psql = stranger.command("psql", "-h", "127.0.0.1", "-U", "postgres", "-c", "select 1");
  assert.notEqual((await psql.ended).status, 0);

  const slow = stranger.command("curl", "-sS", `http://127.0.0.1:${WEB}/slow/big`);
  await slow.waitFor(/./s);
  const { stdout } = await den.run("peers", "revoke", "friend", "--all", "--json");
  assert.equal((JSON.parse(stdout) as { endedGrants: number }).endedGrants, 1);
  assert.notEqual((await slow.ended).status, 0);
});

/** What a command writes to stdout, summed up as it comes: more than one wants to keep. */
interface Output {
  /** Bytes that have come. */
  readonly soFar: number;
  /** Resolves when that many have come. */
  received(bytes: number): Promise<void>;
  /** SHA-256 of it all in hex, once the command has ended well. */
  sum(): Promise<string>;
}

function output(machine: Machine, command: string, words: readonly string[]): Output {
  const child = machine.spawn(command, words);
  const hash = createHash("sha256");
  let soFar = 0;
  let errors = "";
  child.stderr!.on("data", (text: Buffer) => (errors += String(text)));
  child.stdout!.on("data", (data: Buffer) => {
    soFar += data.length;
    hash.update(data);
    child.emit("progress");
  });
  const ended = once(child, "close");
  return {
    get soFar() {
      return soFar;
    },
    async received(bytes) {
      while (soFar < bytes)
        await Promise.race([once(child, "progress"), ended.then(() => failed())]);
    },
    async sum() {
      const [status] = (await ended) as [number | null];
      assert.equal(status, 0, errors);
      return hash.digest("hex");
    },
  };

  function failed(): never {
    throw new Error(`${command} ended after ${soFar} bytes: ${errors}`);
  }
}

const download = (machine: Machine, ...words: readonly string[]): Output =>
  output(machine, "curl", ["-sS", ...words]);
