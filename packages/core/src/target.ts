/**
 * What can be dialed: a peer by its name, a ticket, an address.
 *
 * @module
 */

import { DialError } from "./dial-error.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { formatHostPort, type HostPort, parseHostPort } from "./host.ts";
import { looksLikeInvitation } from "./invitation-ticket.ts";
import { parseIp } from "./ip-address.ts";
import { nearestWord } from "./nearest-word.ts";
import { DEFAULT_PORT, isPeerName, type PeerEntry } from "./peers.ts";
import { looksLikeTicket, parseTicket, type Ticket } from "./ticket.ts";
import type { Expected } from "./verify.ts";

/**
 * Whom to dial. As text: a peer's name, a ticket, `host:port`, or `FINGERPRINT@host:port`.
 */
export type Target =
  | string
  | Ticket
  /** Without a fingerprint a host name is needed, and a CA that vouches for it. */
  | { readonly address: string; readonly fingerprint?: string | undefined };

/** A target, looked up. */
export interface Route {
  readonly addresses: readonly HostPort[];
  readonly expected: Expected;
  /** The same for all dials that may share a connection. */
  readonly key: string;
  /** For messages. */
  readonly label: string;
}

/**
 * Find out what a target means.
 *
 * @param peers those known by name.
 * @throws {DialError} `TARGET_INVALID` or `PEER_UNKNOWN`
 */
export function routeTo(target: Target, peers: readonly PeerEntry[]): Route {
  if (typeof target !== "string") {
    if ("addresses" in target) return pinned([target.fingerprint], target.addresses, target.name);
    const { address, fingerprint } = target;
    return fingerprint === undefined ? byAddress(address) : pinned([fingerprint], [address]);
  }
  // First, for no name is as long as a ticket; but it may look like the beginning of one.
  const peer = peers.find(({ peerId }) => peerId === target);
  if (peer !== undefined) {
    if (!peer.enabled) throw invalid(target, "this peer is disabled", enableHint(target));
    const { fingerprints, addresses = [] } = peer;
    if (addresses.length === 0) {
      throw invalid(target, "no address is known for it", addressHint(target));
    }
    return pinned(fingerprints, addresses, target, target);
  }
  if (looksLikeInvitation(target)) {
    // Nothing of it is shown: who reads it has the right that is in it.
    throw new DialError("TARGET_INVALID", "cannot dial an invitation: it is there to join by", {
      final: true,
      hint: "alknet join INVITATION; then the node has a name here, to be dialed",
    });
  }
  if (looksLikeTicket(target)) {
    const { fingerprint, addresses, name } = ticketOf(target);
    return pinned([fingerprint], addresses, name);
  }
  const at = target.indexOf("@");
  if (at >= 0) return pinned([target.slice(0, at)], [target.slice(at + 1)]);
  if (target.includes(":") || target.includes(".")) return byAddress(target);
  if (isPeerName(target)) {
    throw noSuchPeer(target, peers);
  }
  throw invalid(
    target,
    'expected the name of a peer, a ticket, "host:port" or "FINGERPRINT@host:port"',
  );
}

/**
 * Nobody has this name; the hint is the one that was probably meant.
 *
 * @param shown how a name is written there. @default as it is
 */
export function noSuchPeer(
  name: string,
  peers: readonly PeerEntry[],
  shown: (peerId: string) => string = String,
): DialError {
  const near = nearestWord(
    name,
    peers.map(({ peerId }) => peerId),
  );
  return new DialError("PEER_UNKNOWN", `no peer is called ${JSON.stringify(name)}`, {
    final: true,
    hint:
      near === undefined
        ? "see who is known: alknet peers; or dial its ticket"
        : `did you mean "${shown(near)}"?`,
  });
}

/** A peer of a store stands nowhere else: a table of its name in the file would take its key and its rights away. */
function addressHint(name: string): string {
  const inFile = `or, where it stands in alknet.toml, addresses = [...] in [peers.${name}]`;
  return `alknet peers set ${name} --address HOST:${DEFAULT_PORT}; ${inFile}`;
}

function enableHint(name: string): string {
  const inFile = `or, where it stands in alknet.toml, take enabled = false out of [peers.${name}]`;
  return `alknet peers enable ${name}; ${inFile}`;
}

function pinned(
  fingerprints: readonly string[],
  addresses: readonly string[],
  name?: string,
  /** Its name in the list of peers. */
  peer?: string,
): Route {
  const label = name ?? addresses[0] ?? fingerprints[0] ?? "";
  if (fingerprints.length === 0) throw invalid(label, "no key is known for it");
  if (addresses.length === 0) {
    const hint =
      "have one made with an address: alknet ticket --address HOST:PORT, on that machine";
    throw invalid(label, "no address is known for it", hint);
  }
  const known = fingerprints.map((text) => parsed(text, parseFingerprint));
  return {
    addresses: addresses.map(addressOf),
    expected: { kind: "pinned", fingerprints: known, ...(peer === undefined ? {} : { peer }) },
    key: known.toSorted().join(" "),
    label: name ?? formatHostPort(addressOf(addresses[0]!)),
  };
}

function byAddress(text: string): Route {
  const address = addressOf(text);
  const key = formatHostPort(address);
  const isName = parseIp(address.host) === undefined;
  return {
    addresses: [address],
    expected: isName ? { kind: "name", host: address.host } : { kind: "unknown" },
    key,
    label: key,
  };
}

function addressOf(text: string): HostPort {
  const address = parsed(text, (it) => parseHostPort(it, DEFAULT_PORT));
  if (address.port === 0) throw invalid(text, "port 0 cannot be dialed");
  return address;
}

function ticketOf(text: string): Ticket {
  return parsed(
    text,
    parseTicket,
    "copy all of it again: alknet ticket, on that machine, prints it",
  );
}

/** What a parser of texts throws names the text and what was wanted; here it is about a target. */
function parsed<T>(text: string, parse: (text: string) => T, hint: string = FORMS): T {
  try {
    return parse(text);
  } catch (error) {
    throw new DialError("TARGET_INVALID", `cannot dial: ${(error as Error).message}`, {
      cause: error,
      final: true,
      hint,
    });
  }
}

/** What a target may be, to be written after a command. */
const FORMS =
  "dial a ticket (alknet ticket, on that machine, prints it), a name of alknet.toml, or FINGERPRINT@HOST:PORT";

function invalid(target: string, why: string, hint: string = FORMS): DialError {
  const shown = JSON.stringify(target.slice(0, 100));
  return new DialError("TARGET_INVALID", `cannot dial ${shown}: ${why}`, { final: true, hint });
}
