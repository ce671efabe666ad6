/**
 * What admission is limited to: caps, and what penalties add.
 *
 * @module
 */

import { type IpBlock, parseBlock } from "./ip-address.ts";

/** How many of what; see the registry's defaults. */
export interface Caps {
  /** Handshakes at once. */
  readonly pending: number;
  /** Of one block. */
  readonly pendingPerBlock: number;
  /** Of one block that has an authenticated connection. */
  readonly pendingPerTrustedBlock: number;
  /** With so many handshakes pending, QUIC sources have to prove their address first. */
  readonly retry: number;
  /** Connections at once. An eighth of them is kept for peers. */
  readonly connections: number;
  readonly connectionsPerPeer: number;
  /** Of one block, on `alknet/*`, without a known key. */
  readonly strangersPerBlock: number;
  /** Of one block, on ALPNs that ask for no key. */
  readonly webPerBlock: number;
  /** Blocks remembered. Must exceed `pending` and `connections` together. */
  readonly blocks: number;
}

export const DEFAULT_CAPS: Caps = Object.freeze({
  pending: 1_024,
  pendingPerBlock: 16,
  pendingPerTrustedBlock: 256,
  retry: 64,
  connections: 16_384,
  connectionsPerPeer: 1_024,
  strangersPerBlock: 64,
  webPerBlock: 1_024,
  blocks: 65_536,
});

/** What a penalty adds, in milliseconds. */
export const PENALTIES = {
  auth: 5_000,
  "unknown-key": 1_000,
  timeout: 10_000,
  malformed: 5_000,
} as const;

export type Penalty = keyof typeof PENALTIES;

/** Penalties take effect once this much has added up, in milliseconds. */
export const MIN_PENALTY: number = 15_000;
/** They never add up to more than this, in milliseconds. */
export const MAX_PENALTY: number = 600_000;

/** What each penalty adds, from where they take effect, and where they end; in milliseconds. */
export interface PenaltyTimes extends Readonly<Record<Penalty, number>> {
  readonly minimum: number;
  readonly maximum: number;
}

export const DEFAULT_PENALTIES: PenaltyTimes = Object.freeze({
  ...PENALTIES,
  minimum: MIN_PENALTY,
  maximum: MAX_PENALTY,
});

/** What can be changed while it is in use. */
export interface LimitValues {
  /** Address blocks (`10.0.0.0/8`) that no limit per block and no penalty holds for. */
  exempt?: readonly string[] | undefined;
  /** Any of {@linkcode DEFAULT_CAPS}. */
  caps?: Partial<Caps> | undefined;
  /** Any of {@linkcode DEFAULT_PENALTIES}. */
  penalties?: Partial<PenaltyTimes> | undefined;
}

/**
 * All values, what `values` leaves out by default.
 *
 * @throws {InvalidText} `BLOCK_INVALID` if an exempt block does not parse.
 * @throws {RangeError} if a cap is not above 0, a penalty below 0, or more blocks can be in use than are tracked.
 */
export function checkedLimits(values: LimitValues): {
  readonly caps: Caps;
  readonly penalties: PenaltyTimes;
  readonly exempt: readonly IpBlock[];
} {
  const caps = { ...DEFAULT_CAPS, ...values.caps };
  const penalties = { ...DEFAULT_PENALTIES, ...values.penalties };
  for (const [name, value] of Object.entries(caps)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new RangeError(`cannot limit: expected ${name} above 0, got ${value}`);
  }
  for (const [name, value] of Object.entries(penalties)) {
    if (value >= 0 && value < Infinity) continue;
    throw new RangeError(`cannot limit: expected penalty ${name} of 0 or more, got ${value}`);
  }
  const { blocks, pending, connections } = caps;
  if (blocks <= pending + connections) {
    throw new RangeError(
      `cannot limit: expected blocks above ${pending + connections} (pending and connections), got ${blocks}`,
    );
  }
  return { caps, penalties, exempt: (values.exempt ?? []).map(parseBlock) };
}
