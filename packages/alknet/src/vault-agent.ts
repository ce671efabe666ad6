/**
 * The vault's agent: opens the vault file once, and serves it on two sockets of the owner's until it is locked.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import type { Home } from "@alknet/core/home";
import { type Logger, silentLogger } from "@alknet/core/log";
import type { VaultOperations } from "./vault-agent-operations.ts";

export interface VaultAgentOptions {
  readonly home: Pick<Home, "run" | "vault" | "vaultSocket" | "sshAgentSocket">;
  /** Idle time after which it locks itself, in milliseconds; undefined: never. */
  readonly lockAfter: number | undefined;
  /** Where `SSH_ASKPASS`, `DISPLAY` and the like are looked up for keys that want to be confirmed. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** An agent that serves; disposing it locks, and removes the sockets. */
export interface VaultAgent extends VaultOperations, AsyncDisposable {
  /** Have `listener` called after each lock; secrets are gone by then. */
  onlock(listener: () => void): Disposable;
}

/**
 * Serve the vault of `home` on `vault.sock` and `ssh-agent.sock`; it begins locked.
 *
 * @throws {CommandError} `ALREADY_RUNNING` if an agent serves this folder: use `vaultClient`.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function createVaultAgent(options: VaultAgentOptions): Promise<VaultAgent> {
  const { clock = systemClock, logger = silentLogger } = options;
  throw new Error(`not written yet (${clock.now()}, ${typeof logger})`);
}
