/**
 * Which user of the machine a peer's programs run as, with OpenSSH's `ssh`: on a node that is root, and real accounts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import type { Identity } from "@alknet/core/access";
import { OWN_ACCOUNT } from "@alknet/core/login-name";
import { nodeAccounts } from "@alknet/ssh/account";
import type { SshOptions } from "@alknet/ssh/ssh";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";
import { follow } from "./program.ts";
import { until } from "./ssh-forwarding.ts";
import { CANNOT_MAKE_ACCOUNTS, makeAccount, type SystemAccount } from "./system-account.ts";

const skip = CANNOT_MAKE_ACCOUNTS;
const ALL = ["ssh:exec", "ssh:shell"];

/** What a program sees of itself; each line begins with what it is. */
const WHO = [
  ...["echo ids: $(id -ru) $(id -u) $(id -rg) $(id -g)", "echo groups: $(id -rG)"],
  ...["echo folder: $PWD", "echo caps: $(grep CapInh /proc/self/status)"],
  ...["ls -l /proc/self/fd", "env | sed s/^/env:/"],
].join("; ");

test(
  "commands run as the user whom the peer is mapped to, in their groups, folder and environment",
  { skip },
  async () => {
    using account = makeAccount();
    await using it = await startMapped(account);
    // Terminals of others are open meanwhile.
    const other = it.run(["-tt"]);
    await other.waitFor(/\$ /);
    for (const options of [[], ["-tt"]]) {
      const { status, stdout } = await it.run(options, WHO).ended;
      assert.equal(status, 0, stdout);
      const seen = linesOf(stdout);
      const { uid, gid, groups, home, name } = account;
      assert.deepEqual(seen("ids"), [`${uid} ${uid} ${gid} ${gid}`]);
      assert.deepEqual(seen("groups"), [groups]);
      assert.deepEqual(seen("folder"), [home]);
      assert.deepEqual(seen("caps"), ["CapInh: 0000000000000000"]);
      const env = Object.fromEntries(seen("env").map((line) => line.split(/=(.*)/s).slice(0, 2)));
      const { PATH, SSH_CLIENT, SSH_CONNECTION, SSH_TTY, ALKNET_SESSION, TERM, ...rest } = env;
      for (const each of ["_", "SHLVL", "PWD", "OLDPWD"]) delete rest[each];
      assert.deepEqual(rest, {
        ...{ HOME: home, USER: name, LOGNAME: name, SHELL: "/bin/bash", MAIL: `/var/mail/${name}` },
        ALKNET_PEER: "laptop",
      });
      assert.match(PATH ?? "", /^\/usr\/local\/bin:/);
      assert.match(SSH_CLIENT ?? "", new RegExp(`^127\\.0\\.0\\.1 \\d+ ${it.port}$`));
      assert.match(
        SSH_CONNECTION ?? "",
        new RegExp(`^127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${it.port}$`),
      );
      assert.match(ALKNET_SESSION ?? "", /^[0-9a-f]{32}$/);
      const hasTerminal = options.length > 0;
      assert.equal(TERM === undefined, !hasTerminal);
      if (hasTerminal) assert.match(SSH_TTY ?? "", /^\/dev\/pts\/\d+$/);
      for (const [, descriptor, place = ""] of stdout.matchAll(/ (\d+) -> (\S+)/g)) {
        // 3 is the folder that is listed.
        if (Number(descriptor) > 3) assert.equal(place, "/dev/null");
        else if (hasTerminal && descriptor !== "3") assert.equal(place, SSH_TTY);
      }
    }
    other.write("exit\n");
    await other.ended;
  },
);

test(
  "variables of a client are its program's alone: nothing that root runs before it acts on them",
  { skip },
  async () => {
    using account = makeAccount();
    await using it = await startMapped(account, ALL, { acceptEnv: ["*"] });
    // Each program that is begun with these writes a file, as whom it runs.
    const trace = `SetEnv=LD_DEBUG=files LD_DEBUG_OUTPUT=${account.home}/trace`;
    const odd = "TEXT=\"a  $b 'c' `d`\" IFS=/ 1X=no ALKNET_SESSION=no";
    for (const options of [[], ["-tt"]]) {
      const said = 'echo "$TEXT" "$ALKNET_SESSION"; env | grep -c -e LATER -e 1X; kill $$';
      const { stdout } = await it.run([...options, "-o", `${trace} ${odd}`], said).ended;
      assert.match(stdout, /^a {2}\$b 'c' `d` [0-9a-f]{32}\r?\n0\r?\n$/);
    }
    const traces = readdirSync(account.home).filter((name) => name.startsWith("trace"));
    assert.ok(traces.length > 0);
    for (const name of traces) {
      assert.equal(statSync(`${account.home}/${name}`).uid, account.uid, name);
    }
  },
);

