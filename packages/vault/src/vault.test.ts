import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import keys from "../vectors/alknet-keys.json" with { type: "json" };
import blobs from "../vectors/encrypted-data.json" with { type: "json" };
import { ageIdentity, ageRecipient } from "./age-identity.ts";
import {
  ageKeyPath,
  deviceKeyPath,
  encryptionKeyPath,
  ETHEREUM_PATH,
  IDENTITY_PATH,
  pkarrKeyPath,
  SSH_HOST_PATH,
  sshKeyPath,
} from "./derivation-path.ts";
import { type EncryptedData, MAX_PLAINTEXT, parseEncryptedData } from "./encrypted-data.ts";
import { seedFromMnemonic } from "./mnemonic.ts";
import { sshFingerprint, sshPublicKeyLine } from "./openssh-key.ts";
import { pkarrPublicKey } from "./pkarr-key.ts";
import { createVault, type Vault } from "./vault.ts";

const PHRASE = Buffer.from(keys.phrase);
const SEED = Buffer.from(keys.seed, "hex");
const LOCKED = { name: "VaultError", code: "VAULT_LOCKED" };
const WRONG = { name: "VaultError", code: "DECRYPTION_FAILED" };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

function unlocked(options: Parameters<typeof createVault>[0] = {}): Vault {
  const vault = createVault(options);
  vault.unlockSeed(SEED);
  return vault;
}

type KeyVector = (typeof keys.vectors)[number];

/** For each use of a key: its path, made by us. */
const paths: Readonly<Record<string, (vector: KeyVector) => string>> = {
  identity: () => IDENTITY_PATH,
  device: ({ device }) => deviceKeyPath(device!),
  "ssh-host": () => SSH_HOST_PATH,
  encryption: ({ version }) => encryptionKeyPath(version!),
  ssh: ({ name }) => sshKeyPath(name),
  age: ({ name }) => ageKeyPath(name),
  pkarr: ({ name }) => pkarrKeyPath(name),
  ethereum: () => ETHEREUM_PATH,
};

test("the vectors of alknet-keys.json: paths, keys, and how others write them", () => {
  using vault = createVault();
  vault.unlock(PHRASE);
  assert.deepEqual(new Set(keys.vectors.map(({ use }) => use)), new Set(Object.keys(paths)));
  for (const vector of keys.vectors) {
    const { use, path, publicKey } = vector;
    assert.equal(paths[use]!(vector), path);
    if (use === "ethereum") {
      using key = vault.deriveEthereum();
      assert.deepEqual([hex(key.privateKey), hex(key.publicKey)], [vector.privateKey, publicKey]);
      continue;
    }
    const secret = vault.derivePrivate32(path);
    assert.equal(hex(secret), vector.privateKey, path);
    if (vector.ageRecipient !== undefined) {
      assert.equal(ageRecipient(secret), vector.ageRecipient);
      assert.equal(Buffer.from(ageIdentity(secret)).toString(), vector.ageIdentity);
    } else if (publicKey !== undefined) {
      using key = vault.deriveEd25519(path);
      assert.equal(hex(key.privateKey), vector.privateKey, path);
      assert.equal(hex(key.publicKey), publicKey, path);
      assert.equal(hex(vault.publicKey(path)), publicKey, path);
      if (vector.sshPublicKey !== undefined) {
        assert.equal(sshPublicKeyLine(key.publicKey, ""), vector.sshPublicKey);
        assert.equal(sshFingerprint(key.publicKey), vector.sshFingerprint);
      }
      if (vector.pkarrPublicKey !== undefined) {
        assert.equal(pkarrPublicKey(key.publicKey), vector.pkarrPublicKey);
      }
    }
  }
});

test("the vectors of encrypted-data.json: what opens, and what does not", () => {
  using vault = unlocked();
  for (const { sealed, context, plaintext } of blobs.opens) {
    assert.equal(hex(vault.decrypt(parseEncryptedData(sealed), { context })), plaintext);
  }
  for (const { why, sealed, context } of blobs.refused) {
    assert.throws(() => vault.decrypt(parseEncryptedData(sealed), { context }), WRONG, why);
  }
});

