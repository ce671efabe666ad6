import assert from "node:assert/strict";
import { chmodSync, existsSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { parseTicket } from "@alknet/core/ticket";
import { tcpServer } from "@alknet/tunnel/testing";
import { loadOrCreateHostKey } from "./host-key.ts";
import { sshFiles } from "./ssh-files.ts";
import { run, start, startNode, testHome, type TestNode } from "./testing.ts";

const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

test("alknet --version and --help go to stdout, wrong usage to stderr with exit code 2", async () => {
  using home = testHome();
  assert.deepEqual(await run(home, ["--version"]), { code: 0, stdout: "1.2.3\n", stderr: "" });
  const help = await run(home, ["--help"]);
  assert.equal(help.code, 0);
  for (const name of ["up", "id", "ticket", "ping", "forward", "socks", "status", "doctor"]) {
    assert.match(help.stdout, new RegExp(`^  ${name} `, "m"));
  }
  for (const args of [
    [],
    ["pnig", "x"],
    ["ping"],
    ["ping", "x", "--count", "0"],
    ["id", "--no-such"],
    ["forward", "x", "80"],
    ["forward", "x", "80:a b:80"],
    ["socks", "x", "--listen", "a:b:c"],
    ["ping", "no such target"],
    ["ping", "nobody"],
    ["ping", "alknet1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
  ]) {
    const { code, stdout, stderr } = await run(home, args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, args.length === 0 ? /^Usage: alknet/ : /^alknet: [^]*\nhint: /);
  }
  assert.match((await run(home, ["pnig", "x"])).stderr, /Did you mean ping\?/);
});

test("alknet tells programs of wrong usage, too: one document with a stable code", async () => {
  using home = testHome();
  for (const [args, message, hint] of [
    [[], "unknown option '--json'", "alknet --help"],
    [["pnig"], "unknown command 'pnig'\n(Did you mean ping?)", "alknet --help"],
    [["ping"], "missing required argument 'target'", /^for example: alknet ping TICKET;.*--help$/],
    [["ping", "x", "--count", "0"], /^option '.*' argument '0' is invalid/, "alknet ping --help"],
    [["id", "--no-such"], "unknown option '--no-such'", "alknet id --help"],
    [
      ["ping", "x", "--tcp", "--quic"],
      "option '--tcp' cannot be used with option '--quic'",
      "alknet ping --help",
    ],
  ] as const) {
    const { code, stdout } = await run(home, [...args, "--json"]);
    assert.equal(code, 2);
    const { error } = json(stdout) as { error: { code: string; message: string; hint?: string } };
    assert.equal(error.code, "USAGE");
    const like = (text: string | undefined, wanted: string | RegExp | undefined) =>
      wanted instanceof RegExp ? assert.match(text!, wanted) : assert.equal(text, wanted);
    like(error.message, message);
    like(error.hint, hint);
  }
  const wrong = await run(home, ["forward", "x", "80:", "--json"]);
  assert.equal((json(wrong.stdout)["error"] as { code: string }).code, "FORWARD_INVALID");
  const twice = await run(home, ["socks", "x", "1080", "--listen", "1081", "--json"]);
  assert.deepEqual(
    [twice.code, (json(twice.stdout)["error"] as { code: string }).code],
    [2, "LISTEN_INVALID"],
  );
});

test("alknet ends what it says of a target that cannot be dialed with what to do", async () => {
  using home = testHome();
  const key = `ed25519:${"1".repeat(64)}`;
  home.config(
    ...["[peers.mute]", `fingerprint = "${key}"`],
    ...["[peers.off]", `fingerprint = "ed25519:${"2".repeat(64)}"`, "enabled = false"],
  );
  const ticket = (await run(home, ["ticket", "--address", "192.0.2.1"])).stdout.trim();
  const changed = `${ticket.slice(0, 30)}${ticket[30] === "a" ? "b" : "a"}${ticket.slice(31)}`;
  for (const [target, code, message, hint] of [
    [
      ticket.slice(0, 15),
      2,
      /ticket "alknet1.*: it is cut off$/m,
      /alknet ticket, on that machine/,
    ],
    [`${ticket.slice(0, 15)}…`, 2, /it is cut off$/m, /alknet ticket, on that machine/],
    [
      ticket.slice(0, -3),
      2,
      /it is cut off|checksum is wrong/,
      /copy all of it again: alknet ticket/,
    ],
    [changed, 2, /its checksum is wrong/, /copy all of it again: alknet ticket/],
    [
      "mute",
      2,
      /no address is known for it$/m,
      /alknet peers set mute --address HOST:7433; .*alknet\.toml, addresses = .* in \[peers\.mute\]/,
    ],
    ["off", 2, /this peer is disabled$/m, /\[peers\.off\]/],
    [
      "nobody",
      2,
      /no peer is called "nobody"$/m,
      /see who is known: alknet peers; or dial its ticket/,
    ],
    [`${key}@nowhere.invalid:1`, 4, /no address is known for "nowhere\.invalid"$/m, /getent hosts/],
    [`${key}@192.0.2.1:0`, 2, /port 0 cannot be dialed$/m, /alknet ticket/],
    ["a b", 2, /expected the name of a peer/, /alknet ticket/],
  ] as const) {
    const outcome = await run(home, ["ping", target]);
    assert.equal(outcome.code, code, target);
    assert.match(outcome.stderr, message);
    assert.match(outcome.stderr, /\nhint: /);
    assert.match(outcome.stderr.slice(outcome.stderr.indexOf("\nhint: ")), hint);
  }
});

test("alknet id prints the fingerprint, and to a person what to do with it", async () => {
  using home = testHome();
  const { code, stdout, stderr } = await run(home, ["id"]);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.equal(stdout, `${home.fingerprint}\n`);
  const { stdout: document } = await run(home, ["id", "--json"]);
  assert.deepEqual(json(document), { fingerprint: home.fingerprint, path: home.home.identity });
  const shown = await run(home, ["id"], { terminal: true });
  assert.match(shown.stderr, new RegExp(`alknet peers add NAME ${home.fingerprint} --grant`));
});

test("alknet refuses a key that others can read, with the command that mends it", async () => {
  using home = testHome();
  assert.ok(home.fingerprint);
  chmodSync(home.home.identity, 0o644);
  const { code, stderr } = await run(home, ["id"]);
  assert.equal(code, 1);
  assert.match(stderr, /^alknet: cannot use identity .*\nhint: .*chmod 600 /);
  const { stdout } = await run(home, ["id", "--json"]);
  assert.equal((json(stdout)["error"] as { code: string }).code, "IDENTITY_PERMISSIONS");
});

test("alknet tells where the configuration is wrong", async () => {
  using home = testHome();
  home.config('name = "den"', "lissten = []");
  const { code, stderr } = await run(home, ["up"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^alknet: .*alknet\.toml:2:1: unknown key "lissten".*\n  2 \| lissten = \[\]\n    \| \^\nhint: /,
  );
  assert.equal(existsSync(home.home.identity), false);
});

test("alknet ticket leads to this node, running or not", async () => {
  using home = testHome();
  home.config('name = "den"', 'listen = ["127.0.0.1:7000"]');
  const { stdout } = await run(home, ["ticket"]);
  const { fingerprint } = home;
  assert.deepEqual(parseTicket(stdout), {
    fingerprint,
    addresses: ["127.0.0.1:7000"],
    name: "den",
  });
  const args = ["ticket", "--address", "den.example", "--address", "[2001:db8::1]:443", "--json"];
  const document = json((await run(home, args)).stdout);
  assert.deepEqual(document["addresses"], ["den.example:7433", "[2001:db8::1]:443"]);
  assert.deepEqual(parseTicket(document["ticket"] as string).addresses, document["addresses"]);
  assert.equal((await run(home, ["ticket", "--address", "a b"])).code, 2);

  home.config('listen = ["127.0.0.1:0"]');
  await using program = start(home, ["up", "--json"]);
  const { ticket, addresses } = await program.ready;
  assert.equal((await run(home, ["ticket"])).stdout, `${String(ticket)}\n`);
  assert.deepEqual(parseTicket(String(ticket)), { fingerprint, addresses });
});

test("alknet status says what the node does, and so when there is none", async () => {
  using home = testHome();
  const none = await run(home, ["status"]);
  assert.equal(none.code, 1);
  assert.equal(
    none.stderr,
    "alknet: no node is running in this folder\nhint: start it with: alknet up\n",
  );
  using laptop = testHome();
  await using node = await startNode(laptop);
  const { stdout } = await run(node.home, ["status", "--json"]);
  const { uptime, limits, configuration, ...rest } = json(stdout);
  assert.ok(typeof uptime === "number");
  assert.equal((limits as { connections: number }).connections, 0);
  assert.equal((configuration as { state: string }).state, "current");
  assert.deepEqual(rest, {
    version: "0.0.0",
    pid: node.program.child.pid,
    fingerprint: node.home.fingerprint,
    addresses: [node.address],
    listen: [node.address],
    config: node.home.home.config,
    draining: false,
    flows: 0,
    listeners: 0,
    connectionCount: 0,
    connections: [],
    refused: [],
    peers: 1,
    store: { path: node.home.home.database, state: { kind: "ready" } },
    ssh: { sessions: [], hostKey: hostKeyOf(node), listen: [] },
    problems: [],
  });
  assert.match((await run(node.home, ["status"])).stdout, /^version .* up \d+ s\)\nfingerprint /);
});

const hostKeyOf = ({ home: { home } }: TestNode): string =>
  loadOrCreateHostKey(sshFiles(home).hostKey).fingerprint;

test("alknet up says that the node is running already, or who has the port", async () => {
  await using node = await startNode(undefined);
  node.home.config(`listen = ["${node.address}"]`);
  const twice = await run(node.home, ["up"]);
  assert.equal(twice.code, 1);
  assert.match(
    twice.stderr,
    /^alknet: a node of this folder is running already\nhint: .*alknet status/,
  );
  // On another port, the folder tells.
  node.home.config('listen = ["127.0.0.1:0"]');
  assert.match((await run(node.home, ["up"])).stderr, /running already/);
  using other = testHome();
  other.config(`listen = ["${node.address}"]`);
  const taken = await run(other, ["up"]);
  assert.equal(taken.code, 1);
  assert.match(
    taken.stderr,
    /^alknet: cannot listen on .*: the port is taken\nhint: .*alknet doctor/,
  );
});

test("alknet up shows a person what to do next, and logs in JSON elsewhere", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  for (const terminal of [true, false]) {
    const stop = new AbortController();
    const outcome = await run(home, ["up"], {
      terminal,
      interrupted: stop.signal,
      ondata: () => setImmediate(() => stop.abort()),
    });
    assert.equal(outcome.code, 0);
    assert.match(
      outcome.stdout,
      /^fingerprint  ed25519:[0-9a-f]{64}\naddress      127\.0\.0\.1:\d+\nticket       alknet1/,
    );
    if (terminal) {
      assert.match(
        outcome.stderr,
        /Nobody is let in yet[^]*alknet invite --name laptop[^]*alknet join/,
      );
    } else {
      const lines = outcome.stderr.trim().split("\n").map(json);
      assert.deepEqual(
        lines.map(({ msg }) => msg),
        ["ready", "draining; once more to end now", "stopped"],
      );
    }
  }
});

test("alknet ping answers over QUIC and over TCP, by ticket and by name", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  for (const flag of ["--quic", "--tcp"]) {
    const args = ["ping", node.ticket, flag, "--count", "1", "--json"];
    const { code, stdout } = await run(laptop, args);
    assert.equal(code, 0);
    const { connected, rtt, mtu, ...rest } = json(stdout);
    // What the path was found to take so far; TCP does not tell.
    assert.ok(flag === "--quic" ? Number(mtu) >= 1_200 : mtu === undefined);
    assert.deepEqual(rest, {
      target: node.ticket,
      transport: flag.slice(2),
      address: node.address,
      fingerprint: node.home.fingerprint,
      count: 1,
      received: 1,
    });
    const { min, avg, max, all } = rtt as { min: number; avg: number; max: number; all: number[] };
    assert.ok(typeof connected === "number" && min > 0 && min === avg && avg === max);
    assert.deepEqual(all, [min]);
  }
  laptop.config(
    "[peers.den]",
    `fingerprint = "${node.home.fingerprint}"`,
    `addresses = ["${node.address}"]`,
  );
  const { code, stdout, stderr } = await run(laptop, ["ping", "den", "--count", "2"]);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.match(
    stdout,
    /^den 127\.0\.0\.1:\d+ over quic, connected in [\d.]+ ms\n1  [\d.]+ ms\n2  [\d.]+ ms\n2 of 2 answered; min \/ avg \/ max /,
  );
});

