/**
 * Forwarding by one SSH connection: what its client has opened from here (`ssh -L`, `-D`, `-W`, `-J`), and where it has
 * this node listen (`forwarding-listeners.ts`, `ssh -R`).
 *
 * A connection is confirmed when it stands, and refused with the true reason when it does not. Each is on its way by
 * itself, and stands on a right: taking that back ends it, and nothing else.
 *
 * @module
 */

import { formatHost, parseHost } from "@alknet/core/host";
import { resetSocket } from "@alknet/core/reset-socket";
import type { Connection as Client } from "ssh2";
import { type AskedChannel, OPEN_FAILURE } from "./ssh2-extension/forwarding.ts";
import { type ForwardingContext, isPath, report } from "./forwarding-context.ts";
import { joinChannel } from "./forwarding-join.ts";
import { type Listeners, serveListeners } from "./forwarding-listeners.ts";
import { type ForwardRefusal, type ForwardTarget, refusalOf } from "./forwarding-services.ts";

/** Serve what a client that has logged in wants to have forwarded. */
export function serveForwarding(client: Client, context: ForwardingContext): Listeners {
  context.channels.onasked((asked) => void dial(asked, context));
  return serveListeners(client, context);
}

/** Never rejects. */
async function dial(asked: AskedChannel, context: ForwardingContext): Promise<void> {
  const { auth, gone, logger, outbound, onrefused } = context;
  const peer = auth.peer?.id;
  const { target: given, origin } = asked;
  logger.debug({ peer, target: given, origin }, "ssh: a connection is asked for");
  if (outbound === undefined) {
    onrefused("this node does not forward", undefined);
    return asked.refuse(OPEN_FAILURE.PROHIBITED, "this node does not forward");
  }
  const target = normalTarget(given);
  if (target === undefined) {
    return asked.refuse(OPEN_FAILURE.CONNECT_FAILED, "that is no host and port, and no path");
  }
  try {
    // A fifth less processor time with AES-GCM, though what is read is copied once more.
    using flow = await outbound.connect(auth, target, { signal: gone, largeReads: true });
    if (gone.aborted) return resetSocket(flow.socket);
    const broken = await joinChannel(flow.socket, asked.accept(), flow.signal);
    logger.debug({ peer, err: broken }, "ssh: a forwarded connection is over");
  } catch (error) {
    if (gone.aborted) return;
    const refusal = refusalOf(error);
    report(refusal, error, context);
    asked.refuse(openFailure(refusal), refusal.text);
  }
}

function openFailure({ kind }: ForwardRefusal): number {
  switch (kind) {
    case "not-allowed":
      return OPEN_FAILURE.PROHIBITED;
    case "limit":
      return OPEN_FAILURE.RESOURCE_SHORTAGE;
    case "failed":
    case "fault":
      return OPEN_FAILURE.CONNECT_FAILED;
  }
}

/** As rights compare targets; `undefined`: it is none. */
function normalTarget(target: ForwardTarget): ForwardTarget | undefined {
  if ("path" in target) return isPath(target.path) ? target : undefined;
  const host = parseHost(target.host);
  const isPort = target.port >= 1 && target.port <= 65_535;
  return host === undefined || !isPort ? undefined : { host: formatHost(host), port: target.port };
}
