import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { format, inspect } from "node:util";
import { VaultError } from "./vault-error.ts";
import { createVaultFile, inspectVaultFile, openVaultFile } from "./vault-file.ts";
import type { VaultSecrets } from "./vault-file-body.ts";
import { DEFAULT_COST, formatVaultFile, parseVaultFile } from "./vault-file-format.ts";

const SECRETS: VaultSecrets = {
  entropy: randomBytes(32),
  seed: randomBytes(64),
  passphraseUsed: true,
  names: [{ kind: "ssh", name: "work", confirm: true }],
};
const PASSPHRASE = Buffer.from("correct horse");

// Made once, for argon2id is slow on purpose; each test has a copy.
const madeIn = fs.mkdtempSync(join(tmpdir(), "alknet-vault-"));
after(() => fs.rmSync(madeIn, { recursive: true, force: true }));
const made = await createVaultFile(join(madeIn, "vault.json"), SECRETS, PASSPHRASE);
const unlockKey = await made.addUnlockKey("boot");
made[Symbol.dispose]();
const TEXT = fs.readFileSync(join(madeIn, "vault.json"), "latin1");

/** The path of a copy. */
function copy(t: TestContext): string {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-vault-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "vault.json");
  fs.writeFileSync(path, TEXT, { mode: 0o600 });
  return path;
}

test("a vault file gives back what was put into it, and is its owner's alone", async (t) => {
  assert.deepEqual(fs.readdirSync(madeIn).sort(), ["vault.json", "vault.json.lock"]);
  for (const name of fs.readdirSync(madeIn)) {
    assert.equal(fs.statSync(join(madeIn, name)).mode & 0o777, 0o600);
  }
  const path = copy(t);
  for (const secret of [{ passphrase: PASSPHRASE }, { unlockKey }]) {
    using vault = await openVaultFile(path, secret);
    assert.deepEqual(Buffer.from(vault.entropy), SECRETS.entropy);
    assert.deepEqual(Buffer.from(vault.seed), SECRETS.seed);
    assert.equal(vault.passphraseUsed, true);
    assert.deepEqual(vault.names, SECRETS.names);
    assert.deepEqual(vault.unlockKeys, ["boot"]);
    assert.equal(vault.path, path);
  }
  assert.deepEqual(inspectVaultFile(path), { cost: DEFAULT_COST, unlockKeys: ["boot"] });
});

