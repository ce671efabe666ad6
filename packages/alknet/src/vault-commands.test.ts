import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Outcome, run, testHome, type TestHome } from "./testing.ts";

const PASSPHRASE = "correct horse battery";
/** The words of the vectors, and what comes from them. */
const WORDS = `${"abandon ".repeat(11)}about`;
const FINGERPRINT = "ed25519:e78c2766a792f09bfccb51493968ac322283e8d021a30063784d806929762ecc";

const vault = (home: TestHome, args: readonly string[], input = `${PASSPHRASE}\n`) =>
  run(home, ["vault", ...args, "--passphrase-stdin"], { input });

async function withVault(): Promise<TestHome> {
  const home = testHome();
  const { code, stderr } = await vault(home, ["import"], `${PASSPHRASE}\n${WORDS}\n`);
  assert.equal(code, 0, stderr);
  return home;
}

/** Has it opened by a file from now on. */
async function withKeyFile(): Promise<TestHome> {
  const home = await withVault();
  const file = join(home.folder, "vault.key");
  assert.equal((await vault(home, ["unlock-key", "add", "--file", file])).code, 0);
  home.config('listen = ["127.0.0.1:0"]', "[vault]", 'key_file = "vault.key"');
  return home;
}

function fails({ code, stdout, stderr }: Outcome, exitCode: number, message: RegExp): void {
  assert.equal(code, exitCode, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, message);
}

test("alknet vault import gives the keys of the words, of which there is one list of vectors", async () => {
  using home = testHome();
  const host = "6a9dd5c41915fba6cc22b8760263aba45b068cae7bead1d069c7b8eeb0118134";
  const blob = Buffer.from(`0000000b7373682d6564323535313900000020${host}`, "hex").toString(
    "base64",
  );
  const input = `${PASSPHRASE}\n  ${WORDS.toUpperCase().replaceAll(" ", "\r\n")}\n`;
  const { stdout, code } = await vault(home, ["import", "--json"], input);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), {
    path: home.home.vault,
    fingerprint: FINGERPRINT,
    sshHostKey: `ssh-ed25519 ${blob}`,
    identityInUse: true,
  });
  assert.equal(statSync(home.home.vault).mode & 0o777, 0o600);
  assert.ok(!readFileSync(home.home.vault, "latin1").includes("abandon"));
});

test("alknet vault import with a BIP39 passphrase is another node, and says that the words are not all", async () => {
  using home = testHome();
  const input = `${PASSPHRASE}\nTREZOR\n${WORDS}\n`;
  const made = await vault(home, ["import", "--bip39-passphrase", "--json"], input);
  assert.notEqual((JSON.parse(made.stdout) as { fingerprint: string }).fingerprint, FINGERPRINT);
  const shown = await vault(home, ["show-words", "--force", "--json"]);
  assert.deepEqual(JSON.parse(shown.stdout), { words: WORDS, bip39Passphrase: true });
  assert.match(shown.stderr, /note: .* BIP39 passphrase/);
});

test("alknet vault import says what is wrong with words, and makes nothing", async () => {
  using home = testHome();
  const wrong: readonly (readonly [string, RegExp])[] = [
    [WORDS.replace("about", "abuot"), /word 12, "abuot", is not in the .*did you mean "about"/],
    [WORDS.replace("about", "abandon"), /the checksum is wrong/],
    ["abandon about", /expected 12, 15, 18, 21 or 24 words, got 2/],
    ["", /got 0/],
    ["x".repeat(2_000), /expected at most 1024 bytes/],
  ];
  for (const [words, message] of wrong) {
    fails(await vault(home, ["import"], `${PASSPHRASE}\n${words}`), 2, message);
  }
  fails(await vault(home, ["import"], `\n${WORDS}`), 1, /expected a passphrase, got nothing/);
  fails(await run(home, ["vault", "import"], { input: WORDS }), 2, /no terminal\nhint: .*stdin/);
  assert.ok(!existsSync(home.home.vault));
});

test("alknet vault create gives words to a script that asks for them twice over", async () => {
  using home = testHome();
  for (const half of ["--force", "--no-check"]) {
    fails(await vault(home, ["create", half]), 2, /--force and --no-check go together/);
  }
  fails(await vault(home, ["create"]), 2, /cannot ask what the words are: there is no terminal/);
  assert.ok(!existsSync(home.home.vault));
  const { stdout, code } = await vault(home, ["create", "--force", "--no-check", "--words", "15"]);
  assert.equal(code, 0);
  const words = stdout.split("\n")[0]!;
  assert.equal(words.split(" ").length, 15);
  using other = testHome();
  const again = await vault(other, ["import", "--json"], `${PASSPHRASE}\n${words}`);
  assert.ok(stdout.includes((JSON.parse(again.stdout) as { fingerprint: string }).fingerprint));
  assert.equal((await vault(home, ["create", "--words", "13"])).code, 2);
});

