/**
 * `[peers.NAME]`: who is let in.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { parseTokenHash } from "../api-key.ts";
import { parseFingerprint } from "../fingerprint.ts";
import { parseHostPort } from "../host.ts";
import { parseLoginName, USERS } from "../login-name.ts";
import { DEFAULT_PORT, MAX_PER_PEER, type PeerEntry } from "../peers.ts";
import { HASH_PATTERN } from "./api-keys.ts";
import { flag, listOf, named, oneOrMore, table, text } from "./forms.ts";
import { NAME_PATTERN, parsePeerName } from "./names.ts";
import { type ConfigPart, part } from "./part.ts";
import { scopes } from "./scopes.ts";

const FINGERPRINT_PATTERN = "^(ed25519|SHA256):[0-9a-f]{64}$";

const fingerprint = text(
  {
    description: "Key of the peer, as `alknet id` prints it over there.",
    pattern: FINGERPRINT_PATTERN,
  },
  parseFingerprint,
);

const peer = table("A peer: its keys, and what whoever holds one may do.", {
  fingerprint: z.optional(fingerprint),
  fingerprints: z.optional(
    z.array(fingerprint).check(
      z.maxLength(MAX_PER_PEER),
      z.meta({
        description: "Keys of the peer, any of which is enough; in the place of `fingerprint`.",
      }),
    ),
  ),
  scopes: z.optional(scopes),
  enabled: flag("`false`: the peer is known, and let in by nothing.", true),
  addresses: z.optional(
    oneOrMore(
      text({ description: "`host`, `host:port` or `[address]:port`." }, (address) =>
        parseHostPort(address, DEFAULT_PORT),
      ),
      {
        description: `Where to dial it, as \`host\`, \`host:port\` or \`[address]:port\`. The port is ${DEFAULT_PORT} unless it is given.`,
        examples: [["laptop.example", "[2001:db8::1]:443"]],
      },
      MAX_PER_PEER,
    ),
  ),
  display_name: z.optional(
    z.string().check(z.maxLength(128), z.meta({ description: "What people call it." })),
  ),
  user: z.optional(
    oneOrMore(
      text({ description: "A login name of this machine." }, parseLoginName),
      {
        description:
          "Account that it logs in to by SSH, the first one unless it asks for another. Needed where the node runs as root, and never root; elsewhere only the node's own account can be given.",
        examples: [["alice", "deploy"]],
      },
      MAX_PER_PEER,
    ),
  ),
  token_hash: z.optional(
    text(
      {
        description:
          "Hash of a bearer token that is as good as its key, where there is no client certificate: `sha256:` and 64 hex digits.",
        pattern: HASH_PATTERN,
      },
      parseTokenHash,
    ),
  ),
  resources: z.optional(
    z
      .record(z.string(), oneOrMore(z.string(), { description: "Names." }, MAX_PER_PEER))
      .check(z.meta({ description: "Named lists that services read; what they mean is theirs." })),
  ),
});

export const peers: ConfigPart<readonly PeerEntry[]> = part(
  named(
    "Who is let in: a table `[peers.NAME]` each.",
    { pattern: NAME_PATTERN, parse: parsePeerName },
    peer,
  ),
  (peers): readonly PeerEntry[] => Object.entries(peers).map(toPeer),
);

function toPeer([peerId, table]: [string, z.output<typeof peer>]): PeerEntry {
  const { fingerprint, fingerprints = [], scopes = [], addresses = [], resources = {} } = table;
  const { display_name: displayName, token_hash: tokenHash, user } = table;
  return {
    peerId,
    fingerprints: fingerprint === undefined ? fingerprints : [fingerprint],
    addresses: listOf(addresses),
    scopes: listOf(scopes),
    enabled: table.enabled,
    resources: {
      ...Object.fromEntries(
        Object.entries(resources).map(([name, values]) => [name, listOf(values)]),
      ),
      ...(user === undefined ? {} : { [USERS]: listOf(user) }),
    },
    ...(displayName === undefined ? {} : { displayName }),
    ...(tokenHash === undefined ? {} : { tokenHash }),
  };
}
