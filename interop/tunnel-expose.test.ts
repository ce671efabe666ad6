/**
 * `alknet expose`: an nginx and others beside a laptop, reached by stock clients beside a node. Two machines,
 * the real program on both, over QUIC and over TCP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Machine } from "./machine.ts";
import type { Program } from "./program.ts";
import { startNode, twoMachines } from "./two-machines.ts";
import { PAGE, startWebServer, type WebServer } from "./web-server.ts";

const WEB = 3000;
const COUNT = 3001;
const FAR = 8080;

/** For sockets: not in a folder of the node's own, where no peer listens. */
const folder = mkdtempSync(join(tmpdir(), "alknet-exposed-"));

const stack = new AsyncDisposableStack();
stack.defer(() => rmSync(folder, { recursive: true, force: true }));
let den: Machine;
let laptop: Machine;
let web: WebServer;
let node: Program;
let ticket: string;

/** Answers how many bytes came, once they have ended. */
const COUNTER = `require("node:net").createServer({ allowHalfOpen: true }, (socket) => {
  let count = 0;
  socket.on("data", (chunk) => (count += chunk.length)).on("end", () => socket.end(String(count)));
}).listen(${COUNT}, "127.0.0.1", () => console.log("up"))`;

before(async () => {
  const machines = stack.use(await twoMachines());
  ({ den, laptop } = machines);
  web = stack.use(
    await startWebServer(laptop.namespace, {
      ports: [WEB],
      bigSize: 8 * 2 ** 20,
      slowRate: 2 ** 20,
    }),
  );
  const counter = laptop.command(process.execPath, "-e", COUNTER);
  stack.defer(async () => void (await counter.stop()));
  await counter.waitFor(/up/);
  den.configure('name = "den"\n');
  const scopes = ["tunnel:listen:localhost:*", `tunnel:listen:unix:${folder}/*`];
  const added = await den.run("peers", "add", "laptop", machines.key, "--grant", ...scopes);
  assert.equal(added.status, 0, added.stderr);
  ({ node, ticket } = await startNode(den));
});

after(async () => {
  await node?.stop();
  await stack.disposeAsync();
});

async function peers(...words: string[]): Promise<void> {
  const { status, stderr } = await den.run("peers", ...words);
  assert.equal(status, 0, stderr);
}

/** `alknet expose`, once it has told that all of them listen. */
async function expose(transport: string, ...specs: string[]): Promise<Program> {
  const program = laptop.start("expose", "--json", `--${transport}`, ticket, ...specs);
  await program.waitFor(/^\{"event":"listening".*\}$/m);
  return program;
}

