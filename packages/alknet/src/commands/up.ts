/**
 * `alknet up`: run the node of this machine until it is told to stop.
 *
 * @module
 */

import { once } from "node:events";
import { flushCompileCache } from "node:module";
import { dirname } from "node:path";
import { loadConfig } from "@alknet/core/config-file";
import { watchConfig } from "@alknet/core/config-watch";
import { formatHostPort } from "@alknet/core/host";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { askNode, serveControl } from "../control.ts";
import { nodeHostKey } from "../host-key.ts";
import { setHeapBudget } from "../heap-budget.ts";
import { createLogger } from "../log.ts";
import { startNode } from "../node.ts";
import { createNodeCalls } from "../node-calls.ts";
import { holdNodeVault } from "../node-vault.ts";
import { openStore } from "../open-store.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { checkRecordings } from "../recordings-folder.ts";
import { systemdNotifier } from "../systemd.ts";
import { printFields, printJson, say, type Terminal } from "../terminal.ts";

export interface UpOptions extends PassphraseFlags {
  readonly json: boolean;
  readonly verbose: boolean;
}

export async function up(
  context: Context,
  { json, verbose, passphraseStdin }: UpOptions,
): Promise<void> {
  const { home, terminal, interrupted, version } = context;
  setHeapBudget();
  const config = await loadConfig(home.config);
  const logger = await createLogger({
    level: verbose ? "debug" : config.log.level,
    human: terminal.words.isTerminal,
    write: (text) => terminal.words.write(text),
  });
  const tellSystemd = systemdNotifier({ socket: process.env["NOTIFY_SOCKET"], logger });
  checkRecordings(config);
  await using vault = await holdNodeVault(context, config, logger, { passphraseStdin });
  const { identity } = vault;
  const { fingerprint } = identity;
  await using store = await openStore(context, config, logger);
  const calls = createNodeCalls({ strangers: config.call.strangers, logger });
  const node = await startNode({
    config,
    identity,
    hostKey: nodeHostKey(home, config, vault.hostKey),
    ownPaths: [home.controlSocket, home.vaultSocket, home.sshAgentSocket],
    ownFolders: [dirname(home.config), dirname(home.database), home.run],
    store,
    calls: calls.handler,
    version,
    logger,
  }).catch(async (error: NodeJS.ErrnoException) => {
    throw await portTaken(context, config.listen.map(formatHostPort), error);
  });
  try {
    using watch = watchConfig(config, {
      onchange(next) {
        const cut = node.reconfigure(next);
        logger.level = verbose ? "debug" : next.log.level;
        vault.reconfigure(next);
        return cut;
      },
      logger,
    });
    // A mistake is in the log then, and in the status.
    using _hangup = context.onhangup?.(() => {
      void tellSystemd("reloading");
      const reload = watch.reload().catch(() => {});
      void reload.then(() => tellSystemd("ready"));
    });
    await using _control = await serveControl(home, (connection) =>
      calls.handler.handle(connection),
    );
    const { addresses, ticket } = node;
    if (json) printJson(terminal, { fingerprint, addresses, ticket, pid: process.pid });
    else {
      printFields(terminal, [
        ["fingerprint", fingerprint],
        ...addresses.map((address): [string, string] => ["address", address]),
        ["ticket", ticket],
      ]);
      if (terminal.words.isTerminal) nextSteps(terminal, node.status().peers === 0);
    }
    // A person has just read the rest.
    logger.info(
      terminal.words.isTerminal ? {} : { fingerprint, addresses, pid: process.pid },
      "ready",
    );
    void tellSystemd("ready");
    await calls.begin({ node, store, configuration: watch, vault });
    // A node that is killed later has left its compiled code for the next start.
    flushCompileCache();

    if (!interrupted.aborted) await once(interrupted, "abort");
    logger.info({}, "draining; once more to end now");
    const told = tellSystemd("stopping");
    await Promise.all([node.close(), told]);
    logger.info({}, "stopped");
  } finally {
    await node.close();
  }
}

function nextSteps(terminal: Terminal, first: boolean): void {
  if (first) {
    say(terminal, "\nNobody is let in yet. Invite another machine:\n");
    say(terminal, "  alknet invite --name laptop --grant ssh:shell tunnel:dial:localhost:5432\n");
    say(terminal, "and over there join with what that prints: alknet join INVITATION");
    return;
  }
  say(terminal, "\nOn the other machine, with the ticket above:");
  say(terminal, "  alknet ping TICKET");
  say(terminal, "  alknet ssh TICKET");
  say(terminal, "  alknet forward TICKET 5432:localhost:5432\n");
}

/** The system says only that the port is taken; often by a node that was forgotten. */
async function portTaken(
  { home }: Context,
  listen: readonly string[],
  error: NodeJS.ErrnoException,
): Promise<Error> {
  // What says already which port it is.
  if (error.code !== "EADDRINUSE" || error instanceof CommandError) return error;
  const running = await askNode(home, (node) => node.status()).then(
    () => true,
    (cause: unknown) => cause instanceof CommandError && cause.code === "NOT_ANSWERING",
  );
  if (running) {
    return new CommandError("a node of this folder is running already", {
      code: "ALREADY_RUNNING",
      hint: "see it with: alknet status",
      cause: error,
    });
  }
  return new CommandError(`cannot listen on ${listen.join(", ")}: the port is taken`, {
    code: "EADDRINUSE",
    hint: `see who has it: alknet doctor; or set another in ${home.config}: listen = ["[::]:7434"]`,
    cause: error,
  });
}
