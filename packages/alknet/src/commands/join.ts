/**
 * `alknet join`: be let in by a node that has invited this machine, and know it by a name from then on.
 *
 * @module
 */

import { hostname } from "node:os";
import { parseInvitation } from "@alknet/core/invitation-ticket";
import { join, type JoinErrorCode } from "@alknet/core/join";
import { whyPowerful } from "@alknet/core/powerful-scopes";
import { openClient } from "../client.ts";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { Interrupted } from "../interrupted.ts";
import { withStore } from "../open-store.ts";
import { ownName } from "../own-name.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

export interface JoinCommandOptions {
  readonly json: boolean;
  /** What the node is to be called here. */
  readonly as?: string | undefined;
  /** What this machine would like to be called there. */
  readonly name?: string | undefined;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function joinCommand(
  context: Context,
  invitation: string,
  { json, as, name, transports }: JoinCommandOptions,
): Promise<void> {
  const { terminal, interrupted: signal } = context;
  await withStore(context, "create", async ({ store, config }) => {
    const client = await openClient(context);
    try {
      // Before a socket is opened: it may not be one at all.
      parseInvitation(invitation);
      const { fingerprint } = client.identity;
      const joined = await join(invitation, {
        dialer: client.dialer,
        store,
        configured: config.peers,
        fingerprint,
        as,
        name: name ?? ownName(config.name, hostname()),
        transports,
        signal,
      });
      const { node, peer, scopes, scopeCount, before, addresses, transport } = joined;
      if (json) {
        printJson(terminal, {
          node,
          fingerprint: joined.fingerprint,
          addresses,
          peer,
          scopes,
          scopeCount,
          before,
          transport,
        });
        return;
      }
      const more = scopeCount - scopes.length;
      printFields(terminal, [
        ["node", `${node} ${joined.fingerprint}`],
        ["you are", peer],
        ...scopes.map((scope): [string, string] => ["may", scope + emphasis(scope)]),
        ...(more > 0 ? [["may", `and ${more} more`] as const] : []),
        ...(scopeCount === 0 ? [["may", "nothing yet"] as const] : []),
      ]);
      if (before)
        say(terminal, "This machine had joined it before: nothing has changed over there.");
      say(terminal, `Try it: alknet ${scopes.some(isOfSsh) ? "ssh" : "ping"} ${node}`);
    } catch (error) {
      throw signal.aborted ? new Interrupted() : explained(error);
    } finally {
      await client.leave();
    }
  });
}

function isOfSsh(scope: string): boolean {
  return /^(?:ssh:|\*(?: |$))/.test(scope);
}

/** Said also to who gets the right: it is to be kept as one. */
function emphasis(scope: string): string {
  const why = whyPowerful(scope);
  return why === undefined ? "" : `   (${why})`;
}

const EXIT_CODES: Readonly<Partial<Record<JoinErrorCode | "INVITATION_INVALID", ExitCode>>> = {
  INVITATION_INVALID: ExitCode.USAGE,
  OWN_INVITATION: ExitCode.USAGE,
  NAME_INVALID: ExitCode.USAGE,
  INVITATION_UNKNOWN: ExitCode.NOT_ALLOWED,
  INVITATION_EXPIRED: ExitCode.NOT_ALLOWED,
  INVITATION_USED: ExitCode.NOT_ALLOWED,
  NAME_TAKEN: ExitCode.NOT_ALLOWED,
  KEY_KNOWN: ExitCode.NOT_ALLOWED,
  PEER_GONE: ExitCode.NOT_ALLOWED,
  JOIN_UNAVAILABLE: ExitCode.NOT_ALLOWED,
  JOIN_UNANSWERED: ExitCode.NOT_CONNECTED,
  LIMIT: ExitCode.NOT_CONNECTED,
};

/** What all errors of the CLI have, where the general explanation would say less. */
function explained(error: unknown): unknown {
  const { code, hint, message } = error as { code?: unknown; hint?: unknown; message?: string };
  if (code === "PEER_KEY_MISMATCH") {
    return new CommandError(`${printable(message ?? "")}; nothing was sent to it`, {
      code,
      hint: "somebody else answers there; have another invitation made: alknet invite --address HOST:PORT",
      exitCode: ExitCode.NOT_CONNECTED,
      cause: error,
    });
  }
  if (typeof code !== "string" || !Object.hasOwn(EXIT_CODES, code)) return error;
  return new CommandError(printable(message ?? ""), {
    code,
    hint: typeof hint === "string" ? hint : undefined,
    exitCode: EXIT_CODES[code as JoinErrorCode],
    cause: error,
  });
}