test("alknet ping that is interrupted tells what it has, with exit code 130", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const stop = new AbortController();
  const { code, stdout, stderr } = await run(laptop, ["ping", node.ticket, "--count", "99"], {
    interrupted: stop.signal,
    ondata: (text) => text.startsWith("1 ") && stop.abort(new Error("interrupted")),
  });
  assert.equal(code, 130);
  assert.match(stdout, /\n1  [\d.]+ ms\n$/);
  assert.equal(stderr, "");
});

test("alknet ping explains why it gets no answer, each with its exit code", async () => {
  using stranger = testHome();
  await using node = await startNode(undefined);
  const refused = await run(stranger, ["ping", node.ticket, "--count", "1", "--json"]);
  assert.equal(refused.code, 3);
  assert.match(
    refused.stderr,
    new RegExp(
      `^alknet: the node refused: .*\nhint: .*alknet peers add NAME ${stranger.fingerprint} `,
    ),
  );
  assert.equal((json(refused.stdout)["error"] as { code: string }).code, "UNAVAILABLE");
  // The owner is told the same, with the command that lets the key in.
  assert.ok(
    node.program.stderr().includes(`alknet peers add NAME ${stranger.fingerprint} --grant SCOPE`),
  );
  const { stdout } = await run(node.home, ["status", "--json"]);
  const [refusal] = json(stdout)["refused"] as Record<string, unknown>[];
  assert.equal(refusal?.["who"], stranger.fingerprint);

  const wrong = `ed25519:${"0".repeat(64)}@${node.address}`;
  const mismatch = await run(stranger, ["ping", wrong, "--count", "1"]);
  assert.equal(mismatch.code, 4);
  assert.match(mismatch.stderr, new RegExp(`^alknet: wrong key .*${node.home.fingerprint}`));

  const unpinned = await run(stranger, ["ping", node.address, "--count", "1"]);
  assert.equal(unpinned.code, 4);
  assert.match(unpinned.stderr, new RegExp(`hint: .*${node.home.fingerprint}@`));

  const nobody = `${node.home.fingerprint}@127.0.0.1:${await freePort()}`;
  const dead = await run(stranger, ["ping", nobody, "--count", "1", "--tcp"]);
  assert.equal(dead.code, 4);
  assert.match(dead.stderr, /^alknet: .*\nhint: /);
});