test("unlock() takes a phrase, with its passphrase or without: other words, other keys", () => {
  const identities = [undefined, bytes(""), bytes("TREZOR")].map((passphrase) => {
    using vault = createVault();
    vault.unlock(PHRASE, passphrase);
    return hex(vault.publicKey(IDENTITY_PATH));
  });
  assert.equal(identities[0], keys.vectors[0]!.publicKey);
  assert.equal(identities[1], identities[0]);
  assert.notEqual(identities[2], identities[0]);
});

test("a locked vault does nothing but unlock", () => {
  const vault = unlocked();
  const sealed = vault.encrypt(bytes("secret"));
  vault.lock();
  vault.lock();
  assert.equal(vault.unlocked, false);
  for (const use of [
    () => vault.deriveEd25519(IDENTITY_PATH),
    () => vault.publicKey(IDENTITY_PATH),
    () => vault.derivePrivate32(IDENTITY_PATH),
    () => vault.deriveEthereum(),
    () => vault.encrypt(bytes("secret")),
    () => vault.decrypt(sealed),
    () => vault.rotate(sealed, 3),
  ]) {
    assert.throws(use, LOCKED);
  }
  vault.unlock(PHRASE);
  assert.deepEqual(vault.decrypt(sealed), bytes("secret"));
});

test("an unlocked vault is not unlocked again, and stays as it was", () => {
  using vault = unlocked();
  const before = vault.publicKey(IDENTITY_PATH);
  const other = new Uint8Array(64).fill(1);
  for (const again of [
    () => vault.unlock(PHRASE),
    () => vault.unlockSeed(other),
    () => vault.unlockNew(12),
  ]) {
    assert.throws(again, { code: "ALREADY_UNLOCKED" });
  }
  assert.deepEqual(vault.publicKey(IDENTITY_PATH), before);
});

test("a vault that failed to unlock is locked", () => {
  const vault = createVault();
  assert.throws(() => vault.unlock(bytes("zoo ".repeat(12))), { code: "MNEMONIC_INVALID" });
  assert.throws(() => vault.unlock(bytes("[REDACTED]")), { code: "REDACTED_INPUT" });
  assert.throws(() => vault.unlockSeed(new Uint8Array(63)), { code: "DERIVATION_FAILED" });
  assert.equal(vault.unlocked, false);
});

test("unlockNew() gives a phrase that unlocks the same vault again", () => {
  using vault = createVault();
  const phrase = vault.unlockNew(24);
  const before = vault.publicKey(IDENTITY_PATH);
  vault.lock();
  vault.unlock(phrase);
  assert.deepEqual(vault.publicKey(IDENTITY_PATH), before);
});

test("unlockSeed() takes a copy: the caller's may be wiped", () => {
  using vault = createVault();
  const seed = Uint8Array.from(SEED);
  vault.unlockSeed(seed);
  seed.fill(0);
  assert.equal(hex(vault.publicKey(IDENTITY_PATH)), keys.vectors[0]!.publicKey);
});

test("onlock() hears each lock after it, until it is disposed of", () => {
  using vault = unlocked();
  const heard: boolean[] = [];
  const listener = (): void => void heard.push(vault.unlocked);
  using first = vault.onlock(listener);
  const second = vault.onlock(listener);
  vault.lock();
  vault.lock();
  assert.deepEqual(heard, [false, false]);
  second[Symbol.dispose]();
  vault.unlock(PHRASE);
  vault.lock();
  assert.equal(heard.length, 3);
  assert.ok(first);
});

test("keys that were handed out stand after a lock, and are the holder's alone", () => {
  using vault = unlocked();
  using key = vault.deriveEd25519(IDENTITY_PATH);
  const secret = vault.derivePrivate32(IDENTITY_PATH);
  vault.publicKey(IDENTITY_PATH).fill(0);
  vault.deriveEd25519(IDENTITY_PATH)[Symbol.dispose]();
  vault.lock();
  assert.equal(hex(key.privateKey), keys.vectors[0]!.privateKey);
  assert.equal(hex(secret), keys.vectors[0]!.privateKey);
  vault.unlockSeed(SEED);
  assert.equal(hex(vault.publicKey(IDENTITY_PATH)), keys.vectors[0]!.publicKey);
});

