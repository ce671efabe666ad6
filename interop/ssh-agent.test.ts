/**
 * Real OpenSSH and git with the vault's agent as their SSH agent: `SSH_AUTH_SOCK` is all that they are told.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { IDENTITY_PATH, SSH_HOST_PATH, sshKeyPath } from "@alknet/vault/derivation-path";
import {
  opensshPrivateKeyFile,
  sshPublicKeyBlob,
  sshPublicKeyLine,
} from "@alknet/vault/openssh-key";
import { createVault } from "@alknet/vault/vault";
import { createVaultFile } from "@alknet/vault/vault-file";
import { sshString } from "@alknet/vault/wire/ssh-data";
import { start, testHome } from "../packages/alknet/src/testing.ts";
import { vaultClient } from "../packages/alknet/src/vault-agent-client.ts";
import type { VaultAgentOperations } from "../packages/alknet/src/vault-agent-operations.ts";
import { type SshServer, startSshServer } from "./ssh-server.ts";

const SEED = randomBytes(64);
const USER = userInfo().username;
const NAMES = ["default", "work", "wary"] as const;
type Name = (typeof NAMES)[number];

const vault = createVault();
vault.unlockSeed(SEED);

const opened = new AsyncDisposableStack();
let folder: string;
let socket: string;
let agent: VaultAgentOperations;
let unlockKey: Uint8Array;
let near: SshServer;
let far: SshServer;
let other: SshServer;

const at = (name: string): string => join(folder, name);
const publicLine = (name: Name): string =>
  sshPublicKeyLine(vault.publicKey(sshKeyPath(name)), name);

before(async () => {
  const home = opened.use(testHome());
  folder = join(home.folder, "work");
  mkdirSync(folder);
  {
    const secrets = { entropy: new Uint8Array(32), seed: SEED, passphraseUsed: false };
    const names = NAMES.map((name) => ({ kind: "ssh", name, confirm: name === "wary" }) as const);
    using file = await createVaultFile(home.home.vault, { ...secrets, names }, Buffer.from("pw"));
    unlockKey = await file.addUnlockKey("boot");
  }
  // What asks a person: it notes the question, and gives the answer that the test has put there.
  const script = `#!/bin/sh\necho "$SSH_ASKPASS_PROMPT: $1" >> ${at("asked")}\ncat ${at("answer")}\n`;
  writeFileSync(at("askpass"), `${script}exit "$(cat ${at("status")})"\n`);
  chmodSync(at("askpass"), 0o755);
  process.env["SSH_ASKPASS"] = at("askpass");
  const program = opened.use(start(home, ["vault", "agent", "--json"]));
  const ready = await program.ready;
  socket = String(ready["sshAgentSocket"]);
  agent = vaultClient(home.home);
  for (const name of NAMES) writeFileSync(at(`${name}.pub`), `${publicLine(name)}\n`);
  const lines = [publicLine("work"), publicLine("wary")];
  [near, far, other] = (await Promise.all([1, 2, 3].map(() => startSshServer(lines)))) as [
    SshServer,
    SshServer,
    SshServer,
  ];
  for (const server of [near, far, other]) opened.use(server);
  const known = { near, far, other };
  const hosts = Object.entries(known).map(([name, { hostKey }]) => `${name} ${hostKey}\n`);
  writeFileSync(at("known_hosts"), hosts.join(""));
});

after(() => opened.disposeAsync());

beforeEach(async () => {
  await agent.lock();
  await agent.unlock({ unlockKey });
});

interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly input?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Run a program that has the agent, and nothing else of ours. */
function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Done> {
  const { input = "", env = {} } = options;
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      {
        cwd: folder,
        timeout: 60_000,
        env: {
          PATH: process.env["PATH"],
          HOME: folder,
          SSH_AUTH_SOCK: socket,
          GIT_CONFIG_GLOBAL: "/dev/null",
          GIT_CONFIG_NOSYSTEM: "1",
          LC_ALL: "C",
          ...env,
        },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
    // Who reads nothing may have ended before.
    child.stdin?.on("error", () => {}).end(input);
  });
}

