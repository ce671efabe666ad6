/**
 * UDP ASSOCIATE of the local proxy (RFC 1928 §7): packets of one client, each to wherever it says, names resolved
 * on the far side.
 *
 * @module
 */

import { isIP, type Socket } from "node:net";
import { type Clock, systemClock } from "@alknet/core/clock";
import { formatIp, ipToBytes, parseIp } from "@alknet/core/ip-address";
import { bindUdp } from "./bind-udp.ts";
import type { DialWithConnection } from "./open-flow.ts";
import { DEFAULT_UDP_IDLE } from "./packet-flow.ts";
import { FlowRefused } from "./refused.ts";
import type { Associate, SocksTarget } from "./socks.ts";
import { udpFlows } from "./udp-flows.ts";
import { encodeSocksReply, ReplyCode } from "./wire/socks5.ts";
import { decodeSocksPacket } from "./wire/socks5-udp.ts";

export interface AssociateOptions {
  /** Targets of one client at a time; the one that was silent the longest makes room. @default 256 */
  maxTargets?: number | undefined;
  /** How long a target may be silent, in milliseconds. @default 60_000 */
  idle?: number | undefined;
  /**
   * Refuse clients that do not say which port they will send from: of those, who sends first from the client's address
   * is taken for it, and whoever is there has not shown the proxy's password. @default false
   */
  announced?: boolean | undefined;
  clock?: Clock | undefined;
  /** Hears of each flow that could not be opened, and where it was to lead. @default nobody does */
  onfailure?: ((error: Error, target: SocksTarget) => void) | undefined;
}

/** What serves UDP ASSOCIATE: an option of `socks()`. */
export function associateUdp(dial: DialWithConnection, options: AssociateOptions = {}): Associate {
  const { maxTargets = 256, idle = DEFAULT_UDP_IDLE, clock = systemClock } = options;
  const { announced = false, onfailure = () => {} } = options;

  return async (socket, from, signal) => {
    if (announced && from.port === 0) throw UNANNOUNCED;
    const here = plainAddress(socket.localAddress);
    const client = plainAddress(socket.remoteAddress);
    const flows = udpFlows({ dial, max: maxTargets, idle, clock, onfailure });
    // The port that the client has announced, or else the first that it sends from: nobody else may use it.
    let port = from.port === 0 ? undefined : from.port;
    const relay = await bindUdp(here, 0, (packet, source) => {
      if (plainAddress(source.address) !== client) return;
      const asked = decodeSocksPacket(packet);
      if (asked === undefined) return;
      port ??= source.port;
      if (source.port !== port) return;
      const header = Uint8Array.from(asked.header);
      flows.send(`${asked.host} ${asked.port}`, asked.data, () => ({
        target: { host: asked.host, port: asked.port },
        onpacket: (data) => void relay.send(Buffer.concat([header, data]), source),
      }));
    });
    try {
      const bound = { address: ipToBytes(parseIp(here)!), port: relay.address.port };
      socket.write(encodeSocksReply(ReplyCode.SUCCEEDED, bound));
      await endOf(socket, signal);
    } finally {
      await Promise.all([relay.close(), flows.close()]);
    }
    socket.end();
  };
}

const UNANNOUNCED = new FlowRefused(
  "not-allowed",
  "UDP behind a login: expected the client to announce its port (RFC 1928 §7), and it sent 0",
);

/** RFC 1928 §6: the association ends with the connection that it was asked for on. */
function endOf(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    socket.once("end", resolve).once("close", resolve).resume();
    if (socket.destroyed || signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** One text for one address: an IPv4 address within IPv6 is that. */
function plainAddress(text: string | undefined): string {
  const address = text === undefined || isIP(text) === 0 ? undefined : parseIp(text);
  // The socket was closed meanwhile: nobody sends from there.
  return address === undefined ? "127.0.0.1" : formatIp(address);
}
