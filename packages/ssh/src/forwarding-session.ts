/**
 * What forwarding adds to a session: a socket that leads to the client's agent, and why a listener was refused.
 *
 * @module
 */

import { AccessDenied } from "@alknet/core/access";
import type { ServerChannel, Session } from "ssh2";
import type { Account } from "./account.ts";
import { type ForwardedAgent, forwardAgent } from "./agent-forwarding.ts";
import type { ForwardingContext } from "./forwarding-context.ts";
import type { Listeners } from "./forwarding-listeners.ts";

export interface SessionForwarding {
  /** Variables for its program; `SSH_AUTH_SOCK` is among them once the client has asked for it. */
  readonly environment: Readonly<Record<string, string>>;
  /**
   * Tell who sits at the channel of a program why this connection has no listeners where it wants some. `ssh` shows
   * that a request failed, and of the reason nothing but to who asks for details.
   */
  tellRefusals(channel: ServerChannel): Promise<void>;
}

/** Serve what a session asks for of forwarding. It asks before it begins its program. */
export function serveSessionForwarding(
  session: Session,
  { runAs }: Account,
  listeners: Listeners,
  context: ForwardingContext,
): SessionForwarding {
  const { auth, gone, logger, onrefused } = context;
  const environment: Record<string, string> = {};
  let agent: ForwardedAgent | undefined;
  const end = (): void => agent?.[Symbol.dispose]();
  session.once("close", end);

  session.on("auth-agent", (accept, reject) => {
    try {
      agent ??= forwardAgent({ ...context, owner: runAs });
      environment["SSH_AUTH_SOCK"] = agent.path;
      accept?.();
    } catch (error) {
      if (error instanceof AccessDenied) onrefused(error.reason, error.missing);
      else logger.warn({ peer: auth.peer?.id, err: error }, "ssh: no socket for an agent");
      reject?.();
    }
  });

  return {
    environment,
    async tellRefusals(channel) {
      for (const text of await listeners.takeRefusals()) {
        if (!gone.aborted && channel.stderr.writable) channel.stderr.write(`${text}\r\n`);
      }
    },
  };
}