async function succeed(
  command: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Done> {
  const done = await run(command, args, options);
  assert.equal(done.code, 0, `${command} ${args.join(" ")}:\n${done.stdout}${done.stderr}`);
  return done;
}

const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];

function sshArgs(host: string, { port }: SshServer, key: Name): string[] {
  return [
    ...["-F", "none", "-p", String(port)],
    ...set("HostKeyAlias", host),
    ...set("UserKnownHostsFile", at("known_hosts")),
    ...set("GlobalKnownHostsFile", "none"),
    ...set("StrictHostKeyChecking", "yes"),
    ...set("BatchMode", "yes"),
    ...set("IdentitiesOnly", "yes"),
    ...set("IdentityFile", at(`${key}.pub`)),
    ...set("PreferredAuthentications", "publickey"),
  ];
}

/** Words of a command for a shell on the other side. */
const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");

async function login(host: string, server: SshServer, key: Name): Promise<boolean> {
  const { code } = await run("ssh", [...sshArgs(host, server, key), `${USER}@127.0.0.1`, "true"]);
  return code === 0;
}

/** From `near`, over a forwarded agent, to another host. */
function loginThrough(host: string, server: SshServer, key: Name): Promise<Done> {
  const there = ["ssh", ...sshArgs(host, server, key), `${USER}@127.0.0.1`, "echo arrived"];
  return run("ssh", [...sshArgs("near", near, key), "-A", `${USER}@127.0.0.1`, quoted(there)]);
}

/** A raw request, and the number of the answer. */
async function ask(message: Uint8Array): Promise<number> {
  const stream = connect(socket);
  stream.write(sshString(message));
  const [answer] = (await once(stream, "data")) as [Buffer];
  stream.destroy();
  return answer[4]!;
}

test("ssh-add -l and -L show the named keys by their names, and no key of the node", async () => {
  const { stdout: listed } = await succeed("ssh-add", ["-L"]);
  assert.deepEqual(listed.trim().split("\n"), NAMES.map(publicLine));
  const { stdout: fingerprints } = await succeed("ssh-add", ["-l"]);
  for (const name of NAMES) {
    const { stdout } = await succeed("ssh-keygen", ["-l", "-f", at(`${name}.pub`)]);
    assert.ok(fingerprints.includes(stdout.trim()), fingerprints);
  }
  for (const path of [IDENTITY_PATH, SSH_HOST_PATH]) {
    const blob = Buffer.from(sshPublicKeyBlob(vault.publicKey(path))).toString("base64");
    assert.ok(!listed.includes(blob));
  }
});

test("ssh logs in with a key of the agent, and not where that key has no right", async () => {
  assert.equal(await login("near", near, "work"), true);
  assert.equal(await login("near", near, "default"), false);
  await near.program.waitFor(/Accepted publickey for \S+ from .*ED25519/);
});

test("neither the node's keys nor TLS's signatures are to be had", async () => {
  const tls = Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from("TLS 1.3, client CertificateVerify\0"),
    randomBytes(32),
  ]);
  const sshsig = Buffer.concat([
    Buffer.from("SSHSIG"),
    ...["git", "", "sha256", randomBytes(32)].map(sshString),
  ]);
  const sign = (path: string, data: Uint8Array): Promise<number> => {
    const blob = sshPublicKeyBlob(vault.publicKey(path));
    return ask(Buffer.concat([Buffer.of(13), sshString(blob), sshString(data), Buffer.alloc(4)]));
  };
  assert.equal(await sign(sshKeyPath("work"), sshsig), 14);
  assert.equal(await sign(sshKeyPath("work"), tls), 5);
  for (const path of [IDENTITY_PATH, SSH_HOST_PATH]) {
    assert.equal(await sign(path, sshsig), 5);
    assert.equal(await sign(path, tls), 5);
  }
  // It has random bytes signed.
  const { code, stderr } = await run("ssh-add", ["-T", at("work.pub")]);
  assert.notEqual(code, 0);
  assert.match(stderr, /refused/);
});

