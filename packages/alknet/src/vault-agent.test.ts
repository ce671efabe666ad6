import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FakeClock } from "@alknet/core/fake-clock";
import { ageRecipient } from "@alknet/vault/age-identity";
import { ageKeyPath, IDENTITY_PATH, sshKeyPath } from "@alknet/vault/derivation-path";
import { createVault } from "@alknet/vault/vault";
import { createVaultFile } from "@alknet/vault/vault-file";
import { testHome, type TestHome } from "./testing.ts";
import { createVaultAgent, type VaultAgent, type VaultAgentOptions } from "./vault-agent.ts";
import { vaultClient } from "./vault-agent-client.ts";
import { encodeFrame, MAX_FRAME } from "./vault-agent-frame.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";

const SEED = new Uint8Array(64).fill(3);
const PASSPHRASE = Buffer.from("correct horse");

// One file for all: to make it takes what argon2id takes.
let folder: string;
let made: string;
let unlockKey: Uint8Array;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "alk-"));
  made = join(folder, "vault.json");
  const secrets = { entropy: new Uint8Array(32), seed: SEED, passphraseUsed: false };
  const names = [{ kind: "ssh", name: "work", confirm: false }] as const;
  using file = await createVaultFile(made, { ...secrets, names }, PASSPHRASE);
  unlockKey = await file.addUnlockKey("boot");
});

after(() => rmSync(folder, { recursive: true }));

interface Place extends AsyncDisposable {
  readonly home: TestHome;
  readonly agent: VaultAgent;
  readonly client: VaultAgentOperations;
}

/** An agent, locked. */
async function place(options: Partial<VaultAgentOptions> = {}): Promise<Place> {
  const home = testHome();
  copyFileSync(made, home.home.vault);
  chmodSync(home.home.vault, 0o600);
  const agent = await createVaultAgent({ home: home.home, lockAfter: undefined, ...options });
  return {
    home,
    agent,
    client: vaultClient(home.home),
    async [Symbol.asyncDispose]() {
      await agent[Symbol.asyncDispose]();
      home[Symbol.dispose]();
    },
  };
}

/** A request to the SSH agent: the first byte of its answer, in hex, and how long that is. */
async function askSsh({ home }: TestHome, ...message: readonly number[]): Promise<string> {
  const socket = connect(home.sshAgentSocket);
  socket.write(Buffer.of(0, 0, 0, message.length, ...message));
  const [answer] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return answer.subarray(4).toString("hex");
}

const NO_IDENTITIES = "0c00000000";

/** Every operation that needs the seed. */
const uses: readonly ((vault: VaultAgentOperations) => Promise<unknown>)[] = [
  (vault) => vault.publicKey(IDENTITY_PATH),
  (vault) => vault.ageRecipient("default"),
  (vault) => vault.encrypt(Buffer.from("x")),
  (vault) => vault.names(),
  (vault) => vault.addName({ kind: "ssh", name: "more", confirm: false }),
  (vault) => vault.removeName({ kind: "ssh", name: "work" }),
  (vault) => vault.nodeKeys(),
];

