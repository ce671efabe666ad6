/**
 * `ssh` and what runs it, as they are, on nodes as they are: `ssh den.alk`, by a peer's name alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { tcpServer } from "@alknet/tunnel/testing";
import { startSshServer } from "./ssh-server.ts";
import { pinned, startStockSsh } from "./stock-ssh.ts";

const ALL = ["ssh:exec", "ssh:shell"];

test("ssh reaches a peer by its name, with no key, no known host and no question", async () => {
  await using it = await startStockSsh(ALL);
  for (const [host, status] of [
    ["den.alk", 7],
    ["DEN.alk", 0],
    ["Den.ALK", 255],
  ] as const) {
    const ended = await it.ssh(host, `id -un; echo err >&2; exit ${status}`).ended;
    assert.deepEqual(
      [ended.status, ended.stdout, ended.stderr],
      [status, `${it.login}\n`, "err\n"],
    );
  }
  // Who is done says so, and keeps no connection open there.
  await it.node.logged(/"by":"peer","code":0,.*"msg":"connection closed"/);
  assert.equal(pinned(it).length, 1);
  assert.match(pinned(it)[0] ?? "", /^den\.alk,\[den\.alk\]:\* ssh-ed25519 AAAA/);
  const { stdout } = await it.node.alknet("status", "--json");
  const { ssh } = JSON.parse(stdout) as { ssh: { hostKey: string; sessions: unknown[] } };
  assert.deepEqual(ssh.sessions, []);
  const fingerprint = await it.run("ssh-keygen", "-l", "-f", it.at("ssh_known_hosts")).ended;
  assert.ok(fingerprint.stdout.includes(ssh.hostKey));
  // Nothing of it went to where the user's own files are.
  assert.deepEqual(readdirSync(it.at("../home")), []);
});

test("ssh that asks for no account gets the peer's own, and is told why it gets none", async () => {
  await using it = await startStockSsh(ALL);
  const ask = (...words: string[]) => it.run("ssh", ...it.config, ...words).ended;
  const own = await ask("den.alk", "id -un");
  assert.deepEqual([own.status, own.stdout, own.stderr], [0, `${it.login}\n`, ""]);
  const other = await ask("nobody@den.alk", "id -un");
  assert.equal(other.status, 255);
  const why = `not let in: peer "laptop" may log in as "${it.login}" here, not as "nobody"`;
  assert.ok(other.stderr.startsWith(`${why}: alknet peers set laptop --user`), other.stderr);
});

test("ssh goes over TCP alone as over QUIC alone, and to a node by another port of its own", async () => {
  await using it = await startStockSsh(ALL);
  for (const transport of ["--tcp", "--quic"]) {
    const { stdout } = await it.run(
      "sed",
      "-n",
      "s/ proxy -- '%h'$//;s/^ *ProxyCommand //p",
      it.at("ssh_config"),
    ).ended;
    const command = `${stdout.trim()} proxy ${transport} %h`;
    const ended = await it.ssh(
      "-o",
      `ProxyCommand=${command}`,
      "-p",
      "2222",
      "den.alk",
      "echo",
      transport,
    ).ended;
    assert.deepEqual([ended.stdout, ended.stderr, ended.status], [`${transport}\n`, "", 0]);
  }
});

test("several at once, of which each is the first, all find the key that it has written down", async () => {
  await using it = await startStockSsh(ALL);
  const programs = [1, 2, 3, 4].map((n) => it.ssh("den.alk", `echo ${n}`));
  const ended = await Promise.all(programs.map((program) => program.ended));
  assert.deepEqual(
    ended.map(({ stdout, stderr }) => [stdout, stderr]),
    [1, 2, 3, 4].map((n) => [`${n}\n`, ""]),
  );
  assert.equal(pinned(it).length, 1);
});

test("a peer that has another host key, and TLS has proved, is reached by that one", async () => {
  await using it = await startStockSsh(ALL);
  assert.equal((await it.ssh("den.alk", "true").ended).status, 0);
  const [before] = pinned(it);
  rmSync(join(it.node.folder, "ssh_host_ed25519_key"));
  await it.node.restart();
  const { status, stderr } = await it.ssh("den.alk", "true").ended;
  assert.deepEqual([status, stderr], [0, ""]);
  const after = pinned(it);
  assert.equal(after.length, 1);
  assert.notEqual(after[0], before);
});

test("ssh refuses a host key that is not the one that was written down", async () => {
  await using it = await startStockSsh(ALL);
  assert.equal((await it.ssh("den.alk", "true").ended).status, 0);
  writeFileSync(it.at("ssh_known_hosts"), pinned(it)[0]!.replace(/.{4}$/, "AAAA"));
  // Straight to the port, with nobody between who could write down another.
  const direct = [
    "-o",
    "ProxyCommand=none",
    "-o",
    "HostName=127.0.0.1",
    "-o",
    "HostKeyAlias=den.alk",
  ];
  const { status, stderr } = await it.ssh(
    ...direct,
    "-p",
    String(it.node.sshPort),
    "den.alk",
    "true",
  ).ended;
  assert.equal(status, 255);
  assert.match(stderr, /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/);
});

test("scp -O, rsync and git carry files both ways, to the last byte", async () => {
  await using it = await startStockSsh(ALL);
  const bytes = randomBytes(1_000_000);
  const folder = `alknet-stock-${randomBytes(6).toString("hex")}`;
  mkdirSync(it.at("here"));
  writeFileSync(it.at("here/file"), bytes);
  const ok = async (command: string, ...words: string[]): Promise<void> => {
    const { status, stderr } = await it.run(command, ...words).ended;
    assert.equal(status, 0, `${command}: ${stderr}`);
  };
  const ssh = ["ssh", ...it.config, "-l", it.login].join(" ");
  await ok("ssh", ...it.config, "-l", it.login, "den.alk", `mkdir ${folder}`);
  try {
    const remote = `${it.login}@den.alk:${folder}`;
    await ok("scp", "-O", "-q", ...it.config, it.at("here/file"), `${remote}/by-scp`);
    await ok("scp", "-O", "-q", ...it.config, `${remote}/by-scp`, it.at("back"));
    assert.deepEqual(readFileSync(it.at("back")), bytes);
    await ok("rsync", "-a", "-e", ssh, it.at("here/"), `${remote}/by-rsync/`);
    await ok("rsync", "-a", "-e", ssh, `${remote}/by-rsync/`, it.at("there/"));
    assert.deepEqual(readFileSync(it.at("there/file")), bytes);

    const git = (...words: string[]) =>
      ok(
        "git",
        "-c",
        `core.sshCommand=${ssh}`,
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        ...words,
      );
    await ok(
      ...(["ssh", ...it.config, "-l", it.login, "den.alk"] as const),
      `git init -q --bare ${folder}/repo`,
    );
    await git("clone", "-q", `den.alk:${folder}/repo`, it.at("repo"));
    writeFileSync(it.at("repo/file"), bytes);
    await git("-C", it.at("repo"), "add", "file");
    await git("-C", it.at("repo"), "commit", "-q", "-m", "one");
    await git("-C", it.at("repo"), "push", "-q", "origin", "HEAD:main");
    await git("clone", "-q", "-b", "main", `den.alk:${folder}/repo`, it.at("again"));
    assert.deepEqual(readFileSync(it.at("again/file")), bytes);
  } finally {
    await it.ssh("den.alk", `rm -rf ${folder}`).ended;
  }
});

test("one connection serves many sessions with ControlMaster, and ends when it is told to", async () => {
  await using it = await startStockSsh(ALL);
  const control = ["-S", it.at("control")];
  const master = it.ssh("-v", "-M", "-N", ...control, "den.alk");
  await master.waitFor(/setting up multiplex master socket|Entering interactive session/);
  await it.ssh(...control, "-O", "check", "den.alk").ended;
  const programs = [1, 2, 3].map((n) => it.ssh(...control, "den.alk", `echo ${n}; exit ${n}`));
  const ended = await Promise.all(programs.map((program) => program.ended));
  assert.deepEqual(
    ended.map(({ stdout, status }) => [stdout, status]),
    [1, 2, 3].map((n) => [`${n}\n`, n]),
  );
  const asked = await it.node.alknet("status", "--json");
  assert.equal((JSON.parse(asked.stdout) as { connectionCount: number }).connectionCount, 1);
  assert.equal((await it.ssh(...control, "-O", "exit", "den.alk").ended).status, 0);
  await master.ended;
});

test("ssh -J goes by way of a peer to a server behind it, and logs in there by its own key", async () => {
  await using it = await startStockSsh([...ALL, "tunnel:dial:127.0.0.1:*"]);
  const key = it.at("key");
  await it.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).ended;
  await using behind = await startSshServer([readFileSync(`${key}.pub`, "utf8").trim()]);
  writeFileSync(it.at("known"), `[127.0.0.1]:${behind.port} ${behind.hostKey}\n`);
  const options = [
    "-i",
    key,
    "-p",
    String(behind.port),
    "-o",
    `UserKnownHostsFile=${it.at("known")}`,
  ];
  const jump = ["-J", `${it.login}@den.alk`, "-o", "StrictHostKeyChecking=yes"];
  const words = [...it.config, ...jump, ...options, "127.0.0.1", "echo $SSH_CONNECTION"];
  const { stdout, stderr, status } = await it.run("ssh", ...words).ended;
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`^127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${behind.port}\n$`));
});

test("a session is in the status while it lasts, with its command for the owner", async () => {
  await using it = await startStockSsh(ALL);
  const program = it.ssh("den.alk", "echo begun; exec sleep 60");
  await program.waitFor(/begun/);
  const { stdout } = await it.node.alknet("status", "--json");
  const { sessions } = (JSON.parse(stdout) as { ssh: { sessions: Record<string, string>[] } }).ssh;
  const [{ since, remote, ...session } = {}] = sessions;
  assert.deepEqual(session, {
    ...{ peer: "laptop", user: it.login, kind: "exec" },
    command: "echo begun; exec sleep 60",
  });
  assert.match(`${since} ${remote}`, /^20\d\d-.*Z 127\.0\.0\.1:\d+$/);
  assert.match((await it.node.alknet("status")).stdout, /1 session; .*\n +laptop {2}exec as /);
});

test("ports are forwarded both ways as the rights say, but to the node's own sockets", async () => {
  await using target = await tcpServer((socket) => void socket.end("from the target\n"));
  await using it = await startStockSsh([
    ...ALL,
    "tunnel:dial:localhost:*",
    "tunnel:listen:localhost:*",
  ]);
  const through = async (to: string) => await it.ssh("-W", to, "den.alk").ended;
  const carried = await through(`127.0.0.1:${target.to.port}`);
  assert.equal(carried.stdout, "from the target\n");
  for (const own of [it.node.address, `127.0.0.1:${it.node.sshPort}`]) {
    const { status, stdout, stderr } = await through(own);
    assert.deepEqual([status, stdout], [255, ""]);
    assert.match(stderr, /administratively prohibited/);
  }
  const remote = it.ssh("-v", "-N", "-R", `0:127.0.0.1:${target.to.port}`, "den.alk");
  const [, port] = await remote.waitFor(/Allocated port (\d+) for remote forward/);
  const { stdout } = await it.run("curl", "-s", "--http0.9", `http://127.0.0.1:${port}/`).ended;
  assert.equal(stdout, "from the target\n");
});

test("ssh shows why a peer is not reached: no such name, not there, not allowed", async () => {
  await using it = await startStockSsh(ALL);
  const why = async (host: string) => {
    const { status, stderr } = await it.ssh(host, "true").ended;
    assert.equal(status, 255);
    return stderr;
  };
  assert.match(
    await why("dem.alk"),
    /^alknet: no peer is called "dem"\nhint: did you mean "Den\.alk"\?/,
  );
  const toml = readFileSync(it.at("alknet.toml"), "utf8");
  writeFileSync(
    it.at("alknet.toml"),
    toml.replace(/addresses = .*/, 'addresses = ["127.0.0.1:9"]'),
  );
  assert.match(await why("den.alk"), /^alknet: cannot reach/);
  writeFileSync(it.at("alknet.toml"), toml);
  rmSync(it.at("identity.key"));
  assert.match(
    await why("den.alk"),
    /alknet: the node refused: .*\nhint: .*alknet peers add NAME ed25519:/,
  );
});
