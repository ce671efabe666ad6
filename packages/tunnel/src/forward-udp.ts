/**
 * Forward a local UDP port: each client of it has a flow to one target on the far side.
 *
 * @module
 */

import type { RemoteInfo } from "node:dgram";
import { type Clock, systemClock } from "@alknet/core/clock";
import { type Logger, silentLogger } from "@alknet/core/log";
import { bindLocal } from "./bind-local.ts";
import { bindUdp, type BoundUdp } from "./bind-udp.ts";
import { logFailure } from "./forward.ts";
import type { Target } from "./granted-addresses.ts";
import type { Listener } from "./listener.ts";
import type { DialWithConnection } from "./open-flow.ts";
import { DEFAULT_UDP_IDLE } from "./packet-flow.ts";
import { udpFlows } from "./udp-flows.ts";

export interface ForwardUdpOptions {
  /**
   * An address, or `localhost`: both loopbacks, at one port. Whoever can send there uses the rights of this node.
   *
   * @default "localhost"
   */
  host?: string | undefined;
  /** 0: the system picks one. */
  port: number;
  /** What the far side sends to. */
  target: Target;
  /** Clients, by address and port, at a time; the one that was silent the longest makes room. @default 1_024 */
  maxClients?: number | undefined;
  /** How long a client may be silent, in milliseconds. @default 60_000 */
  idle?: number | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  /** Hears of each flow that could not be opened. @default a warning to `logger`, without the target */
  onfailure?: ((error: Error) => void) | undefined;
}

/**
 * Listen, and forward what comes. What answers to a client comes from the port that it has sent to. A client whose
 * flow is refused hears nothing, as from a network that drops; its next packet asks again.
 *
 * `close()` and `abort()` of the listener do the same: packets are not waited for.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`).
 */
export async function forwardUdp(
  dial: DialWithConnection,
  options: ForwardUdpOptions,
): Promise<Listener> {
  const { host = "localhost", port, target, maxClients = 1_024, idle = DEFAULT_UDP_IDLE } = options;
  const { clock = systemClock, logger = silentLogger, onfailure } = options;

  function tell(error: Error): void {
    if (onfailure === undefined) logFailure(logger, error, "not forwarded");
    else onfailure(error);
    logger.debug({ err: error }, error.message);
  }

  const flows = udpFlows({ dial, max: maxClients, idle, clock, onfailure: tell });
  async function bind(address: string, wanted: number): Promise<BoundUdp> {
    const local = await bindUdp(address, wanted, (packet: Uint8Array, from: RemoteInfo) => {
      flows.send(`${from.address} ${from.port}`, packet, () => ({
        target,
        onpacket: (answer) => void local.send(answer, from),
      }));
    });
    return local;
  }
  const locals = await bindLocal(host, port, bind);
  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await Promise.all([...locals.map((local) => local.close()), flows.close()]);
  }
  return {
    address: locals[0]!.address,
    get connections() {
      return flows.size;
    },
    close: () => (closing ??= close()),
    abort: () => void (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}