test("a shell is the user's login shell, and its terminal the user's own", { skip }, async () => {
  using account = makeAccount();
  await using it = await startMapped(account);
  const said = "echo $0 $(shopt -q login_shell && echo login) $(id -un)";
  for (const options of [["-T"], ["-tt"]]) {
    const program = it.run(options);
    program.write(`stty -echo 2>/dev/null; ${said}; exit 5\n`);
    assert.equal((await program.ended).status, 5);
    assert.match(program.stdout, new RegExp(`^-bash login ${account.name}\r?$`, "m"));
  }
  const device = it.run(["-tt"], "stat -c '%U %G %a' $(tty); test -w $(tty) && echo mine > $(tty)");
  assert.equal((await device.ended).stdout, `${account.name} tty 620\r\nmine\r\n`);
  // Job control wants a controlling terminal.
  const jobs = it.run(["-tt"]);
  jobs.write("bash -c 'echo started-$((1 + 1)); exec sleep 1000'\n");
  await jobs.waitFor(/started-2/);
  jobs.write("\x03");
  await jobs.waitFor(/\^C/);
  jobs.write("echo status-$?; exit 6\n");
  await jobs.waitFor(/status-130/);
  assert.equal((await jobs.ended).status, 6);
});

test(
  "a pattern of commands runs them as that user too; what cannot be run says so",
  { skip },
  async () => {
    using account = makeAccount();
    await using it = await startMapped(account, ["ssh:exec:id -u", "ssh:exec:missing"]);
    assert.equal((await it.run([], "id -u").ended).stdout, `${account.uid}\n`);
    const { status, stderr } = await it.run([], "missing").ended;
    assert.equal(status, 127);
    assert.match(stderr, /missing: not found/);
  },
);

test("the client's agent is at a socket that the user alone can reach", { skip }, async () => {
  using account = makeAccount();
  using other = makeAccount();
  await using it = await startMapped(account, ["ssh:exec", "ssh:agent"]);
  const path = it.at("agent");
  await using agent = follow(spawn("ssh-agent", ["-D", "-a", path]), "ssh-agent");
  await agent.waitFor(/SSH_AUTH_SOCK/);
  const env = { ...process.env, SSH_AUTH_SOCK: path };
  await follow(spawn("ssh-add", ["-q", it.at("user")], { env }), "ssh-add").ended;
  const program = it.run(
    ["-A", "-o", `IdentityAgent=${path}`],
    "ssh-add -l; echo at $SSH_AUTH_SOCK; read end",
  );
  const [, socket = ""] = await program.waitFor(/^at (\/.*)$/m);
  assert.match(program.stdout, /^256 SHA256:\S+ .*\(ED25519\)$/m);
  for (const [place, mode] of [
    [socket, 0o600],
    [dirname(socket), 0o700],
  ] as const) {
    const { uid, gid, mode: bits } = statSync(place);
    assert.deepEqual([uid, gid, bits & 0o777], [account.uid, account.gid, mode], place);
  }
  // What is around it is ours: the user may pass through, and change nothing.
  const outer = statSync(dirname(dirname(socket)));
  assert.deepEqual([outer.uid, outer.mode & 0o777], [0, 0o711]);
  const words = ["--reuid", other.name, "--regid", String(other.gid), "--clear-groups"];
  const theirs = spawn("setpriv", [...words, "ssh-add", "-l"], {
    env: { PATH: process.env["PATH"], SSH_AUTH_SOCK: socket },
  });
  const { status, stderr } = await follow(theirs, "ssh-add").ended;
  assert.equal(status, 2);
  assert.match(stderr, /Permission denied/);
  program.end();
  await program.ended;
  await until(() => !existsSync(dirname(dirname(socket))));
});