test("git signs commits, and finds them signed", async () => {
  rmSync(at("repository"), { recursive: true, force: true });
  writeFileSync(at("allowed"), `ann@example.com ${publicLine("work")}\n`);
  const git = (...args: readonly string[]): Promise<Done> => {
    const settings = [
      "gpg.format=ssh",
      `user.signingKey=${at("work.pub")}`,
      "user.name=Ann",
      "user.email=ann@example.com",
      `gpg.ssh.allowedSignersFile=${at("allowed")}`,
    ];
    return succeed("git", [
      ...["-C", at("repository")],
      ...settings.flatMap((each) => ["-c", each]),
      ...args,
    ]);
  };
  mkdirSync(at("repository"));
  await git("init", "-q");
  await git("commit", "-q", "-S", "--allow-empty", "-m", "signed");
  const { stderr } = await git("verify-commit", "HEAD");
  assert.match(stderr, /Good "git" signature for ann@example\.com with ED25519/);
  const { stdout } = await git("log", "--show-signature", "-1");
  assert.match(stdout, /Good "git" signature/);
});

test("ssh-keygen -Y signs files, and verifies them", async () => {
  writeFileSync(at("allowed"), `ann ${publicLine("default")}\n`);
  const text = "what was agreed";
  const signed = ["-Y", "sign", "-n", "file", "-f", at("default.pub")];
  const { stdout } = await succeed("ssh-keygen", signed, { input: text });
  writeFileSync(at("text.sig"), stdout);
  const verify = [
    "-Y",
    "verify",
    "-f",
    at("allowed"),
    "-I",
    "ann",
    "-n",
    "file",
    "-s",
    at("text.sig"),
  ];
  await succeed("ssh-keygen", verify, { input: text });
  assert.notEqual((await run("ssh-keygen", verify, { input: `${text}!` })).code, 0);
});

test("ssh-add -x locks it, -X unlocks it, and nothing else does", async () => {
  // It reads from the terminal, or asks with this.
  writeFileSync(at("passphrase"), "#!/bin/sh\necho secret\n", { mode: 0o755 });
  writeFileSync(at("mistake"), "#!/bin/sh\necho another\n", { mode: 0o755 });
  const asking = (script: string): RunOptions => ({
    env: { SSH_ASKPASS: at(script), SSH_ASKPASS_REQUIRE: "force", DISPLAY: ":0" },
  });
  await succeed("ssh-add", ["-x"], asking("passphrase"));
  assert.equal((await agent.status()).sshAgentLocked, true);
  assert.match((await run("ssh-add", ["-l"])).stdout, /no identities/);
  assert.equal(await login("near", near, "work"), false);
  assert.notEqual((await run("ssh-add", ["-X"], asking("mistake"))).code, 0);
  assert.match((await run("ssh-add", ["-l"])).stdout, /no identities/);
  await succeed("ssh-add", ["-X"], asking("passphrase"));
  assert.equal(await login("near", near, "work"), true);
});

test("a lock of the vault takes all keys away, ssh-add -D until the next one", async () => {
  await agent.lock();
  assert.match((await run("ssh-add", ["-l"])).stdout, /no identities/);
  assert.equal(await login("near", near, "work"), false);
  await agent.unlock({ unlockKey });
  await succeed("ssh-add", ["-d", at("default.pub")]);
  const { stdout } = await succeed("ssh-add", ["-l"]);
  assert.deepEqual([stdout.includes(" default "), stdout.includes(" work ")], [false, true]);
  await succeed("ssh-add", ["-D"]);
  assert.match((await run("ssh-add", ["-l"])).stdout, /no identities/);
  await agent.lock();
  await agent.unlock({ unlockKey });
  assert.equal((await succeed("ssh-add", ["-L"])).stdout.trim().split("\n").length, NAMES.length);
});

