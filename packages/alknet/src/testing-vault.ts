/**
 * For tests of what needs a vault: a folder with one, and an agent that has it open.
 *
 * @module
 */

import { createVaultFile } from "@alknet/vault/vault-file";
import { testHome, type TestHome } from "./testing.ts";
import { createVaultAgent, type VaultAgent } from "./vault-agent.ts";

export const PASSPHRASE = "correct horse battery staple";

/** A folder with a vault in it, always of the same seed; disposing removes it. */
export async function vaultHome(): Promise<TestHome> {
  const home = testHome();
  const [entropy, seed] = [new Uint8Array(32).fill(1), new Uint8Array(64).fill(2)];
  const secrets = { entropy, seed, passphraseUsed: false, names: [] };
  using _made = await createVaultFile(home.home.vault, secrets, Buffer.from(PASSPHRASE));
  return home;
}

/** An agent in this process, unlocked. */
export async function startAgent({ home }: TestHome): Promise<VaultAgent> {
  const agent = await createVaultAgent({ home, lockAfter: undefined });
  await agent.unlock({ passphrase: Buffer.from(PASSPHRASE) });
  return agent;
}
