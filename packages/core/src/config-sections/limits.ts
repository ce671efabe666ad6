/**
 * `[limits]`: who may hold how much of the node, and for how long.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ConfigLimits, DEFAULT_TIMES } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { parseBlock } from "../ip-address.ts";
import { DEFAULT_CAPS, DEFAULT_PENALTIES } from "../limit-values.ts";
import { count, duration, section, text } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

const caps = DEFAULT_CAPS;
/** In milliseconds. */
const PENALTY_RANGE = [0, 86_400_000] as const;

export const limits: ConfigPart<ConfigLimits> = part(
  section(
    "Who may hold how much of this node. A source is an IPv4 address or an IPv6 /64; a stranger is who has no key that is known.",
    {
      exempt: z
        ._default(
          z
            .array(text({ description: "`10.0.0.0/8`, `2001:db8::/32`" }, parseBlock))
            .check(z.maxLength(4_096)),
          [],
        )
        .check(
          z.meta({
            description: "Address blocks that no limit per source and no penalty holds for.",
            examples: [["10.0.0.0/8"]],
          }),
        ),
      connections: count(
        "Connections at once. An eighth is kept for peers.",
        caps.connections,
        1_000_000,
      ),
      connections_per_peer: count("Connections of one peer.", caps.connectionsPerPeer, 1_000_000),
      strangers_per_source: count(
        "Connections of one source on `alknet/*`, without a known key.",
        caps.strangersPerBlock,
        1_000_000,
      ),
      web_per_source: count(
        "Connections of one source on ALPNs that ask for no key, such as `h2`.",
        caps.webPerBlock,
        1_000_000,
      ),
      handshakes: count("Handshakes under way at once.", caps.pending, 1_000_000),
      handshakes_per_source: count(
        "Handshakes of one source. When full, its oldest makes room for the newcomer.",
        caps.pendingPerBlock,
        1_000_000,
      ),
      handshakes_per_known_source: count(
        "The same for a source that has a connection of a peer.",
        caps.pendingPerTrustedBlock,
        1_000_000,
      ),
      retry_above: count(
        "With so many handshakes under way, QUIC sources have to prove their address first.",
        caps.retry,
        1_000_000,
      ),
      sources: count(
        "Sources that are remembered. Must exceed `handshakes` and `connections` together.",
        caps.blocks,
        16_777_216,
      ),
      drain: duration(
        "How long a node that stops lets what goes on finish.",
        DEFAULT_TIMES.drain,
        [0, 600_000],
      ),
      handshake_timeout: duration(
        "For a whole handshake.",
        DEFAULT_TIMES.handshakeTimeout,
        [100, 600_000],
      ),
      idle_timeout: duration(
        "How long a QUIC connection may be without a stream.",
        DEFAULT_TIMES.idleTimeout,
        [1_000, 86_400_000],
      ),
      penalties: section(
        "How long a source that misbehaves is kept out. Penalties add up; each mistake adds its own.",
        {
          auth: duration(
            "A proof of a key that does not hold.",
            DEFAULT_PENALTIES.auth,
            PENALTY_RANGE,
          ),
          unknown_key: duration(
            "A key that nobody knows, where one is needed.",
            DEFAULT_PENALTIES["unknown-key"],
            PENALTY_RANGE,
          ),
          timeout: duration(
            "A handshake that is not done in time.",
            DEFAULT_PENALTIES.timeout,
            PENALTY_RANGE,
          ),
          malformed: duration(
            "A handshake that breaks the protocol.",
            DEFAULT_PENALTIES.malformed,
            PENALTY_RANGE,
          ),
          minimum: duration(
            "So much has to add up before anything happens.",
            DEFAULT_PENALTIES.minimum,
            PENALTY_RANGE,
          ),
          maximum: duration("They never add up to more.", DEFAULT_PENALTIES.maximum, PENALTY_RANGE),
        },
      ),
    },
  ),
  ({ penalties, ...limits }) =>
    Object.freeze({
      exempt: Object.freeze(limits.exempt),
      caps: Object.freeze({
        pending: limits.handshakes,
        pendingPerBlock: limits.handshakes_per_source,
        pendingPerTrustedBlock: limits.handshakes_per_known_source,
        retry: limits.retry_above,
        connections: limits.connections,
        connectionsPerPeer: limits.connections_per_peer,
        strangersPerBlock: limits.strangers_per_source,
        webPerBlock: limits.web_per_source,
        blocks: limits.sources,
      }),
      penalties: Object.freeze({
        auth: parseDuration(penalties.auth),
        "unknown-key": parseDuration(penalties.unknown_key),
        timeout: parseDuration(penalties.timeout),
        malformed: parseDuration(penalties.malformed),
        minimum: parseDuration(penalties.minimum),
        maximum: parseDuration(penalties.maximum),
      }),
      drain: parseDuration(limits.drain),
      handshakeTimeout: parseDuration(limits.handshake_timeout),
      idleTimeout: parseDuration(limits.idle_timeout),
    }),
);
