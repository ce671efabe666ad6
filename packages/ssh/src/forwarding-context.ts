/**
 * What all forwarding of one SSH connection shares.
 *
 * @module
 */

import type { AuthContext } from "@alknet/core/access";
import type { Logger } from "@alknet/core/log";
import type { ForwardingChannels } from "./ssh2-extension/forwarding.ts";
import type { ForwardRefusal, Inbound, Outbound } from "./forwarding-services.ts";

export interface ForwardingContext {
  readonly auth: AuthContext;
  readonly channels: ForwardingChannels;
  /** `undefined`: this node connects nowhere for anybody. */
  readonly outbound: Outbound | undefined;
  /** `undefined`: this node listens for nobody. */
  readonly inbound: Inbound | undefined;
  /** Count one more socket to an agent. @returns what to call at its end; `undefined`: the peer has too many */
  readonly countAgent: () => (() => void) | undefined;
  readonly logger: Logger;
  /** Aborts when the connection is gone. */
  readonly gone: AbortSignal;
  /** Hears of what was refused. */
  readonly onrefused: (reason: string, scope: string | undefined) => void;
}

/** Longest path of a Unix socket, in bytes. */
const MAX_PATH = 107;

/** Tell of what was refused, without a target where that is not asked for. */
export function report(
  { kind, reason, scope, text }: ForwardRefusal,
  error: unknown,
  { auth, logger, onrefused }: ForwardingContext,
): void {
  const peer = auth.peer?.id;
  logger.debug({ peer, err: error }, text);
  switch (kind) {
    case "not-allowed":
    case "limit":
      onrefused(reason, scope);
      break;
    case "fault":
      logger.error({ peer, code: (error as NodeJS.ErrnoException).code }, "ssh: forwarding failed");
      break;
    case "failed":
      break;
  }
}

/** Whether it is a path that a Unix socket may have: absolute, and not too long. */
export function isPath(path: string): boolean {
  return path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= MAX_PATH;
}
