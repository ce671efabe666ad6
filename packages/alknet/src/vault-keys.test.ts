import assert from "node:assert/strict";
import { test } from "node:test";
import { IDENTITY_PATH, SSH_HOST_PATH } from "@alknet/vault/derivation-path";
import { sshFingerprint } from "@alknet/vault/openssh-key";
import { startAgent, vaultHome } from "./testing-vault.ts";
import { vaultKeys } from "./vault-keys.ts";

test("vaultKeys() gives the node's identity, and another key to show to clients of SSH", async () => {
  using home = await vaultHome();
  await using agent = await startAgent(home);
  const { identity, hostKey } = await vaultKeys(agent);
  assert.deepEqual(identity.publicKey, await agent.publicKey(IDENTITY_PATH));
  assert.equal(hostKey.fingerprint, sshFingerprint(await agent.publicKey(SSH_HOST_PATH)));
  assert.notEqual(hostKey.fingerprint, sshFingerprint(identity.publicKey));
});