test("a key that is to be confirmed is used after a yes", async () => {
  const answer = (text: string, status: number): void => {
    rmSync(at("asked"), { force: true });
    writeFileSync(at("answer"), text);
    writeFileSync(at("status"), String(status));
  };
  answer("yes\n", 0);
  assert.equal(await login("near", near, "wary"), true);
  const asked = readFileSync(at("asked"), "utf8");
  assert.match(asked, /^confirm: Allow use of key "wary" to log in as "/);
  assert.match(asked, /SHA256:/);
  // As programs with two buttons answer.
  answer("", 0);
  assert.equal(await login("near", near, "wary"), true);
  for (const [text, status] of [
    ["no\n", 0],
    ["", 1],
    ["yes\n", 1],
  ] as const) {
    answer(text, status);
    assert.equal(await login("near", near, "wary"), false, `${text}${status}`);
    assert.ok(existsSync(at("asked")));
  }
});

/** The private key in a file, as `ssh-add` wants it to restrict one. */
function privateFile(name: Name): string {
  using key = vault.deriveEd25519(sshKeyPath(name));
  const file = opensshPrivateKeyFile(key.privateKey, key.publicKey, name);
  writeFileSync(at(name), file, { mode: 0o600 });
  return at(name);
}

test("a forwarded agent signs for the next host, and cannot be changed from there", async () => {
  assert.match((await loginThrough("far", far, "work")).stdout, /arrived/);
  const there = (command: string): Promise<Done> =>
    run("ssh", [...sshArgs("near", near, "work"), "-A", `${USER}@127.0.0.1`, command]);
  assert.match((await there("ssh-add -l")).stdout, / work /);
  assert.notEqual((await there("ssh-add -D")).code, 0);
  assert.match((await succeed("ssh-add", ["-l"])).stdout, / work /);
});

test("ssh-add -h restricts a key to hosts, and to ways there", async () => {
  const file = privateFile("work");
  const add = ["-q", "-H", at("known_hosts")];
  await succeed("ssh-add", [...add, "-h", "near", "-h", "near>far", file]);
  assert.equal(await login("near", near, "work"), true);
  assert.equal(await login("far", far, "work"), false);
  assert.match((await loginThrough("far", far, "work")).stdout, /arrived/);
  assert.doesNotMatch((await loginThrough("other", other, "work")).stdout, /arrived/);
  // Another user there is another destination.
  await succeed("ssh-add", [...add, "-h", "nobody@near", file]);
  assert.equal(await login("near", near, "work"), false);
  await succeed("ssh-add", ["-q", file]);
  assert.equal(await login("far", far, "work"), true);
});

test("ssh-add -c and -t constrain a key; one that is not the vault's is refused", async () => {
  const file = privateFile("work");
  writeFileSync(at("answer"), "");
  writeFileSync(at("status"), "1");
  await succeed("ssh-add", ["-q", "-c", file]);
  assert.equal(await login("near", near, "work"), false);
  await succeed("ssh-add", ["-q", "-t", "3600", file]);
  assert.equal(await login("near", near, "work"), true);
  rmSync(at("stranger"), { force: true });
  await succeed("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at("stranger")]);
  const { code, stderr } = await run("ssh-add", [at("stranger")]);
  assert.notEqual(code, 0);
  assert.match(stderr, /refused/);
});

test("128 clients that send rubbish, do not read or do not finish are bounded, and in nobody's way", async () => {
  const { pid } = await agent.status();
  const clients = Array.from({ length: 128 }, () => connect(socket));
  for (const client of clients) client.on("error", () => {});
  const lists = Buffer.concat(Array.from({ length: 20_000 }, () => sshString(Buffer.of(11))));
  const half = sshString(Buffer.alloc(256 * 1024)).subarray(0, 128 * 1024);
  const dropped: Promise<unknown>[] = [];
  for (const [number, client] of clients.entries()) {
    if (number % 3 === 0) client.pause().write(lists);
    else if (number % 3 === 1) client.write(half);
    else {
      dropped.push(once(client.resume(), "close"));
      client.write(Buffer.concat([Buffer.of(1 + (number % 255)), randomBytes(1_000)]));
    }
  }
  await Promise.all(dropped);
  assert.equal(await login("near", near, "work"), true);
  const resident = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  assert.ok(Number(resident?.[1]) < 256 * 1024, `${resident?.[1]} KiB`);
  for (const client of clients) client.destroy();
});
