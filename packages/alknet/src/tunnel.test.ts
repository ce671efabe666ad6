import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { readAll, tcpServer } from "@alknet/tunnel/testing";
import { type Program, run, start, startNode, testHome } from "./testing.ts";

/** A connection to where a program says it listens. */
function connectTo(address: string): Socket {
  const [host, port] = address.split(":");
  return connect({ host: host!, port: Number(port), allowHalfOpen: true, noDelay: true });
}

async function listenOf(program: Program, index = 0): Promise<string> {
  const ready = (await program.ready) as { forwards: { listen: string }[] };
  return ready.forwards[index]!.listen;
}

/** Lines of JSON. */
const logOf = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Echo, and count those who are there. */
const echo = () => tcpServer((socket) => socket.pipe(socket));

for (const transport of ["quic", "tcp"]) {
  test(`alknet forward carries flows over ${transport}, and tells why it carries one not`, async () => {
    using laptop = testHome();
    await using target = await echo();
    await using other = await echo();
    const dead = await freePort();
    await using node = await startNode(laptop, [
      `tunnel:dial:localhost:${target.to.port}`,
      `tunnel:dial:localhost:${dead}`,
    ]);
    const to = (port: number) => `0:localhost:${port}`;
    await using program = start(laptop, [
      "forward",
      node.ticket,
      to(target.to.port),
      to(other.to.port),
      to(dead),
      `--${transport}`,
      "--json",
    ]);
    const ready = await program.ready;
    assert.equal(ready["transport"], transport);
    const data = randomBytes(2_000_000);
    const socket = connectTo(await listenOf(program));
    socket.end(data);
    assert.deepEqual(await readAll(socket), data);
    for (const index of [1, 2]) {
      const refused = connectTo(await listenOf(program, index));
      await assert.rejects(readAll(refused), { code: "ECONNRESET" });
    }
    program.child.kill("SIGTERM");
    const { code, stdout, stderr } = await program.exited;
    assert.equal(code, 130);
    const places = (ready["forwards"] as { listen: string; target: string }[]).map(
      ({ listen, target: there }) => `${listen} -> ${there}`,
    );
    const scope = `tunnel:dial:localhost:${other.to.port}`;
    // The log names what its user typed, and where that leads.
    const lines = logOf(stderr);
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      [
        `${places.join(", ")} at ${node.address} over ${transport}`,
        `not forwarded: ${places[1]}: not allowed, this key lacks ${scope}`,
        `not forwarded: ${places[2]}: connection refused`,
        `closed: ${places.join(", ")}`,
      ],
    );
    assert.deepEqual([lines[1]?.["refusal"], lines[1]?.["scope"]], ["not-allowed", scope]);
    const events = logOf(stdout);
    assert.deepEqual(
      events.map(({ event, target: there, refusal, scope: lacks }) => [
        event,
        there,
        refusal,
        lacks,
      ]),
      [
        ["listening", undefined, undefined, undefined],
        ["refused", `localhost:${other.to.port}`, "not-allowed", scope],
        ["refused", `localhost:${dead}`, "refused", undefined],
        ["closed", undefined, undefined, undefined],
      ],
    );
    assert.equal(events[1]?.["listen"], await listenOf(program, 1));
    // Over there, where it is somebody else's affair, no target is in the log.
    for (const port of [target.to.port, other.to.port, dead]) {
      assert.doesNotMatch(node.program.stderr(), new RegExp(`\\b${port}\\b`));
    }
    assert.match(node.program.stderr(), /lacks tunnel:dial/);
  });
}

test("alknet forward takes a port alone for the same one here, and alknet socks its place without --listen", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const port = await freePort();
  await using forward = start(laptop, ["forward", node.ticket, `${port}`, "--json"]);
  assert.deepEqual((await forward.ready)["forwards"], [
    { listen: `127.0.0.1:${port}`, target: `localhost:${port}` },
  ]);
  for (const [place, expected] of [
    ["0", /^127\.0\.0\.1:[0-9]+$/],
    ["[::1]:0", /^\[::1\]:[0-9]+$/],
  ] as const) {
    await using proxy = start(laptop, ["socks", node.ticket, place, "--json"]);
    assert.match(String((await proxy.ready)["listen"]), expected);
  }
});