test("a client has what the vault has: public keys, sealing, names, the node's keys", async () => {
  await using it = await place();
  const { client, agent } = it;
  using vault = createVault();
  vault.unlockSeed(SEED);
  await client.unlock({ passphrase: PASSPHRASE });
  assert.deepEqual(await client.publicKey(IDENTITY_PATH), vault.publicKey(IDENTITY_PATH));
  const recipient = ageRecipient(vault.derivePrivate32(ageKeyPath("work")));
  assert.equal(await client.ageRecipient("work"), recipient);
  const plaintext = Buffer.alloc(100_000, "secret");
  const context = "credential:é";
  const sealed = await client.encrypt(plaintext, { context });
  assert.equal(sealed.key_version, 2);
  assert.deepEqual(Buffer.from(await client.decrypt(sealed, { context })), plaintext);
  assert.deepEqual(Buffer.from(vault.decrypt(sealed, { context })), plaintext);
  const third = await client.rotate(sealed, 3, { context });
  assert.equal(third.key_version, 3);
  assert.deepEqual(Buffer.from(await agent.decrypt(third, { context })), plaintext);
  await assert.rejects(client.decrypt(sealed), { code: "DECRYPTION_FAILED" });
  const { identity, sshHost } = await client.nodeKeys();
  using key = vault.deriveEd25519(IDENTITY_PATH);
  assert.deepEqual(identity, key.privateKey);
  assert.equal(sshHost.length, 32);
  await client.addName({ kind: "age", name: "backup", confirm: true });
  assert.equal(await client.removeName({ kind: "ssh", name: "work" }), true);
  assert.equal(await client.removeName({ kind: "ssh", name: "work" }), false);
  await client.lock();
  // They were written.
  await client.unlock({ unlockKey });
  assert.deepEqual(await client.names(), [{ kind: "age", name: "backup", confirm: true }]);
});

test("what the vault refuses is refused with its code, and the client stays within bounds", async () => {
  await using it = await place();
  const { client } = it;
  await assert.rejects(client.unlock({ passphrase: Buffer.from("wrong") }), {
    code: "VAULT_PASSPHRASE_WRONG",
  });
  await client.unlock({ unlockKey });
  await assert.rejects(client.unlock({ unlockKey }), { code: "ALREADY_UNLOCKED" });
  await assert.rejects(client.publicKey("m/0"), { code: "INVALID_PATH" });
  await assert.rejects(client.encrypt(Buffer.alloc(MAX_FRAME)), { code: "TOO_LONG" });
  await assert.rejects(client.encrypt(Buffer.alloc(1), { version: 1 }), { code: "INVALID_PATH" });
});

test("a lock wipes, and every client sees VAULT_LOCKED; the SSH agent has no keys", async () => {
  await using it = await place();
  const { agent, client, home } = it;
  const others = Array.from({ length: 5 }, () => vaultClient(home.home));
  await client.unlock({ unlockKey });
  assert.notEqual(await askSsh(home, 11), NO_IDENTITIES);
  let locks = 0;
  using _listening = agent.onlock(() => locks++);
  await client.lock();
  await client.lock();
  assert.equal(locks, 1);
  for (const vault of [...others, client, agent]) {
    for (const use of uses) await assert.rejects(use(vault), { code: "VAULT_LOCKED" });
  }
  assert.equal(await askSsh(home, 11), NO_IDENTITIES);
  const locked = { code: "VAULT_LOCKED", exitCode: 5, hint: "alknet vault unlock" };
  await assert.rejects(client.nodeKeys(), locked);
});

test("it locks itself when nobody has used it for its time; to look at it is no use", async () => {
  const clock = new FakeClock();
  await using it = await place({ lockAfter: 3_600_000, clock });
  const { agent, home } = it;
  await agent.unlock({ unlockKey });
  assert.equal((await agent.status()).locksIn, 3_600_000);
  clock.advance(3_000_000);
  await agent.encrypt(Buffer.from("x"));
  clock.advance(3_599_999);
  // What a line at the foot of the screen asks every minute.
  await agent.publicKey(IDENTITY_PATH);
  await agent.ageRecipient("default");
  await agent.names();
  assert.equal((await agent.status()).unlocked, true);
  assert.notEqual(await askSsh(home, 11), NO_IDENTITIES);
  let locked = false;
  using _listening = agent.onlock(() => (locked = true));
  // By its own timer: nobody asks.
  clock.advance(1);
  assert.equal(locked, true);
  await agent.unlock({ unlockKey });
  await agent.setLockAfter(undefined);
  clock.advance(1e9);
  assert.equal((await agent.status()).unlocked, true);
  await agent.setLockAfter(1_000);
  assert.equal((await agent.status()).unlocked, false);
});

