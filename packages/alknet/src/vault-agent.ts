/**
 * The vault's agent: opens the vault file once, and serves it on two sockets of the owner's until it is locked.
 *
 * `vault.sock` is for Alknet's own programs. `ssh-agent.sock` speaks the SSH agent protocol and nothing else, so that
 * forwarding it hands nobody more than SSH signatures, by the named SSH keys alone.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import type { Home } from "@alknet/core/home";
import { type Logger, silentLogger } from "@alknet/core/log";
import { type LogDigest, logDigest } from "@alknet/core/log-digest";
import { createSshAgent } from "@alknet/vault/ssh-agent";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import { collectGarbage } from "./collect-garbage.ts";
import { CommandError } from "./command-error.ts";
import { holdVault } from "./held-vault.ts";
import { serveOwner } from "./owner-socket.ts";
import { createAskpass, silenceQuestion, useQuestion } from "./vault-agent-askpass.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";
import { serveVaultClient } from "./vault-agent-server.ts";

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
export interface VaultAgent extends VaultAgentOperations, AsyncDisposable {
  /** Have `listener` called after each lock; secrets are gone by then. */
  onlock(listener: () => void): Disposable;
}

/** For a person to say that a key may do without a question, in milliseconds: less than a client waits. */
const SILENCE_DEADLINE = 25_000;

/** Clients at once on each socket. */
const MAX_CLIENTS = 256;

/**
 * Serve the vault of `home` on `vault.sock` and `ssh-agent.sock`; it begins locked.
 *
 * @throws {CommandError} `ALREADY_RUNNING` if an agent serves this folder: use `vaultClient`.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function createVaultAgent(options: VaultAgentOptions): Promise<VaultAgent> {
  const { home, lockAfter, env = process.env } = options;
  const { logger = silentLogger, clock = systemClock } = options;
  const refusals = refusalLog(logger, clock);
  const refused = (reason: string): void => refusals.add(reason, reason);
  const vault = holdVault({ file: home.vault, lockAfter, clock });
  const askpass = createAskpass(env, refused);
  const sshAgent = createSshAgent({
    keys: () => vault.sshKeys(),
    confirm: (use, signal) => askpass.ask(useQuestion(use), signal),
    onsigned: ({ comment }, { kind }) => logger.debug({ key: comment, kind }, "signed for SSH"),
    onrefused: refused,
    now: () => clock.now(),
  });
  let collected: Promise<void> | undefined;
  vault.onlock(() => {
    sshAgent.forget();
    collected = collectGarbage();
    logger.info({}, "the vault is locked");
  });

  /** A question that everybody on the socket could take away would be none. @throws {CommandError} `NOT_CONFIRMED` */
  async function maySilence({ kind, name }: Pick<NamedKey, "kind" | "name">): Promise<void> {
    const names = await vault.names();
    const found = names.find((each) => each.kind === kind && each.name === name);
    if (kind !== "ssh" || found?.confirm !== true) return;
    if (await askpass.ask(silenceQuestion(name), clock.timeout(SILENCE_DEADLINE))) return;
    throw new CommandError(
      `SSH key "${name}" asks before each use, and nobody said that it need not`,
      {
        code: "NOT_CONFIRMED",
        hint: "with the passphrase it can be done without the agent: alknet vault agent --stop, then the same",
      },
    );
  }

  const agent: VaultAgentOperations = {
    ...vault,
    async status() {
      return {
        ...(await vault.status()),
        sshAgentSocket: home.sshAgentSocket,
        sshAgentLocked: sshAgent.locked,
      };
    },
    async lock() {
      await vault.lock();
      await collected;
    },
    async unlock(using) {
      await vault.unlock(using);
      logger.info({}, "the vault is unlocked");
    },
    async addName(key) {
      if (!key.confirm) await maySilence(key);
      await vault.addName(key);
    },
    async removeName(key) {
      await maySilence(key);
      return await vault.removeName(key);
    },
  };

  await using serving = new AsyncDisposableStack();
  serving.use(vault);
  serving.defer(() => refusals.flush());
  const limits = { maxClients: MAX_CLIENTS, taken: alreadyRunning };
  const { run, vaultSocket, sshAgentSocket } = home;
  serving.use(
    await serveOwner({ run, socket: vaultSocket }, (it) => serveVaultClient(it, agent), limits),
  );
  serving.use(
    await serveOwner({ run, socket: sshAgentSocket }, (it) => sshAgent.serve(it), limits),
  );
  const served = serving.move();
  return {
    ...agent,
    onlock: (listener) => vault.onlock(listener),
    [Symbol.asyncDispose]: () => served.disposeAsync(),
  };
}

/** Who has the agent forwarded can bring these about as often as they like. */
function refusalLog(logger: Logger, clock: Clock): LogDigest<string> {
  return logDigest<string>({
    each: 3,
    one: (reason) => logger.warn({}, `vault agent: ${reason}`),
    more: (count, last, mixed) =>
      logger.warn({ count }, mixed ? "vault agent: further refusals" : `vault agent: ${last}`),
    quiet: (reason) => logger.debug({}, `vault agent: ${reason}`),
    clock,
  });
}

function alreadyRunning(): CommandError {
  return new CommandError("a vault agent of this folder is running already", {
    code: "ALREADY_RUNNING",
    hint: "see it with: alknet vault status",
  });
}