test("wrong passphrase, damaged file, unknown version: three messages, each with what to do", async (t) => {
  const path = copy(t);
  const said = async (text: string, passphrase: string): Promise<VaultError> => {
    fs.writeFileSync(path, text);
    const [refused] = await Promise.allSettled([
      openVaultFile(path, { passphrase: Buffer.from(passphrase) }),
    ]);
    assert.equal(refused.status, "rejected");
    assert.ok(refused.reason instanceof VaultError);
    return refused.reason;
  };
  const wrong = await said(TEXT, "correct house");
  const damaged = await said(TEXT.replace(/"body": "(.)/, '"body": "/'), "correct horse");
  const unknown = await said(TEXT.replace('"version": 1', '"version": 2'), "correct horse");
  const at = `cannot use vault file ${JSON.stringify(path)}: `;
  assert.deepEqual(
    [wrong, damaged, unknown].map(({ code, message }) => [code, message]),
    [
      ["VAULT_PASSPHRASE_WRONG", `${at}the passphrase is wrong`],
      ["VAULT_DAMAGED", `${at}it is damaged: it is not as it was written`],
      ["VAULT_VERSION_UNKNOWN", `${at}it is of version 2; this Alknet knows version 1`],
    ],
  );
  assert.match(wrong.hint ?? "", /try again/);
  assert.match(damaged.hint ?? "", /restore it from a backup/);
  assert.match(unknown.hint ?? "", /the version of Alknet that wrote it/);
});

test("a file with any one bit flipped does not open", async (t) => {
  const path = copy(t);
  const opened = fs.openSync(path, "r+");
  t.after(() => fs.closeSync(opened));
  const bytes = Buffer.from(TEXT, "latin1");
  const code = /^VAULT_(DAMAGED|VERSION_UNKNOWN)$/;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const at = bit >>> 3;
    fs.writeSync(opened, Buffer.of(bytes[at]! ^ (1 << (bit & 7))), 0, 1, at);
    await assert.rejects(openVaultFile(path, { unlockKey }), { code });
    // A sample: the file is refused before the passphrase is tried.
    if (bit % 101 === 0) {
      await assert.rejects(openVaultFile(path, { passphrase: PASSPHRASE }), { code });
    }
    fs.writeSync(opened, bytes, at, 1, at);
  }
  (await openVaultFile(path, { unlockKey }))[Symbol.dispose]();
});

test("a file with any one bit flipped under a hash that was made to fit does not open", async (t) => {
  const path = copy(t);
  const opened = fs.openSync(path, "r+");
  t.after(() => fs.closeSync(opened));
  const file = parseVaultFile(TEXT);
  const [boot] = file.unlockKeys;
  const { passphrase } = file;
  const flipped = async (field: Uint8Array, code: RegExp): Promise<void> => {
    for (let bit = 0; bit < field.length * 8; bit++) {
      field[bit >>> 3]! ^= 1 << (bit & 7);
      fs.writeSync(opened, formatVaultFile(file), 0);
      await assert.rejects(openVaultFile(path, { unlockKey }), { code });
      field[bit >>> 3]! ^= 1 << (bit & 7);
    }
  };
  for (const field of [passphrase.salt, passphrase.iv, passphrase.key, file.iv, file.body]) {
    await flipped(field, /^VAULT_DAMAGED$/);
  }
  for (const field of [boot!.salt, boot!.iv, boot!.key]) await flipped(field, /^UNLOCK_KEY_WRONG$/);
  const others = [
    { ...file, unlockKeys: [{ ...boot!, label: "root" }] },
    { ...file, unlockKeys: [boot!, { ...boot!, label: "root" }] },
    { ...file, passphrase: { ...passphrase, cost: { ...DEFAULT_COST, memory: 65_537 } } },
    { ...file, passphrase: { ...passphrase, cost: { ...DEFAULT_COST, passes: 4 } } },
    { ...file, passphrase: { ...passphrase, cost: { ...DEFAULT_COST, lanes: 5 } } },
  ];
  for (const other of others) {
    fs.writeFileSync(path, formatVaultFile(other));
    await assert.rejects(openVaultFile(path, { unlockKey }), { code: "VAULT_DAMAGED" });
  }
  // By the passphrase: a sample, a bit of each field.
  for (const field of [passphrase.salt, passphrase.iv, passphrase.key, boot!.key, file.body]) {
    field[7]! ^= 1;
    fs.writeFileSync(path, formatVaultFile(file));
    await assert.rejects(openVaultFile(path, { passphrase: PASSPHRASE }), {
      code: field === boot!.key || field === file.body ? "VAULT_DAMAGED" : "VAULT_PASSPHRASE_WRONG",
    });
    field[7]! ^= 1;
  }
});

test("a file that others can read or change is refused, with the command that mends it", async (t) => {
  const path = copy(t);
  for (const mode of [0o640, 0o604, 0o620, 0o601, 0o666]) {
    fs.chmodSync(path, mode);
    await assert.rejects(openVaultFile(path, { unlockKey }), {
      code: "VAULT_PERMISSIONS",
      message: new RegExp(`mode 0${mode.toString(8)}\\); expected 0600$`),
      hint: `chmod 600 ${path}`,
    });
    assert.throws(() => inspectVaultFile(path), { code: "VAULT_PERMISSIONS" });
  }
  fs.chmodSync(path, 0o400);
  (await openVaultFile(path, { unlockKey }))[Symbol.dispose]();
});

test("a link, a folder, a file too large, and none at all are refused", async (t) => {
  const path = copy(t);
  const link = `${path}.link`;
  fs.symlinkSync(path, link);
  const large = `${path}.large`;
  fs.writeFileSync(large, TEXT + " ".repeat(65_536), { mode: 0o600 });
  const refusals = [
    [link, "VAULT_UNREADABLE", /it is a link/],
    [madeIn, "VAULT_UNREADABLE", /a file of at most 65536 bytes/],
    [large, "VAULT_UNREADABLE", /a file of at most 65536 bytes/],
    [join(path, "vault.json"), "VAULT_UNREADABLE", /ENOTDIR/],
    [`${path}.none`, "VAULT_MISSING", /there is no such file/],
  ] as const;
  for (const [at, code, message] of refusals) {
    await assert.rejects(openVaultFile(at, { unlockKey }), { code, message });
  }
});

test("createVaultFile() leaves a file alone that is there, whatever it is", async (t) => {
  const path = copy(t);
  const dangling = `${path}.link`;
  fs.symlinkSync(`${path}.none`, dangling);
  for (const at of [path, dangling]) {
    await assert.rejects(createVaultFile(at, SECRETS, PASSPHRASE), { code: "VAULT_EXISTS" });
  }
  assert.equal(fs.readFileSync(path, "latin1"), TEXT);
  assert.equal(fs.readlinkSync(dangling), `${path}.none`);
});

test("createVaultFile() refuses what would not be safe, or does not come back", async (t) => {
  const path = `${copy(t)}.new`;
  const short = { ...SECRETS, entropy: new Uint8Array(8) };
  const cheap = { memory: 65_536, passes: 1, lanes: 1 };
  await assert.rejects(createVaultFile(path, short, PASSPHRASE), RangeError);
  await assert.rejects(createVaultFile(path, SECRETS, PASSPHRASE, cheap), RangeError);
  for (const passphrase of [new Uint8Array(0), new Uint8Array(1_025)]) {
    await assert.rejects(createVaultFile(path, SECRETS, passphrase), RangeError);
    await assert.rejects(openVaultFile(path, { passphrase }), { code: "VAULT_MISSING" });
  }
});

test("names come and go, and are there when the file is opened again", async (t) => {
  const path = copy(t);
  {
    using vault = await openVaultFile(path, { unlockKey });
    await vault.addName({ kind: "age", name: "work", confirm: false });
    await vault.addName({ kind: "ssh", name: "work", confirm: false });
    assert.equal(await vault.removeName("pkarr", "work"), false);
    await vault.addName({ kind: "pkarr", name: "home", confirm: false });
    assert.equal(await vault.removeName("pkarr", "home"), true);
    await assert.rejects(vault.addName({ kind: "ssh", name: "No!", confirm: false }), RangeError);
  }
  using vault = await openVaultFile(path, { unlockKey });
  assert.deepEqual(vault.names, [
    { kind: "age", name: "work", confirm: false },
    { kind: "ssh", name: "work", confirm: false },
  ]);
  assert.deepEqual(Buffer.from(vault.seed), SECRETS.seed);
});

test("a new passphrase opens, the old one does no longer, and unlock keys do as before", async (t) => {
  const path = copy(t);
  const next = Buffer.from("battery staple");
  {
    using vault = await openVaultFile(path, { passphrase: PASSPHRASE });
    await vault.changePassphrase(next, { memory: 65_536, passes: 4, lanes: 2 });
    assert.equal(vault.cost.passes, 4);
    await assert.rejects(vault.changePassphrase(new Uint8Array(0)), RangeError);
  }
  await assert.rejects(openVaultFile(path, { passphrase: PASSPHRASE }), {
    code: "VAULT_PASSPHRASE_WRONG",
  });
  for (const secret of [{ passphrase: next }, { unlockKey }]) {
    using vault = await openVaultFile(path, secret);
    assert.deepEqual(Buffer.from(vault.entropy), SECRETS.entropy);
  }
});

test("unlock keys open until they are removed; a label is used once, and sixteen are enough", async (t) => {
  const path = copy(t);
  using vault = await openVaultFile(path, { unlockKey });
  const second = await vault.addUnlockKey("stick");
  assert.notDeepEqual(second, unlockKey);
  (await openVaultFile(path, { unlockKey: second }))[Symbol.dispose]();
  await assert.rejects(vault.addUnlockKey("stick"), { message: /"stick" already/ });
  await assert.rejects(vault.addUnlockKey("a b"), { message: /cannot use label "a b"/ });
  assert.equal(await vault.removeUnlockKey("boot"), true);
  assert.equal(await vault.removeUnlockKey("boot"), false);
  await assert.rejects(openVaultFile(path, { unlockKey }), {
    code: "UNLOCK_KEY_WRONG",
    message: /the file's are "stick"$/,
  });
  await assert.rejects(openVaultFile(path, { unlockKey: new Uint8Array(31) }), RangeError);
  for (let count = 1; count < 16; count++) await vault.addUnlockKey(`key-${count}`);
  await assert.rejects(vault.addUnlockKey("one-more"), { message: /16 unlock keys already/ });
  (await openVaultFile(path, { unlockKey: second }))[Symbol.dispose]();
});

test("who has had the file open for long changes what it is now, and takes nothing back", async (t) => {
  const path = copy(t);
  const next = Buffer.from("battery staple");
  using agent = await openVaultFile(path, { unlockKey });
  agent.forgetSecrets();
  assert.throws(() => agent.seed, { code: "VAULT_LOCKED" });
  {
    using command = await openVaultFile(path, { unlockKey });
    await Promise.all([
      command.changePassphrase(next),
      command.addName({ kind: "age", name: "files", confirm: false }),
      command.addUnlockKey("stick"),
      agent.addName({ kind: "ssh", name: "mine", confirm: true }),
      agent.removeName("ssh", "work"),
    ]);
  }
  assert.equal(await agent.removeName("ssh", "work"), false);
  using vault = await openVaultFile(path, { passphrase: next });
  assert.deepEqual(new Set(vault.names.map(({ name }) => name)), new Set(["files", "mine"]));
  assert.deepEqual(agent.names, vault.names);
  assert.deepEqual(agent.unlockKeys, ["boot", "stick"]);
  assert.deepEqual(Buffer.from(vault.seed), SECRETS.seed);
});

test("another vault in the place of the one that is open is left alone", async (t) => {
  const path = copy(t);
  using vault = await openVaultFile(path, { unlockKey });
  fs.rmSync(path);
  (await createVaultFile(path, SECRETS, PASSPHRASE))[Symbol.dispose]();
  const other = fs.readFileSync(path);
  await assert.rejects(vault.addUnlockKey("stick"), { code: "VAULT_CHANGED" });
  assert.deepEqual(fs.readFileSync(path), other);
  fs.rmSync(path);
  await assert.rejects(vault.removeUnlockKey("boot"), { code: "VAULT_MISSING" });
});

test("a write that fails leaves what was there, and what a killed writer has left is cleared", async (t) => {
  const path = copy(t);
  using vault = await openVaultFile(path, { unlockKey });
  fs.mkdirSync(`${path}.tmp`);
  await assert.rejects(vault.removeUnlockKey("boot"), { code: "VAULT_UNREADABLE" });
  assert.equal(fs.readFileSync(path, "latin1"), TEXT);
  fs.rmdirSync(`${path}.tmp`);
  fs.writeFileSync(`${path}.tmp`, "half of");
  assert.equal(await vault.removeUnlockKey("boot"), true);
  assert.ok(!fs.existsSync(`${path}.tmp`));
});

test("a file of another user stays theirs when root changes it", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root can give a file to another user");
  const path = copy(t);
  fs.chownSync(path, 1_234, 2_345);
  using vault = await openVaultFile(path, { unlockKey });
  await vault.addName({ kind: "ssh", name: "mine", confirm: false });
  for (const file of [path, `${path}.lock`]) {
    const { uid, gid, mode } = fs.statSync(file);
    assert.deepEqual([uid, gid, mode & 0o777], [1_234, 2_345, 0o600]);
  }
});

