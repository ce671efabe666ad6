import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryDatabase } from "@alknet/core/memory-store";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import { createVault } from "@alknet/vault/vault";
import {
  MAX_SECRET,
  newestVersion,
  openCredential,
  resealCredential,
  sealCredential,
} from "./sealed-credential.ts";
import type { VaultOperations } from "./vault-agent-operations.ts";

type Sealing = Pick<VaultOperations, "encrypt" | "decrypt" | "rotate">;

/** A vault as programs have it over a socket: with promises. */
function sealing(seed = 1): Sealing {
  const vault = createVault();
  vault.unlockSeed(new Uint8Array(64).fill(seed));
  return {
    encrypt: async (plaintext, options) => vault.encrypt(plaintext, options),
    decrypt: async (sealed, options) => vault.decrypt(sealed, options),
    rotate: async (sealed, version, options) => vault.rotate(sealed, version, options),
  };
}

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

test("sealCredential() and openCredential() give back every byte, up to the most that can be kept", async () => {
  await using store = await new MemoryDatabase().open();
  const vault = sealing();
  const { credentials } = store;
  for (const secret of [
    bytes("token"),
    Uint8Array.from({ length: 256 }, (_, at) => at),
    new Uint8Array(MAX_SECRET).fill(7),
  ]) {
    await credentials.put("github", await sealCredential(vault, credentials, "github", secret));
    const opened = await openCredential(vault, "github", credentials.get("github")!);
    assert.deepEqual(Buffer.from(opened), Buffer.from(secret));
  }
  const large = await sealCredential(vault, credentials, "x", new Uint8Array(MAX_SECRET + 1));
  await assert.rejects(credentials.put("x", large), { name: "RangeError" });
});

test("a credential does not open in the row of another, nor in another vault, nor with a bit turned", async () => {
  await using store = await new MemoryDatabase().open();
  const vault = sealing();
  const value = await sealCredential(vault, store.credentials, "github", bytes("token"));
  const turned = { ...value, data: value.data.map((byte, at) => (at === 3 ? byte ^ 1 : byte)) };
  const wrong = {
    name: "CommandError",
    code: "DECRYPTION_FAILED",
    message: /^credential gitlab: cannot open/,
    hint: /alknet credential set gitlab$/,
  };
  const mine = await sealCredential(vault, store.credentials, "gitlab", bytes("token"));
  await assert.rejects(openCredential(vault, "gitlab", value), wrong);
  await assert.rejects(openCredential(sealing(2), "gitlab", mine), wrong);
  await assert.rejects(openCredential(vault, "gitlab", turned), wrong);
  await assert.rejects(resealCredential(vault, "gitlab", value, 3), wrong);
  await assert.rejects(openCredential(vault, "gitlab", { ...mine, key_version: 1 }), {
    name: "CommandError",
    code: "INVALID_PATH",
  });
  assert.deepEqual(await openCredential(vault, "gitlab", mine), bytes("token"));
});

test("what is wrong with the vault, and not with the row, is said as the vault says it", async () => {
  const locked = createVault();
  const vault: Sealing = {
    ...sealing(),
    decrypt: async (value, options) => locked.decrypt(value, options),
  };
  await using store = await new MemoryDatabase().open();
  const value = await sealCredential(vault, store.credentials, "github", bytes("token"));
  await assert.rejects(openCredential(vault, "github", value), {
    name: "VaultError",
    code: "VAULT_LOCKED",
  });
});

test("after all were sealed anew, a new one is sealed under the same version", async () => {
  await using store = await new MemoryDatabase().open();
  const vault = sealing();
  const { credentials } = store;
  const set = async (provider: string): Promise<void> => {
    const value = await sealCredential(vault, credentials, provider, bytes(`of ${provider}`));
    await credentials.put(provider, value);
  };
  assert.equal(newestVersion(credentials), 2);
  await set("a");
  await set("b");
  await credentials.reseal(3, (provider, value) => resealCredential(vault, provider, value, 3));
  await set("c");
  assert.deepEqual(
    credentials.list().map(({ value }) => value.key_version),
    [3, 3, 3],
  );
  for (const { provider, value } of credentials.list()) {
    assert.deepEqual(await openCredential(vault, provider, value), bytes(`of ${provider}`));
  }
  // A number that no vault has a key for is not what the next one is sealed under.
  const { value } = credentials.list()[0]!;
  await credentials.put("odd", { ...value, key_version: Number.MAX_SAFE_INTEGER });
  assert.equal(newestVersion(credentials), 3);
});

test("no file of the store ever has a secret in it, while it is written and afterwards", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-sealed-"));
  try {
    const vault = sealing();
    const secrets = Array.from(
      { length: 20 },
      (_, at) => `plaintext of number ${at} ${"x".repeat(at)}`,
    );
    const inFiles = (text: string): boolean =>
      readdirSync(folder).some((name) => readFileSync(join(folder, name)).includes(text));
    {
      await using store = await openSqliteStore({ path: join(folder, "alknet.db") });
      const { credentials } = store;
      for (const [at, secret] of secrets.entries()) {
        const value = await sealCredential(vault, credentials, `p${at}`, bytes(secret));
        await credentials.put(`p${at}`, value);
      }
      await credentials.reseal(3, (provider, value) => resealCredential(vault, provider, value, 3));
      await credentials.delete("p0");
      assert.ok(readdirSync(folder).includes("alknet.db-wal"));
      assert.ok(inFiles("credential.reseal"), "what is looked for is found where it is");
      assert.ok(!inFiles("plaintext of number"));
    }
    assert.ok(inFiles("credential.reseal"));
    assert.ok(!inFiles("plaintext of number"));
    for (const secret of secrets)
      assert.ok(!inFiles(Buffer.from(secret).toString("base64").slice(0, 20)));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