test("spellings of a path are one key", () => {
  using vault = unlocked();
  using key = vault.deriveEd25519("m/74h/0h/0'/0h");
  assert.equal(key.path, IDENTITY_PATH);
});

test("Ed25519 refuses paths that are not hardened, secp256k1 takes them", () => {
  using vault = unlocked();
  for (const derive of [
    () => vault.deriveEd25519(ETHEREUM_PATH),
    () => vault.publicKey("m/0"),
    () => vault.derivePrivate32("m/74'/2'/0'/0"),
    () => vault.deriveEthereum("m/0''"),
  ]) {
    assert.throws(derive, { code: "INVALID_PATH" });
  }
  using key = vault.deriveEthereum(ETHEREUM_PATH);
  assert.equal(key.publicKey.length, 33);
});

test("one path has a key of its own on each curve", () => {
  using vault = unlocked();
  using one = vault.deriveEd25519("m/0'");
  using other = vault.deriveEthereum("m/0'");
  assert.notDeepEqual(one.privateKey, other.privateKey);
});

test("a cache that is full or old changes no key", () => {
  const time = { now: 0 };
  using vault = unlocked({ cacheSize: 2, cacheTtl: 10, now: () => time.now });
  for (const { use, path, publicKey } of [...keys.vectors, ...keys.vectors]) {
    time.now += 3;
    if (use === "age" || use === "ethereum" || publicKey === undefined) continue;
    assert.equal(hex(vault.publicKey(path)), publicKey, path);
  }
});

test("createVault() refuses a cache without room or with a time that is none", () => {
  assert.throws(() => createVault({ cacheSize: 0 }), RangeError);
  assert.throws(() => createVault({ cacheSize: 1.5 }), RangeError);
  assert.throws(() => createVault({ cacheTtl: Number.NaN }), RangeError);
});

test("decrypt() undoes encrypt(), for any bytes, context and version", () => {
  using vault = unlocked();
  const context = fc.option(fc.string({ minLength: 1, unit: "grapheme" }), { nil: undefined });
  const version = fc.option(fc.integer({ min: 2, max: 5 }), { nil: undefined });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), context, version, (plain, context, version) => {
      const sealed = vault.encrypt(plain, { context, version });
      assert.equal(sealed.key_version, version ?? 2);
      assert.deepEqual([sealed.salt.length, sealed.iv.length], [32, 12]);
      assert.equal(sealed.data.length, plain.length + 16);
      assert.deepEqual(vault.decrypt(sealed, { context }), plain);
    }),
  );
});

test("equal plaintexts are sealed differently", () => {
  using vault = unlocked();
  const [one, other] = [vault.encrypt(bytes("same")), vault.encrypt(bytes("same"))];
  for (const key of ["iv", "salt", "data"] as const) assert.notDeepEqual(one[key], other[key]);
});

test("sealed data opens with its own context only", () => {
  using vault = unlocked();
  const sealed = vault.encrypt(bytes("secret"), { context: "credential:github" });
  const bare = vault.encrypt(bytes("secret"));
  for (const context of [undefined, "credential:gitlab", "credential:github ", "credential:"]) {
    assert.throws(() => vault.decrypt(sealed, { context }), WRONG, context);
  }
  assert.throws(() => vault.decrypt(bare, { context: "credential:github" }), WRONG);
});

test("a context is not empty, and has bytes of its own", () => {
  using vault = unlocked();
  const sealed = vault.encrypt(bytes("secret"));
  for (const context of ["", "\ud800", "a\udc00"]) {
    assert.throws(() => vault.encrypt(bytes("secret"), { context }), RangeError);
    assert.throws(() => vault.decrypt(sealed, { context }), RangeError);
  }
});

