/**
 * SSH in a node: `alknet/ssh`, loaded when the first stream comes.
 *
 * ssh2 takes longer to load than a node has to start, and most nodes are started more often than they are logged in to.
 *
 * @module
 */

import { flushCompileCache } from "node:module";
import type { Duplex } from "node:stream";
import type { ProtocolHandler } from "@alknet/core/handler";
import type { SessionStatus } from "@alknet/ssh/session-status";
import type { SshHandler, SshOptions, StreamOrigin } from "@alknet/ssh/ssh";
import type { SshSettings } from "@alknet/ssh/ssh-settings";

/** As that of `@alknet/ssh/ssh`. */
export const SSH_ALPN = "alknet/ssh";

export interface SshServiceOptions extends Omit<SshOptions, "recorder"> {
  /** Folder for recordings of all sessions on terminals; `undefined`: nothing is recorded. */
  readonly record?: string | undefined;
}

export interface SshService {
  readonly handler: ProtocolHandler;
  /** As that of the handler. */
  serve(stream: Duplex, origin: StreamOrigin): Promise<void>;
  reconfigure(settings: SshSettings): void;
  /** Programs that run now, of all peers, the oldest first. */
  list(): readonly SessionStatus[];
}

/** Serve SSH, once somebody comes. */
export function sshService({ record, ...options }: SshServiceOptions): SshService {
  let settings: SshSettings = options;
  let handler: SshHandler | undefined;
  let loading: Promise<SshHandler> | undefined;

  async function load(): Promise<SshHandler> {
    const { ssh } = await import("@alknet/ssh/ssh");
    const { recordTo } = await import("@alknet/ssh/recording");
    // A node that is killed later has left its compiled code for the next start.
    flushCompileCache();
    const recorder =
      record === undefined ? undefined : recordTo(record, { logger: options.logger });
    handler = ssh({ ...options, ...settings, recorder });
    return handler;
  }

  const loaded = (): Promise<SshHandler> => (loading ??= load());

  return {
    handler: {
      alpns: [SSH_ALPN],
      access: "peers",
      tls: "node",
      async handle(connection) {
        await (await loaded()).handle(connection);
      },
    },
    async serve(stream, origin) {
      await (await loaded()).serve(stream, origin);
    },
    reconfigure(next) {
      settings = next;
      handler?.reconfigure(next);
    },
    list: () => handler?.list() ?? [],
  };
}
