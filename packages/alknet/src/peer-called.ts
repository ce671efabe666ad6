/**
 * Peers by their names, as `ssh` has them too.
 *
 * @module
 */

import { nearestWord } from "@alknet/core/nearest-word";
import { isPeerName, type PeerEntry } from "@alknet/core/peers";
import { CommandError, ExitCode } from "./command-error.ts";
import { SUFFIX } from "./known-hosts.ts";

/**
 * The name of the peer that `host` means; upper and lower case count as one.
 *
 * @returns `undefined` if it is no name.
 * @throws {CommandError} `PEER_UNKNOWN`
 */
export function peerCalled(host: string, peers: readonly PeerEntry[]): string | undefined {
  const isAlk = host.toLowerCase().endsWith(SUFFIX);
  const name = (isAlk ? host.slice(0, -SUFFIX.length) : host).toLowerCase();
  const names = peers.map(({ peerId }) => peerId);
  const found = names.find((each) => each.toLowerCase() === name);
  if (found !== undefined || (!isAlk && !isPeerName(host))) return found;
  const near = nearestWord(name, names);
  throw new CommandError(`no peer is called ${JSON.stringify(name)}`, {
    code: "PEER_UNKNOWN",
    hint:
      near === undefined ? "see who is known: alknet peers" : `did you mean "${near}${SUFFIX}"?`,
    exitCode: ExitCode.USAGE,
  });
}