test("alknet doctor finds nothing wrong, and what is", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const well = await run(laptop, ["doctor", node.ticket, "--json"]);
  const findings = json(well.stdout)["findings"] as Record<string, string>[];
  const way = findings.at(-1)!;
  assert.equal(way["state"], "ok", String(way["text"]));
  assert.match(String(way["text"]), /answers over QUIC in .* ms \(MTU \d+\), over TCP in .* ms/);

  await using taken = await tcpServer();
  const { port } = taken.to;
  using stranger = testHome();
  stranger.config(`listen = ["127.0.0.1:${port}"]`);
  const ill = await run(stranger, ["doctor", node.ticket]);
  assert.equal(ill.code, 1);
  assert.match(
    ill.stdout,
    new RegExp(`^BAD   port: 127\\.0\\.0\\.1:${port} .*EADDRINUSE\n      fix: `, "m"),
  );
  assert.match(ill.stdout, /^BAD   alknet1.*: the node refused[^]*fix: [^]*alknet peers add NAME/m);
  assert.match(ill.stderr, /^alknet: \d problems? found/);

  const running = await run(node.home, ["doctor", "--json"]);
  assert.match(running.stdout, /running, pid/);
  stranger.config("name = 1");
  assert.equal((await run(stranger, ["doctor"])).code, 1);
});