test("a shorter time counts from the last use, and at once", async () => {
  const clock = new FakeClock();
  await using it = await place({ lockAfter: 3_600_000, clock });
  const { agent } = it;
  await agent.unlock({ unlockKey });
  clock.advance(1_000);
  await agent.setLockAfter(10_000);
  let locked = false;
  using _listening = agent.onlock(() => (locked = true));
  clock.advance(8_999);
  assert.equal(locked, false);
  clock.advance(1);
  assert.equal(locked, true);
});

test("a lock counts for all who are unlocking it just then", async () => {
  await using it = await place();
  const { agent } = it;
  const unlocking = [agent.unlock({ passphrase: PASSPHRASE }), agent.unlock({ unlockKey })];
  await agent.lock();
  for (const each of unlocking) await assert.rejects(each, { code: "VAULT_LOCKED" });
  assert.equal((await agent.status()).unlocked, false);
  await agent.unlock({ unlockKey });
  assert.equal((await agent.status()).unlocked, true);
});

test("no more than a few wait for their turn to unlock", async () => {
  await using it = await place();
  const { agent } = it;
  const crowd = Array.from({ length: 17 }, () => agent.unlock({ unlockKey }));
  const outcomes = await Promise.allSettled(crowd);
  assert.equal(outcomes[0]!.status, "fulfilled");
  const codes = outcomes.slice(1).map((each) => each.status === "rejected" && each.reason.code);
  assert.deepEqual(codes, [...Array(15).fill("ALREADY_UNLOCKED"), "VAULT_BUSY"]);
  await agent.lock();
  await agent.unlock({ unlockKey });
});

test("an agent that ends while it is being unlocked stays locked", async () => {
  await using it = await place();
  const { agent } = it;
  const unlocking = agent.unlock({ passphrase: PASSPHRASE });
  await agent[Symbol.asyncDispose]();
  await assert.rejects(unlocking, { code: "VAULT_LOCKED" });
  await assert.rejects(agent.nodeKeys(), { code: "VAULT_LOCKED" });
});

test("a machine that has slept past the time wakes with a locked vault", async () => {
  const clock = new FakeClock();
  await using it = await place({ lockAfter: 3_600_000, clock });
  const { agent } = it;
  await agent.unlock({ unlockKey });
  // Its other clock stood still.
  clock.setWallTime(clock.wallTime() + 3_600_000);
  await assert.rejects(agent.nodeKeys(), { code: "VAULT_LOCKED" });
});

test("one agent serves a folder, and one that was killed leaves nothing in the way", async () => {
  await using it = await place();
  const { home } = it.home;
  await assert.rejects(createVaultAgent({ home, lockAfter: undefined }), {
    code: "ALREADY_RUNNING",
  });
  for (const socket of [home.vaultSocket, home.sshAgentSocket]) {
    assert.equal(statSync(socket).mode & 0o777, 0o600);
  }
  await it.agent[Symbol.asyncDispose]();
  await assert.rejects(it.client.status(), { code: "VAULT_AGENT_NOT_RUNNING", exitCode: 5 });
  await using again = await createVaultAgent({ home, lockAfter: undefined });
  assert.equal((await it.client.status()).unlocked, false);
  chmodSync(home.run, 0o750);
  await assert.rejects(it.client.status(), { code: "FOLDER_PERMISSIONS" });
  assert.equal((await again.status()).unlocked, false);
});

test("the SSH agent offers named SSH keys alone, and signs with no other", async () => {
  await using it = await place();
  const { agent, home } = it;
  await agent.unlock({ unlockKey });
  const offered = async (): Promise<string> =>
    Buffer.from(await askSsh(home, 11), "hex").toString("latin1");
  const of = async (path: string): Promise<string> =>
    Buffer.from(await agent.publicKey(path)).toString("latin1");
  assert.ok((await offered()).includes(await of(sshKeyPath("work"))));
  assert.ok((await offered()).includes("work"));
  assert.ok(!(await offered()).includes(await of(IDENTITY_PATH)));
  await agent.addName({ kind: "ssh", name: "home", confirm: false });
  await agent.addName({ kind: "age", name: "other", confirm: false });
  assert.ok((await offered()).includes(await of(sshKeyPath("home"))));
  assert.ok(!(await offered()).includes("other"));
  await agent.removeName({ kind: "ssh", name: "work" });
  assert.ok(!(await offered()).includes("work"));
});