test("no bit of a blob can be flipped but those of the salt, which has no role", () => {
  using vault = unlocked();
  const context = "credential:github";
  const sealed = vault.encrypt(bytes("secret"), { context });
  for (const field of ["iv", "data"] as const) {
    for (let bit = 0; bit < sealed[field].length * 8; bit += 1) {
      const flipped = sealed[field].slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => vault.decrypt({ ...sealed, [field]: flipped }, { context }), WRONG);
    }
  }
  for (let bit = 0; bit < 31; bit += 1) {
    const flipped = { ...sealed, key_version: sealed.key_version ^ (1 << bit) };
    assert.throws(
      () => vault.decrypt(flipped, { context }),
      ({ code }: { code?: unknown }) =>
        ["DECRYPTION_FAILED", "INVALID_PATH", "ENCRYPTED_DATA_INVALID"].includes(code as string),
    );
  }
});

test("a blob that was cut or made longer does not open", () => {
  using vault = unlocked();
  const sealed = vault.encrypt(bytes("secret"));
  for (let end = 0; end < sealed.data.length; end += 1) {
    const data = sealed.data.subarray(0, end);
    const code = end < 16 ? "ENCRYPTED_DATA_INVALID" : "DECRYPTION_FAILED";
    assert.throws(() => vault.decrypt({ ...sealed, data }), { code });
  }
  const longer = Buffer.concat([sealed.data, Buffer.alloc(1)]);
  assert.throws(() => vault.decrypt({ ...sealed, data: longer }), WRONG);
  for (const field of ["salt", "iv"] as const) {
    const cut = { ...sealed, [field]: sealed[field].subarray(1) };
    assert.throws(() => vault.decrypt(cut), { code: "ENCRYPTED_DATA_INVALID" });
  }
});

test("version 1 is refused by its number, in both directions", () => {
  using vault = unlocked();
  const sealed: EncryptedData = { ...vault.encrypt(bytes("secret")), key_version: 1 };
  assert.throws(() => vault.decrypt(sealed), { code: "INVALID_PATH" });
  assert.throws(() => vault.rotate(sealed, 2), { code: "INVALID_PATH" });
  assert.throws(() => vault.encrypt(bytes("secret"), { version: 1 }), { code: "INVALID_PATH" });
});

test("rotate() seals under another version, with the same context; the old one still opens", () => {
  using vault = unlocked();
  const context = "credential:github";
  const old = vault.encrypt(bytes("secret"), { context });
  const rotated = vault.rotate(old, 3, { context });
  assert.equal(rotated.key_version, 3);
  assert.deepEqual(vault.decrypt(rotated, { context }), bytes("secret"));
  assert.deepEqual(vault.decrypt(old, { context }), bytes("secret"));
  assert.throws(() => vault.rotate(old, 3), WRONG);
  assert.throws(() => vault.rotate(old, 1, { context }), { code: "INVALID_PATH" });
});

test("encrypt() refuses more than its most", () => {
  using vault = unlocked();
  assert.throws(() => vault.encrypt(new Uint8Array(MAX_PLAINTEXT + 1)), RangeError);
});

test("a vault shows that it is unlocked, and [REDACTED]", () => {
  using vault = unlocked();
  vault.publicKey(IDENTITY_PATH);
  const shown = { unlocked: true, seed: "[REDACTED]" };
  assert.deepEqual(JSON.parse(JSON.stringify(vault)), shown);
  assert.equal(String(vault as unknown), JSON.stringify(shown));
  assert.equal(inspect(vault, { showHidden: true }), inspect(shown));
});

test("no error of a vault tells a secret", () => {
  using vault = unlocked();
  const sealed = vault.encrypt(bytes("open sesame"), { context: "credential:github" });
  const secrets = [keys.seed, keys.phrase, "sesame", keys.vectors[0]!.privateKey];
  for (const fail of [
    () => vault.unlock(PHRASE),
    () => vault.decrypt(sealed),
    () => vault.deriveEd25519("m/0"),
    () => vault.encrypt(bytes("open sesame"), { version: 1 }),
    () => vault.unlock(bytes(`${keys.phrase} about`)),
  ]) {
    assert.throws(fail, (error: Error) => {
      const text = `${inspect(error)}${JSON.stringify(error)}${error.stack}`;
      return secrets.every((secret) => !text.includes(secret));
    });
  }
});

test("the seed of the vectors is that of their phrase", () => {
  assert.equal(hex(seedFromMnemonic(PHRASE)), keys.seed);
});