async function curl(...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await den.command("curl", "-sS", ...words).ended;
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Until nobody listens there. */
async function refused(port: number): Promise<void> {
  const REFUSED = 7;
  for (;;) {
    const { status } = await den.command("curl", "-sS", `http://127.0.0.1:${port}/`).ended;
    if (status === REFUSED) return;
    await turn();
  }
}

for (const transport of ["quic", "tcp"]) {
  test(`what is exposed is reached by curl, several ports and a socket at once (${transport})`, async () => {
    const socket = join(folder, `${transport}.sock`);
    await using program = await expose(
      transport,
      `${FAR}:localhost:${WEB}`,
      `[::1]:${FAR + 1}:127.0.0.1:${WEB}`,
      `${socket}:localhost:${WEB}`,
      `0:localhost:${WEB}`,
    );
    const { exposes } = JSON.parse(program.stdout.split("\n")[0]!) as {
      exposes: { listen: string; target: string }[];
    };
    assert.deepEqual(
      exposes.slice(0, 3).map(({ listen }) => listen),
      [`localhost:${FAR}`, `[::1]:${FAR + 1}`, socket],
    );
    const urls = [
      [`http://localhost:${FAR}/`],
      [`http://127.0.0.1:${FAR}/`],
      [`http://[::1]:${FAR + 1}/`],
      ["--unix-socket", socket, "http://den/"],
      [`http://${exposes[3]!.listen}/`],
    ];
    assert.deepEqual(
      await Promise.all(urls.map((words) => curl(...words))),
      urls.map(() => PAGE),
    );
    const sum = await den.command("sh", "-c", `curl -sS http://localhost:${FAR}/big | sha256sum`)
      .ended;
    const expected = createHash("sha256").update(web.big).digest("hex");
    assert.equal(sum.stdout, `${expected}  -\n`);
    assert.equal((await program.stop("SIGINT")).status, 130);
    await refused(FAR);
    assert.equal((await den.command("ls", socket).ended).status, 2);
  });

  test(`the end of one direction leaves the other as it is (${transport})`, async () => {
    await using _program = await expose(transport, `${FAR}:localhost:${COUNT}`);
    const told = await den.command("sh", "-c", `head -c 3000000 /dev/zero | nc -N 127.0.0.1 ${FAR}`)
      .ended;
    assert.equal(told.stdout, "3000000", told.stderr);
  });

  test(`a right that is revoked ends a transfer and the listener; granted again, it is back (${transport})`, async () => {
    await using program = await expose(transport, `${FAR}:localhost:${WEB}`);
    const slow = den.command(
      "curl",
      "-sS",
      "-v",
      "-o",
      "/dev/null",
      `http://localhost:${FAR}/slow/big`,
    );
    await slow.waitFor(/HTTP\/1.1 200/);
    await peers("revoke", "laptop", "tunnel:listen:localhost:*");
    const { status, stderr } = await slow.ended;
    assert.notEqual(status, 0, stderr);
    await refused(FAR);
    await program.waitFor(/"event":"lost"/);
    await peers("grant", "laptop", "tunnel:listen:localhost:*");
    await program.waitFor(/"event":"back"/);
    assert.equal(await curl(`http://localhost:${FAR}/`), PAGE);
  });

  test(`a node that was restarted listens again (${transport})`, async () => {
    await using program = await expose(transport, `${FAR}:localhost:${WEB}`);
    await node.stop();
    await program.waitFor(/"event":"lost"/);
    ({ node, ticket } = await startNode(den));
    await program.waitFor(/"event":"back"/);
    assert.equal(await curl(`http://localhost:${FAR}/`), PAGE);
  });

  test(`nothing listens any more when who exposed was killed (${transport})`, async () => {
    await using program = await expose(transport, `${FAR}:localhost:${WEB}`);
    assert.equal(await curl(`http://localhost:${FAR}/`), PAGE);
    await program.stop("SIGKILL");
    await refused(FAR);
  });
}

test("who was killed and is back does not find its own old listener in the way (quic)", async () => {
  await using killed = await expose("quic", `${FAR}:localhost:${WEB}`);
  assert.equal(await curl(`http://localhost:${FAR}/`), PAGE);
  await killed.stop("SIGKILL");
  await using _program = await expose("quic", `${FAR}:localhost:${WEB}`);
  assert.equal(await curl(`http://localhost:${FAR}/`), PAGE);
  const second = await laptop.run("expose", "--quic", ticket, `${FAR}:localhost:${WEB}`);
  assert.match(second.stderr, /something is there already/);
});

test("what cannot be exposed is told with what to do about it", async () => {
  const port = 8090;
  const listener = den.command("nc", "-lk", "127.0.0.1", String(port));
  await using _stop = { [Symbol.asyncDispose]: async () => void (await listener.stop()) };
  while ((await den.command("nc", "-z", "127.0.0.1", String(port)).ended).status !== 0)
    await turn();
  const taken = await laptop.run("expose", ticket, `127.0.0.1:${port}:localhost:${WEB}`);
  assert.equal(taken.status, 1);
  assert.match(
    taken.stderr,
    /cannot expose at 127\.0\.0\.1:8090: something is there already.*\nhint: choose another port/,
  );

  await peers("revoke", "laptop", "tunnel:listen:localhost:*");
  const denied = await laptop.run("expose", ticket, `${FAR}:localhost:${WEB}`);
  await peers("grant", "laptop", "tunnel:listen:localhost:*");
  assert.equal(denied.status, 3);
  assert.match(
    denied.stderr,
    /lacks tunnel:listen:localhost:8080\nhint: .*alknet peers grant NAME tunnel:listen:localhost:8080/,
  );
  const wrong = await laptop.run("expose", ticket, "8080");
  assert.equal(wrong.status, 2);
  assert.match(
    wrong.stderr,
    /expected \[bind:\]port:host:hostport.*\nhint: for example 8080:localhost:3000/,
  );
});
