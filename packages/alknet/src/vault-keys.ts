/**
 * The keys that a node has of its vault.
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import { identityFromKey, type NodeIdentity } from "@alknet/core/identity-file";
import { wipe } from "@alknet/vault/wipe";
import { type HostKey, hostKeyOf } from "./host-key.ts";
import type { VaultOperations } from "./vault-agent-operations.ts";

/** What the node presents: its identity, and to clients of SSH its host key. */
export interface VaultKeys {
  readonly identity: NodeIdentity;
  readonly hostKey: HostKey;
}

/** The keys that an unlocked vault gives. @throws `VAULT_LOCKED` */
export async function vaultKeys(vault: VaultOperations): Promise<VaultKeys> {
  const { identity: key, sshHost } = await vault.nodeKeys();
  try {
    const format = { format: "raw-private", asymmetricKeyType: "ed25519" } as const;
    return {
      identity: identityFromKey(createPrivateKey({ key, ...format })),
      hostKey: hostKeyOf(sshHost),
    };
  } finally {
    wipe(key, sshHost);
  }
}
