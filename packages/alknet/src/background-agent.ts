/**
 * An agent of the vault in a process of its own, which goes on when this one ends.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { CommandError } from "./command-error.ts";
import type { Context } from "./context.ts";
import { runningVault } from "./running-vault.ts";
import { vaultClient } from "./vault-agent-client.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";

/**
 * Start one in the background, and wait until it answers; it is locked, unless a key of this machine opens it.
 *
 * @throws {CommandError} `AGENT_NOT_STARTED`
 */
export async function startAgent({
  home,
  program,
}: Pick<Context, "home" | "program">): Promise<VaultAgentOperations> {
  const agent = [...program, "vault", "agent", "--json"];
  const child = spawn(...withoutCore(agent), {
    // The home is that of this process. A session of its own: a Ctrl-C here is not meant for it.
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let document = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    document += text;
    if (document.endsWith("\n")) child.emit("document");
  });
  await Promise.race([once(child, "document"), once(child, "close")]);
  const { pid, error } = parseDocument(document);
  if (pid === undefined) {
    // Another shell may have started one at the same time, and was faster.
    const other = await runningVault({ home });
    if (other !== undefined) return other;
    throw new CommandError(`cannot start the agent: ${error?.message ?? "it ended at once"}`, {
      code: "AGENT_NOT_STARTED",
      hint: error?.hint ?? "see what it says: alknet vault agent",
    });
  }
  child.stdout.destroy();
  child.unref();
  return vaultClient(home);
}

/** What `alknet vault agent --json` says of itself: that it serves, or why it does not. */
interface AgentDocument {
  readonly pid?: number;
  readonly error?: { readonly message: string; readonly hint?: string };
}

function parseDocument(text: string): AgentDocument {
  return text.endsWith("\n") ? (JSON.parse(text) as AgentDocument) : {};
}

/** How long an agent that was told to end is waited for, in milliseconds, and how often it is looked for. */
const PATIENCE = 5_000;
const PAUSE = 20;

/** End the agent of this folder, which is not a node's, and wait until it has gone. */
export async function endAgent(agent: VaultAgentOperations): Promise<void> {
  const { pid } = await agent.status();
  // First: whatever becomes of the process, it has no secrets any more.
  await agent.lock();
  process.kill(pid, "SIGTERM");
  // Its sockets go first; until the process has, it may still write into the folder.
  for (let waited = 0; waited < PATIENCE && isRunning(pid); waited += PAUSE) {
    await setTimeout(PAUSE);
  }
}

/** Whether there is such a process. One that has ended, and that nobody has asked after, is none. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** Where there is a shell, have the system write no core file: memory has keys in it. Node cannot set that limit itself. */
function withoutCore([command = "", ...args]: readonly string[]): [
  command: string,
  args: string[],
] {
  if (process.platform === "win32") return [command, args];
  return ["/bin/sh", ["-c", 'ulimit -c 0; exec "$@"', "sh", command, ...args]];
}