test("dispose wipes what was held, and ends all use", async (t) => {
  const vault = await openVaultFile(copy(t), { unlockKey });
  const { entropy, seed } = vault;
  vault[Symbol.dispose]();
  vault[Symbol.dispose]();
  assert.deepEqual([...entropy, ...seed], Array(96).fill(0));
  assert.throws(() => vault.entropy, { code: "VAULT_LOCKED" });
  assert.throws(() => vault.passphraseUsed, { code: "VAULT_LOCKED" });
  await assert.rejects(vault.removeName("ssh", "work"), { code: "VAULT_LOCKED" });
  await assert.rejects(vault.changePassphrase(PASSPHRASE), { code: "VAULT_LOCKED" });
});

test("a dispose while a change waits for argon2id ends the change", async (t) => {
  const path = copy(t);
  const vault = await openVaultFile(path, { unlockKey });
  const changing = vault.changePassphrase(Buffer.from("battery staple"));
  vault[Symbol.dispose]();
  await assert.rejects(changing, { code: "VAULT_LOCKED" });
  assert.equal(fs.readFileSync(path, "latin1"), TEXT);
});

test("an open vault file prints without its secrets", async (t) => {
  using vault = await openVaultFile(copy(t), { unlockKey });
  for (const text of [
    inspect(vault, { depth: 9, showHidden: true }),
    JSON.stringify(vault),
    format("%s", vault),
  ]) {
    assert.match(text, /\[REDACTED\]/);
    for (const secret of [SECRETS.seed, SECRETS.entropy]) {
      const start = Buffer.from(secret).subarray(0, 4);
      for (const shown of [start.toString("hex"), start.join(","), start.join(", ")]) {
        assert.ok(!text.includes(shown));
      }
    }
  }
});
