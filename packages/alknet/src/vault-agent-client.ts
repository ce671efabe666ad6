/**
 * Asking the vault's agent over `vault.sock`.
 *
 * @module
 */

import { connect } from "node:net";
import type { Home } from "@alknet/core/home";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import { secretCopy, wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "./command-error.ts";
import { exitCodeOf } from "./explain.ts";
import { checkOwner, isNobody } from "./owner-socket.ts";
import {
  createFrameReader,
  encodeFrame,
  type Frame,
  VaultFrameError,
} from "./vault-agent-frame.ts";
import {
  MAX_AGENT_PLAINTEXT,
  type VaultAgentOperations,
  type VaultAgentStatus,
} from "./vault-agent-operations.ts";
import { sealedFrame, sealedOf } from "./vault-agent-sealed.ts";

/** Time for an answer to come, in milliseconds. */
const DEADLINE = 30_000;
/** Of `unlock`: argon2id may have been given much to do. */
const UNLOCK_DEADLINE = 600_000;

/**
 * The vault of the agent that runs in this folder. Each call is a connection of its own: there is nothing to close.
 *
 * All reject with a {@linkcode CommandError}: `VAULT_AGENT_NOT_RUNNING` if there is no agent, `NOT_ANSWERING` if it
 * hangs, what it answers as its error, with the exit code for that: `VAULT_LOCKED` has 5.
 */
export function vaultClient(home: Pick<Home, "run" | "vaultSocket">): VaultAgentOperations {
  const ask = (request: string, params: Frame["header"] = {}, bytes?: Uint8Array): Promise<Frame> =>
    askAgent(home, { header: { request, ...params }, bytes: bytes ?? new Uint8Array() });

  return {
    async status() {
      return (await ask("status")).header as unknown as VaultAgentStatus;
    },
    async unlock(using) {
      const { passphrase, unlockKey } = using;
      await (passphrase === undefined
        ? ask("unlock", { with: "unlockKey" }, unlockKey)
        : ask("unlock", { with: "passphrase" }, passphrase));
    },
    async lock() {
      await ask("lock");
    },
    async setLockAfter(lockAfter) {
      await ask("setLockAfter", { lockAfter });
    },
    async publicKey(path) {
      return (await ask("publicKey", { path })).bytes;
    },
    async ageRecipient(name) {
      return String((await ask("ageRecipient", { name })).header["recipient"]);
    },
    async encrypt(plaintext, options = {}) {
      if (plaintext.length > MAX_AGENT_PLAINTEXT) throw tooLong(plaintext.length);
      return sealedOf(await ask("encrypt", { ...options }, plaintext));
    },
    async decrypt(sealed, options = {}) {
      const { header, bytes } = sealedFrame(sealed);
      return (await ask("decrypt", { ...header, ...options }, bytes)).bytes;
    },
    async rotate(sealed, toVersion, options = {}) {
      const { header, bytes } = sealedFrame(sealed);
      return sealedOf(await ask("rotate", { ...header, ...options, toVersion }, bytes));
    },
    async names() {
      return (await ask("names")).header["names"] as readonly NamedKey[];
    },
    async addName(key) {
      await ask("addName", { ...key });
    },
    async removeName({ kind, name }) {
      return (await ask("removeName", { kind, name })).header["removed"] === true;
    },
    async nodeKeys() {
      const { bytes } = await ask("nodeKeys");
      const keys = {
        identity: secretCopy(bytes.subarray(0, 32)),
        sshHost: secretCopy(bytes.subarray(32)),
      };
      wipe(bytes);
      return keys;
    },
  };
}

/** @returns the answer, whose bytes are the caller's to wipe. */
async function askAgent(
  { run, vaultSocket }: Pick<Home, "run" | "vaultSocket">,
  request: Frame,
): Promise<Frame> {
  checkOwner({ run, socket: vaultSocket }, notRunning);
  const frame = encodeFrame(request);
  const reader = createFrameReader();
  const socket = connect({ path: vaultSocket, allowHalfOpen: true });
  const deadline = request.header["request"] === "unlock" ? UNLOCK_DEADLINE : DEADLINE;
  socket.setTimeout(deadline, () => socket.destroy(silent()));
  socket.write(frame);
  try {
    for await (const chunk of socket) {
      const answer = reader.push(chunk as Buffer);
      if (answer !== undefined) return unlessError(answer);
    }
    throw new CommandError("the vault's agent has hung up", { code: "NOT_ANSWERING" });
  } catch (error) {
    reader.wipe();
    if (error instanceof CommandError || error instanceof VaultFrameError) throw error;
    if (isNobody(error)) throw notRunning();
    throw new CommandError(`cannot ask the vault's agent: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    wipe(frame);
    socket.destroy();
  }
}

function unlessError(answer: Frame): Frame {
  const error = answer.header["error"] as
    | { code: string; message: string; hint?: string }
    | undefined;
  if (error === undefined) return answer;
  const { code, message, hint } = error;
  // As where the vault is open in this process.
  throw new CommandError(message, { code, hint, exitCode: exitCodeOf(code) });
}

function tooLong(length: number): CommandError {
  return new CommandError(
    `cannot seal ${length} bytes through the agent: at most ${MAX_AGENT_PLAINTEXT}`,
    { code: "TOO_LONG" },
  );
}

function silent(): CommandError {
  return new CommandError("the vault's agent runs and does not answer", {
    code: "NOT_ANSWERING",
    hint: "end it, and start it again: alknet vault agent --background",
  });
}

function notRunning(): CommandError {
  return new CommandError("no vault agent is running in this folder", {
    code: "VAULT_AGENT_NOT_RUNNING",
    hint: "start it with: alknet vault agent --background",
    exitCode: ExitCode.VAULT_LOCKED,
  });
}