test("a vault is made beside no other, and in the place of a node's key only if that is meant", async () => {
  using home = testHome();
  const { fingerprint, home: paths } = home;
  const input = `${PASSPHRASE}\n${WORDS}`;
  const refused = await vault(home, ["import"], input);
  fails(refused, 1, /this node has a key already: .*identity\.key; .*\nhint: .*--replace-identity/);
  assert.equal((await run(home, ["id"])).stdout, `${fingerprint}\n`);
  const before = `${paths.identity}.before-vault`;
  writeFileSync(before, "of an earlier one");
  fails(await vault(home, ["import", "--replace-identity"], input), 1, /mv .*before-vault/);
  rmSync(before);
  const key = readFileSync(paths.identity, "utf8");
  const made = await vault(home, ["import", "--replace-identity"], input);
  assert.equal(made.code, 0);
  assert.match(made.stderr, new RegExp(`alknet peers rotate-key NAME ${FINGERPRINT}`));
  assert.equal(readFileSync(before, "utf8"), key);
  assert.ok(!existsSync(paths.identity));
  fails(await vault(home, ["create", "--force", "--no-check"]), 1, /there is a vault already/);
});

test("a key that the configuration names goes before the vault, which says so", async () => {
  using home = testHome();
  home.config('identity = "own.key"');
  const own = (await run(home, ["id"])).stdout;
  const made = await vault(home, ["import"], `${PASSPHRASE}\n${WORDS}`);
  assert.match(made.stderr, /note: .*alknet\.toml names another key, which goes before/);
  assert.equal((await run(home, ["id"])).stdout, own);
  assert.ok(existsSync(join(home.folder, "own.key")));
});

test("commands that need the node's key say that it is locked: exit code 5, and what opens it", async () => {
  using home = await withVault();
  const hint = /^alknet: the vault is locked\nhint: alknet vault unlock\n$/;
  home.config('listen = ["127.0.0.1:0"]');
  for (const command of ["id", "ticket", "up", "ping den.example:1", "vault encrypt"]) {
    fails(await run(home, command.split(" ")), 5, hint);
  }
  const { stdout } = await run(home, ["id", "--json"]);
  assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, "VAULT_LOCKED");
  assert.ok(!existsSync(home.home.identity), "no other key is made");
});

test("a vault on a disk that is not there is no reason to be another node", async () => {
  using home = testHome();
  symlinkSync("/nowhere/vault.json", home.home.vault);
  for (const command of [["id"], ["up"], ["doctor"], ["vault", "status"], ["vault", "encrypt"]]) {
    const { code, stdout, stderr } = await run(home, command);
    assert.notEqual(code, 0, command.join(" "));
    assert.match(stdout + stderr, /it is a link|the vault is locked/, command.join(" "));
  }
  assert.ok(!existsSync(home.home.identity), "no other key is made");
});

test("an unlock key does not stay on a terminal", async () => {
  using home = await withVault();
  const args = ["vault", "unlock-key", "add", "--stdout", "--passphrase-stdin"];
  const shown = await run(home, args, { input: PASSPHRASE, terminal: true });
  fails(shown, 2, /the key would stay on the terminal/);
  assert.equal((await run(home, ["vault", "unlock-key", "list"])).stdout, "");
});