test("alknet forward tells a person which right is missing", async () => {
  using laptop = testHome();
  await using target = await echo();
  await using node = await startNode(laptop, ["tunnel:dial:localhost:1"]);
  const stop = new AbortController();
  const { port } = target.to;
  const local = await freePort();
  const spec = `${local}:localhost:${port}`;
  const listening = Promise.withResolvers<void>();
  const running = run(laptop, ["forward", node.ticket, spec, "--json"], {
    terminal: true,
    interrupted: stop.signal,
    ondata: () => listening.resolve(),
  });
  await listening.promise;
  await assert.rejects(readAll(connectTo(`127.0.0.1:${local}`)), { code: "ECONNRESET" });
  stop.abort();
  const { code, stderr } = await running;
  assert.equal(code, 130);
  // The owner of the node, who asks, is told the same.
  const lacks = `lacks tunnel:dial:localhost:${port}`;
  assert.match(
    (await run(node.home, ["status"])).stdout,
    new RegExp(`laptop  alknet/tunnel  ${lacks}\n`),
  );
  const { stdout } = await run(node.home, ["status", "--json"]);
  const { refused } = JSON.parse(stdout) as { refused: { scope: string }[] };
  assert.deepEqual(
    refused.map(({ scope }) => scope),
    [`tunnel:dial:localhost:${port}`],
  );
  assert.match(
    (await run(node.home, ["doctor"])).stdout,
    new RegExp(`refused: laptop for alknet/tunnel: ${lacks}, .*\n +fix: .*\\[peers\\.laptop\\]`),
  );
  assert.match(
    stderr,
    new RegExp(
      `127\\.0\\.0\\.1:${local} -> localhost:${port}: not allowed, this key lacks tunnel:dial:localhost:${port}\nhint: .*alknet peers grant NAME tunnel:dial:localhost:${port}`,
    ),
  );
});

test("alknet forward and socks warn of a port that is open to other machines, and of no other", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const warned = async (terminal: boolean, ...words: string[]): Promise<string[]> => {
    const stop = new AbortController();
    const { stderr } = await run(laptop, [words[0]!, node.ticket, ...words.slice(1), "--json"], {
      terminal,
      interrupted: stop.signal,
      ondata: () => stop.abort(),
    });
    return stderr.split("\n").filter((line) => line.includes("is open to other machines"));
  };
  for (const bind of ["0.0.0.0", "*"]) {
    assert.equal((await warned(true, "forward", `${bind}:0:localhost:80`)).length, 1);
    const [line] = await warned(false, "socks", "--listen", `${bind}:0`);
    assert.equal((JSON.parse(line!) as { level: string }).level, "warn");
  }
  for (const bind of ["127.0.0.1", "localhost", "[::1]"]) {
    assert.deepEqual(await warned(true, "forward", `${bind}:0:localhost:80`), []);
    assert.deepEqual(await warned(false, "socks", "--listen", `${bind}:0`), []);
  }
});

test("alknet forward that is not let in, or cannot listen, says so and ends", async () => {
  using stranger = testHome();
  await using node = await startNode(undefined);
  const refused = await run(stranger, ["forward", node.ticket, "0:localhost:80"]);
  assert.equal(refused.code, 3, refused.stderr);
  assert.match(refused.stderr, new RegExp(`peers add NAME ${stranger.fingerprint} `));

  using laptop = testHome();
  await using known = await startNode(laptop);
  await using taken = await echo();
  const specs = ["0:localhost:80", `${taken.to.port}:localhost:80`];
  const busy = await run(laptop, ["forward", known.ticket, ...specs]);
  assert.equal(busy.code, 1);
  assert.match(busy.stderr, /^alknet: cannot listen: EADDRINUSE.*\nhint: /);
});

test("alknet forward reconnects by itself when the node was restarted", async () => {
  using laptop = testHome();
  await using target = await echo();
  using home = testHome();
  home.config(
    `listen = ["127.0.0.1:${await freePort()}"]`,
    "[peers.laptop]",
    `fingerprint = "${laptop.fingerprint}"`,
    'scopes = ["tunnel:dial:localhost:*"]',
  );
  await using first = start(home, ["up", "--json"]);
  const { ticket } = await first.ready;
  const spec = `0:localhost:${target.to.port}`;
  await using program = start(laptop, ["forward", String(ticket), spec, "--json"]);
  const listen = await listenOf(program);
  const ask = async () => {
    const socket = connectTo(listen);
    socket.end("there?");
    return String(await readAll(socket));
  };
  assert.equal(await ask(), "there?");
  first.child.kill("SIGKILL");
  await first.exited;
  await using second = start(home, ["up", "--json"]);
  await second.ready;
  assert.equal(await ask(), "there?");
});