test("a folder that the user cannot enter is no reason not to begin", { skip }, async () => {
  using account = makeAccount();
  await using it = await startMapped(account);
  chmodSync(account.home, 0o000);
  const { status, stdout, stderr } = await it.run([], "pwd").ended;
  assert.deepEqual([status, stdout], [0, "/\n"]);
  assert.match(stderr, /cannot enter \/home\/.*: starting in \//);
});

test(
  "a login name that the peer is not mapped to is refused, and so is every one when the mapping goes",
  { skip },
  async () => {
    using account = makeAccount();
    await using it = await startMapped(account);
    for (const user of ["root", "daemon", "me", String(account.uid)]) {
      assert.equal((await it.run(["-o", `User=${user}`], "true").ended).status, 255);
      assert.match(
        it.refused.at(-1)?.reason ?? "",
        /^peer "laptop" may log in as "alknet-test-[^"]+" here, not as/,
      );
    }
    const running = it.run([], "echo $$; setsid sleep 1000 & sleep 1000");
    const [, pid = ""] = await running.waitFor(/^(\d+)$/m);
    const left = processesOf(account);
    assert.ok(left.includes(pid));
    it.allow(ALL, ["daemon"]);
    const { stderr } = await running.ended;
    assert.match(stderr, /no longer has user alknet-test-/);
    assert.deepEqual(processesOf(account), []);
    it.allow(ALL);
    assert.equal((await it.run([], "true").ended).status, 255);
    assert.match(
      it.refused.at(-1)?.reason ?? "",
      /runs as root: alknet peers set laptop --user NAME$/,
    );
  },
);

test("an account whose shell is closed says so, whatever was to be run", { skip }, async () => {
  using account = makeAccount("--shell", "/usr/sbin/nologin");
  await using it = await startMapped(account, [...ALL, "ssh:exec:id *"]);
  for (const words of [[], ["id -u"], ["true"]]) {
    const { status, stdout } = await it.run(["-T"], ...words).ended;
    assert.equal(status, 1);
    assert.match(stdout, /account is currently not available/);
  }
  it.allow(["ssh:exec:id *"], [account.name]);
  assert.match((await it.run([], "id -u").ended).stdout, /not available/);
});

test(
  "nodeAccounts() of root refuses root by any name, and accounts that are not there, have expired or have no shell",
  { skip },
  async () => {
    using toor = makeAccount(
      "--non-unique",
      "--uid",
      "0",
      "--home-dir",
      "/nonexistent",
      "--no-create-home",
    );
    using user = makeAccount();
    using twin = makeAccount("--non-unique", "--uid", String(user.uid), "--no-create-home");
    using expired = makeAccount("--expiredate", "2020-01-01");
    using shellless = makeAccount("--shell", "/nonexistent/shell");
    const refusals: readonly (readonly [string, RegExp])[] = [
      ["root", /"root" is root, whom no peer can be/],
      [toor.name, /is root, whom no peer can be/],
      ["0", /has no user "0"/],
      ["alknet-test-nobody", /has no user "alknet-test-nobody": useradd -m/],
      [twin.name, /are the same user \d+: alknet peers set laptop --user/],
      [expired.name, /has expired: chage -E -1/],
      [shellless.name, /the shell "\/nonexistent\/shell" of .* cannot be run/],
    ];
    for (const [name, message] of refusals) {
      await assert.rejects(async () => nodeAccounts(peerOf([name]), name), {
        code: "NO_ACCOUNT",
        message,
      });
    }
    // The first is who asks for none.
    for (const login of ["", OWN_ACCOUNT]) {
      const { name, runAs } = await nodeAccounts(peerOf([user.name, "daemon"]), login);
      assert.deepEqual([name, runAs], [user.name, { uid: user.uid, gid: user.gid }]);
    }
  },
);

function peerOf(users: readonly string[]): Identity {
  return { id: "laptop", scopes: ALL, resources: { user: users } };
}

/** A server with accounts of its own choice, whose peer has this one, and a client that asks for it. */
async function startMapped(
  account: SystemAccount,
  scopes: readonly string[] = ALL,
  options: Pick<SshOptions, "acceptEnv"> = {},
): Promise<OpenSsh> {
  const it = await startOpenSsh(scopes, {}, { accounts: nodeAccounts, ...options });
  it.allow(scopes, [account.name]);
  const run = it.run.bind(it);
  return Object.assign(it, {
    run: (options: readonly string[], ...command: string[]) =>
      run([...options, "-o", `User=${account.name}`], ...command),
  });
}

/** @returns what comes behind a name, of the lines that begin with it. */
function linesOf(stdout: string): (name: string) => string[] {
  const lines = stdout.split(/\r?\n/);
  return (name) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).trim());
}

function processesOf({ uid }: SystemAccount): string[] {
  return readdirSync("/proc").filter((name) => {
    try {
      const isTheirs = /^\d+$/.test(name) && statSync(`/proc/${name}`).uid === uid;
      // One that nobody has waited for has ended too.
      return isTheirs && !/^State:\s+Z/m.test(readFileSync(`/proc/${name}/status`, "utf8"));
    } catch {
      return false;
    }
  });
}