test("a key in a file opens the vault where nobody is, until it is removed", async () => {
  using home = await withKeyFile();
  assert.equal((await run(home, ["id"])).stdout, `${FINGERPRINT}\n`);
  const file = join(home.folder, "vault.key");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  chmodSync(file, 0o644);
  fails(await run(home, ["id"]), 5, /the vault is locked: .*key file .*others can read/);
  const doctor = await run(home, ["doctor"]);
  assert.match(doctor.stdout, /BAD {3}unlock key: .*others can read.*\n *fix: chmod 600/);
  chmodSync(file, 0o600);
  assert.match((await run(home, ["doctor"])).stdout, /ok {4}unlock key: key file/);

  assert.equal((await run(home, ["vault", "unlock-key"])).stdout, "boot\n");
  fails(
    await vault(home, ["unlock-key", "add", "--file", "x"]),
    1,
    /"boot" already\nhint: .*--label/,
  );
  fails(await vault(home, ["unlock-key", "remove", "nope"]), 1, /no unlock key "nope"/);
  fails(
    await vault(home, ["unlock-key", "add"]),
    2,
    /expected one of --file, --keyring and --stdout/,
  );
  // Where it cannot be written, there is none.
  fails(await vault(home, ["unlock-key", "add", "--label", "b", "--file", file]), 1, /EEXIST/);
  assert.equal((await run(home, ["vault", "unlock-key", "list"])).stdout, "boot\n");
  assert.equal((await vault(home, ["unlock-key", "remove", "boot"])).code, 0);
  const mended =
    /warn {2}unlock key: .* the vault knows of none\n *fix: rm \S+; alknet vault unlock-key/;
  assert.match((await run(home, ["doctor"])).stdout, mended);
  fails(await run(home, ["id"]), 5, /the vault is locked: /);
});

test("a credential of systemd opens the vault", async () => {
  using home = await withVault();
  const folder = join(home.folder, "credentials");
  mkdirSync(folder);
  const { stdout } = await vault(home, ["unlock-key", "add", "--stdout"]);
  writeFileSync(join(folder, "alknet-vault"), stdout, { mode: 0o440 });
  process.env["CREDENTIALS_DIRECTORY"] = folder;
  try {
    assert.equal((await run(home, ["id"])).stdout, `${FINGERPRINT}\n`);
  } finally {
    delete process.env["CREDENTIALS_DIRECTORY"];
  }
});

test("alknet vault passwd changes what opens it, and nothing else", async () => {
  using home = await withVault();
  fails(await vault(home, ["passwd"], "wrong\nnew one\n"), 1, /the passphrase is wrong/);
  assert.equal((await vault(home, ["passwd"], `${PASSPHRASE}\nnew one\n`)).code, 0);
  fails(await vault(home, ["show-words", "--force"]), 1, /the passphrase is wrong/);
  const shown = await vault(home, ["show-words", "--force"], "new one\n");
  assert.equal(shown.stdout, `${WORDS}\n`);
  fails(await vault(home, ["show-words"], "new one\n"), 2, /print them on stdout: --force/);
});

test("alknet vault derive prints the keys of the vectors", async () => {
  using home = await withKeyFile();
  const publicKey = "733961f7573657324f22e91f06ea4f0b359e2efa0ccffc954616dadee7444daa";
  const path = "m/74'/0'/0'/1'";
  assert.equal((await run(home, ["vault", "derive", "m/74h/0h/0'/1'"])).stdout, `${publicKey}\n`);
  const { stdout } = await run(home, ["vault", "derive", path, "--json"]);
  assert.deepEqual(JSON.parse(stdout), { path, publicKey });
  const host = await run(home, ["vault", "derive", "ssh-host"]);
  assert.match(host.stdout, /^6a9dd5c41915fba6/);
  const secret = "550f05587732eeb6bd0de879f77b89e3593a655733f794be9a05dad90c3a1d24";
  const printed = await vault(home, ["derive", path, "--private", "--force"]);
  assert.equal(printed.stdout, `${secret}\n`);
  const json = await vault(home, ["derive", path, "--private", "--force", "--json"]);
  const document = JSON.parse(json.stdout) as { base64: string };
  assert.equal(Buffer.from(document.base64, "base64").toString(), `${secret}\n`);
  // A key file opens the vault, and is not enough for that.
  fails(
    await run(home, ["vault", "derive", path, "--private"]),
    2,
    /cannot ask "Write the private key/,
  );
  const unasked = await run(home, ["vault", "derive", path, "--private", "--force"]);
  fails(unasked, 2, /cannot ask for the passphrase/);
  for (const wrong of [
    "m/74'/0",
    "m/74''",
    "m/2147483648'",
    "74'",
    "m//1'",
    "nobody",
    "constructor",
  ]) {
    const told = /(path|hardened).*\nhint: for example m\//;
    fails(await run(home, ["vault", "derive", wrong]), 2, told);
  }
});