test("alknet socks connects by SOCKS 5 and answers what is refused", async () => {
  using laptop = testHome();
  await using target = await echo();
  await using node = await startNode(laptop, [`tunnel:dial:localhost:${target.to.port}`]);
  await using program = start(laptop, ["socks", node.ticket, "--listen", "0", "--json"]);
  const { listen } = await program.ready;
  const request = (port: number) => [
    ...[5, 1, 0, 5, 1, 0, 3, 9],
    ...Buffer.from("localhost"),
    ...[port >> 8, port & 0xff],
  ];
  const allowed = connectTo(String(listen));
  allowed.end(Buffer.from([...request(target.to.port), 0x68, 0x69]));
  const ok = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  assert.deepEqual([...(await readAll(allowed))], [...ok, 0x68, 0x69]);
  const refused = connectTo(String(listen));
  refused.end(Buffer.from(request(1)));
  assert.deepEqual([...(await readAll(refused))], [5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
  program.child.kill("SIGINT");
  const { code, stdout, stderr } = await program.exited;
  assert.equal(code, 130);
  const [, event] = logOf(stdout);
  assert.deepEqual(
    [event?.["target"], event?.["scope"]],
    ["localhost:1", "tunnel:dial:localhost:1"],
  );
  // What a client asks for is told to who asks for events, and is nothing for a log.
  assert.deepEqual(
    logOf(stderr).map(({ msg }) => msg),
    [
      `proxy on ${String(listen)} at ${node.address} over quic`,
      `not forwarded: ${String(listen)}: not-allowed, this key lacks a scope tunnel:dial (-v tells which)`,
      `closed: proxy on ${String(listen)}`,
    ],
  );
});

for (const [who, signals, becomes] of [
  ["node", 1, "finishes"],
  ["forward", 1, "finishes"],
  ["node", 2, "is ended by a second signal"],
  ["forward", 2, "is ended by a second signal"],
] as const) {
  test(`a transfer at SIGTERM of the ${who} ${becomes}`, async () => {
    using laptop = testHome();
    await using target = await echo();
    await using node = await startNode(laptop, ["tunnel:dial:localhost:*"]);
    const spec = `0:localhost:${target.to.port}`;
    await using forward = start(laptop, ["forward", node.ticket, spec, "--json"]);
    const socket = connectTo(await listenOf(forward));
    socket.write("begun, ");
    assert.equal(String((await once(socket, "data"))[0]), "begun, ");
    const program = who === "node" ? node.program : forward;
    program.child.kill("SIGTERM");
    if (who === "node") await drainingOf(node.program);
    else await refusedAt(await listenOf(forward));
    if (signals === 1) {
      socket.end("finished");
      assert.equal(String(await readAll(socket)), "finished");
      // What a node is told to do it has done; a forward was to go on for ever.
      assert.equal((await program.exited).code, who === "node" ? 0 : 130);
      return;
    }
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.resume().once("close", resolve));
    // Another one than the first: it is no echo of that.
    program.child.kill("SIGINT");
    assert.equal((await program.exited).code, 130);
    // A node that ends like this tells nobody: its peer finds out in time.
    if (who === "node") return;
    await closed;
    assert.equal((socket.errored as NodeJS.ErrnoException | null)?.code, "ECONNRESET");
  });
}

test("a transfer that does not end is cut when the drain time is over", async () => {
  using laptop = testHome();
  await using target = await echo();
  await using node = await startNode(laptop, ["tunnel:dial:localhost:*"]);
  const spec = `0:localhost:${target.to.port}`;
  await using forward = start(laptop, ["forward", node.ticket, spec, "--json"]);
  const socket = connectTo(await listenOf(forward));
  socket.write("x");
  await once(socket, "data");
  const begun = performance.now();
  node.program.child.kill("SIGTERM");
  await assert.rejects(readAll(socket), { code: "ECONNRESET" });
  assert.equal((await node.program.exited).code, 0);
  assert.ok(performance.now() - begun >= 1_900);
});

/** Until the node's log says that it drains. */
async function drainingOf(program: Program): Promise<void> {
  while (!program.stderr().includes("draining")) await once(program.child.stderr!, "data");
}

/** Until nobody listens there any more. */
async function refusedAt(address: string): Promise<void> {
  for (;;) {
    const socket = connectTo(address);
    const refused = await new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(true));
      socket.once("connect", () => resolve(false));
    });
    socket.destroy();
    if (refused) return;
  }
}