test("alknet doctor tells that UDP does not get through", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop);
  const [host, port] = node.address.split(":");
  // To a port that is only TCP's.
  await using proxy = await tcpServer((socket) => {
    const onward = connect({ host: host!, port: Number(port), allowHalfOpen: true });
    onward.on("error", () => socket.destroy());
    socket.once("close", () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  });
  const { code, stdout } = await run(laptop, [
    "doctor",
    `${node.home.fingerprint}@127.0.0.1:${proxy.to.port}`,
  ]);
  assert.match(
    stdout,
    /^warn  ed25519:.*: UDP does not get through.*\n      fix: let its UDP port/m,
  );
  assert.equal(code, stdout.includes("BAD") ? 1 : 0);
});

test("alknet doctor lists what each transport said of a node that is down, and does not send to itself", async () => {
  using laptop = testHome();
  const port = await freePort();
  const target = `ed25519:${"a".repeat(64)}@127.0.0.1:${port}`;
  const { stdout } = await run(laptop, ["doctor", target, "--json"]);
  const { text, fix, state } = (json(stdout)["findings"] as Record<string, string>[]).at(-1)!;
  assert.equal(state, "problem");
  assert.match(text!, /QUIC.*; .*TCP.*ECONNREFUSED/);
  assert.match(fix!, /alknet status/);
  assert.doesNotMatch(`${text} ${fix}`, /alknet doctor/);
});