test("keys for ssh, age and pkarr have names, and come from the words alone", async () => {
  using home = await withKeyFile();
  const key = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(home, ["vault", ...args]);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const line = await key("ssh-key", "--name", "work");
  assert.match(line, /^ssh-ed25519 AAAA\S{64} work\n$/);
  assert.notEqual(line.split(" ")[1], (await key("ssh-key")).split(" ")[1]);
  const json = JSON.parse(await key("ssh-key", "--name", "work", "--confirm", "--json"));
  assert.equal((json as { confirm: boolean }).confirm, true);
  // It stays so until that is changed.
  assert.equal(await key("ssh-key", "--name", "work"), line);
  const forget = await key("ssh-key", "--name", "work", "--forget", "--json");
  assert.deepEqual(JSON.parse(forget), { kind: "ssh", name: "work", removed: true });
  assert.equal(await key("ssh-key", "--name", "work"), line);
  assert.match(await key("pkarr-key"), /^[a-z1-9]{52}\n$/);
  const recipient = await key("age-key");
  assert.match(recipient, /^age1[a-z0-9]{58}\n$/);
  const identity = (await vault(home, ["age-key", "--private", "--force"])).stdout;
  assert.match(identity, new RegExp(`^# public key: ${recipient}AGE-SECRET-KEY-1[A-Z0-9]{58}\n$`));
  fails(
    await run(home, ["vault", "ssh-key", "--name", "No Name"]),
    2,
    /a key cannot be called .*\nhint: for example work-laptop\n/,
  );
});

test("what alknet vault encrypt seals, decrypt opens: with its context, and whole", async () => {
  using home = await withKeyFile();
  const seal = async (input: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(home, ["vault", ...args], { input });
    return { code, stdout, stderr };
  };
  const sealed = (await seal("hunter2\n", "encrypt", "--context", "mail")).stdout;
  assert.equal((JSON.parse(sealed) as { key_version: number }).key_version, 2);
  assert.equal((await seal(sealed, "decrypt", "--context", "mail")).stdout, "hunter2\n");
  const json = await seal(sealed, "decrypt", "--context", "mail", "--json");
  assert.deepEqual(JSON.parse(json.stdout), { context: "mail", base64: "aHVudGVyMgo=" });
  fails(await seal(sealed, "decrypt"), 1, /another key, another context, or changed bytes/);
  fails(await seal(sealed, "decrypt", "--context", "Mail"), 1, /another context/);
  const v3 = (await seal("", "encrypt", "--key-version", "3")).stdout;
  assert.equal((JSON.parse(v3) as { key_version: number }).key_version, 3);
  assert.equal((await seal(v3, "decrypt")).stdout, "");
  const empty = JSON.parse((await seal(v3, "decrypt", "--json")).stdout) as object;
  assert.deepEqual(empty, { context: null, base64: "" });
  fails(await seal("{}", "decrypt"), 2, /cannot read sealed data/);
  fails(await seal("hunter2", "decrypt"), 2, /expected what alknet vault encrypt has printed/);
  assert.equal((await seal("", "encrypt", "--key-version", "1")).code, 2);
  const onTerminal = await run(home, ["vault", "decrypt"], { input: v3, terminal: true });
  fails(onTerminal, 2, /would stay on the terminal\nhint: .*--force/);
});

test("alknet vault status and doctor tell of a vault, and what is wrong with its file", async () => {
  using home = testHome();
  const none = await run(home, ["vault", "--json"]);
  assert.deepEqual(JSON.parse(none.stdout), {
    path: home.home.vault,
    exists: false,
    unlocked: false,
  });
  fails(
    await run(home, ["vault", "unlock"]),
    1,
    /there is no vault .*\nhint: .*alknet vault create/,
  );
  using den = await withVault();
  const { stdout } = await run(den, ["vault", "status"]);
  assert.match(stdout, /state +locked, and no agent runs\n/);
  assert.match(stdout, /argon2id, 64 MiB, 3 passes/);
  assert.match((await run(den, ["doctor"])).stdout, /ok {4}key: in the vault, which is locked\n/);
  chmodSync(den.home.vault, 0o644);
  fails(await run(den, ["vault", "status"]), 1, /others can read .*\nhint: chmod 600 /);
  assert.match((await run(den, ["doctor"])).stdout, /BAD {3}vault: .*\n *fix: chmod 600 /);
  chmodSync(den.home.vault, 0o600);
  const text = readFileSync(den.home.vault, "utf8");
  writeFileSync(den.home.vault, text.replace('"version": 1', '"version": 9'));
  fails(await vault(den, ["show-words", "--force"]), 1, /it is of version 9/);
  writeFileSync(den.home.vault, text.slice(0, -20));
  fails(await vault(den, ["show-words", "--force"]), 1, /it is damaged/);
});
