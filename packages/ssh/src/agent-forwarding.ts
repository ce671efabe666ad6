/**
 * The agent of a client, for the programs of one of its sessions (`ssh -A`; OpenSSH's PROTOCOL §1, `auth-agent-req`).
 *
 * They find a socket by `SSH_AUTH_SOCK`; each connection to it is a channel to the client, who has the agent. Nothing of
 * what goes through is looked at. The socket stands on `ssh:agent`, and is gone with that, with its session, and with
 * the connection.
 *
 * @module
 */

import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuthContext } from "@alknet/core/access";
import type { Logger } from "@alknet/core/log";
import { joinChannel } from "./forwarding-join.ts";
import type { ForwardingChannels } from "./ssh2-extension/forwarding.ts";

export interface AgentContext {
  readonly auth: AuthContext;
  readonly channels: ForwardingChannels;
  /** Whom the socket is for, in numbers. @default the account of this process */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Count one more of the peer. @returns what to call at its end; `undefined`: there are too many */
  readonly countAgent: () => (() => void) | undefined;
  readonly logger: Logger;
  /** Aborts when the connection is gone. */
  readonly gone: AbortSignal;
}

/** A socket that leads to the client's agent. Disposing removes it, and ends what goes through it. */
export interface ForwardedAgent extends Disposable {
  /** Where it is, absolute. */
  readonly path: string;
}

/** Programs that talk to an agent at a time. */
const MAX_CONNECTIONS = 64;

/**
 * Open a socket to the client's agent.
 *
 * @throws {AccessDenied | AccessRevoked} without `ssh:agent`.
 * @throws {Error} of the system, if there can be no such socket; or there are too many.
 */
export function forwardAgent(context: AgentContext): ForwardedAgent {
  const { auth, channels, countAgent, gone, logger, owner } = context;
  using made = new DisposableStack();
  const grant = made.use(auth.grant("ssh:agent"));
  const leave = countAgent();
  if (leave === undefined) throw new Error("too many agents of one peer");
  made.defer(leave);
  const folder = openFolder(owner);
  const rights = made.move();
  const over = new AbortController();

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    // Also while nobody else listens.
    socket.on("error", () => {});
    void carry(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;

  async function carry(socket: Socket): Promise<void> {
    try {
      await joinChannel(socket, await channels.offer({ kind: "agent" }), over.signal);
    } catch (error) {
      logger.debug(
        { peer: auth.peer?.id, err: error },
        "ssh: the client gives no way to its agent",
      );
      socket.destroy();
    }
  }

  function end(): void {
    if (over.signal.aborted) return;
    over.abort(new Error("the agent is forwarded no more"));
    gone.removeEventListener("abort", end);
    rights.dispose();
    // Which removes the socket.
    server.close();
    try {
      folder.remove();
    } catch (error) {
      // The account it was for may have put something there.
      logger.warn({ peer: auth.peer?.id, err: error }, "ssh: the folder of an agent stays");
    }
  }

  try {
    listen(server, folder.socket, owner);
    folder.give();
  } catch (error) {
    end();
    throw error;
  }
  grant.followRevocation(end);
  if (gone.aborted) end();
  else gone.addEventListener("abort", end, { once: true });
  return { path: folder.socket, [Symbol.dispose]: end };
}

/**
 * A folder that only `owner` can enter, within one that only we can change: what is removed in the end is what was made,
 * whatever the owner has put in its place.
 */
function openFolder(owner: AgentContext["owner"]) {
  const outer = mkdtempSync(join(tmpdir(), "alknet-agent-"));
  const inner = join(outer, "agent");
  if (owner !== undefined) chmodSync(outer, 0o711);
  mkdirSync(inner, { mode: 0o700 });
  return {
    socket: join(inner, "socket"),
    give(): void {
      if (owner !== undefined) chownSync(inner, owner.uid, owner.gid);
    },
    remove(): void {
      rmdirSync(inner);
      rmdirSync(outer);
    },
  };
}

/** Listen before the folder is another's. A path is bound at once, or never. */
function listen(server: Server, path: string, owner: AgentContext["owner"]): void {
  let failed: Error | undefined;
  server.on("error", (error) => (failed = error));
  server.listen(path);
  if (!server.listening) throw failed ?? new Error(`cannot listen at ${path}`);
  chmodSync(path, 0o600);
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}