test("a key that asks before each use goes on asking, unless a person says that it need not", async () => {
  const env: Record<string, string> = { PATH: process.env["PATH"]! };
  await using it = await place({ env });
  const { client } = it;
  await client.unlock({ unlockKey });
  const key = { kind: "ssh", name: "work" } as const;
  await client.addName({ ...key, confirm: true });
  for (const answer of [undefined, "exit 1"]) {
    if (answer !== undefined) env["SSH_ASKPASS"] = askpass(it.home, answer);
    const refused = { code: "NOT_CONFIRMED", message: /asks before each use/ };
    await assert.rejects(client.addName({ ...key, confirm: false }), refused);
    // It would come back without.
    await assert.rejects(client.removeName(key), refused);
    assert.deepEqual(await client.names(), [{ ...key, confirm: true }]);
  }
  env["SSH_ASKPASS"] = askpass(it.home, "exit 0");
  await client.addName({ ...key, confirm: false });
  assert.deepEqual(await client.names(), [{ ...key, confirm: false }]);
});

/** A program that answers questions. */
function askpass({ folder }: TestHome, script: string): string {
  const path = join(folder, "askpass");
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

test("what is no request of ours is answered with an error or dropped, and the agent goes on", async () => {
  await using it = await place();
  const { home, client } = it;
  const bytes = Buffer.alloc(0);
  const requests = [
    encodeFrame({ header: { request: "toString" }, bytes }),
    encodeFrame({ header: { request: 1 }, bytes }),
    encodeFrame({ header: { request: "publicKey", path: 1 }, bytes }),
    encodeFrame({ header: { request: "decrypt", sealed: "x" }, bytes }),
    encodeFrame({ header: { request: "addName", kind: "x", name: "y", confirm: true }, bytes }),
    encodeFrame({ header: { request: "setLockAfter", lockAfter: -1 }, bytes }),
    encodeFrame({ header: { request: "unlock" }, bytes }),
    Buffer.from([0, 0, 0, 4, 0, 9, 0, 0]),
    Buffer.from([0, 0, 0, 4, 0, 2, 0x5b, 0x5d]),
    Buffer.from([0, 0x20, 0, 0]),
    Buffer.alloc(4),
  ];
  for (const request of requests) {
    const socket = connect(home.home.vaultSocket);
    socket.write(request);
    const [answer] = (await once(socket, "data")) as [Buffer];
    assert.match(answer.toString("latin1"), /"error":\{"code":"[A-Z_]+"/);
    socket.destroy();
  }
  const whole = encodeFrame({ header: { request: "status" }, bytes });
  for (let cut = 0; cut < whole.length; cut++) {
    const socket = connect(home.home.vaultSocket);
    socket.end(whole.subarray(0, cut));
    socket.resume();
    await once(socket, "close");
  }
  assert.equal((await client.status()).unlocked, false);
});

test("many clients are served at once; above the limit the oldest gives way", async () => {
  await using it = await place();
  const { home, client } = it;
  await client.unlock({ unlockKey });
  const statuses = await Promise.all(
    Array.from({ length: 128 }, () => vaultClient(home.home).status()),
  );
  assert.ok(statuses.every(({ unlocked }) => unlocked));
  const oldest = connect(home.home.sshAgentSocket);
  await once(oldest, "connect");
  const ended = once(oldest.resume(), "close");
  const crowd = Array.from({ length: 256 }, () => connect(home.home.sshAgentSocket));
  await ended;
  assert.notEqual(await askSsh(home, 11), NO_IDENTITIES);
  for (const socket of crowd) socket.destroy();
});
