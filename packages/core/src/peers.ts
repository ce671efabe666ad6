/**
 * Peers: stable names, each with any number of keys and the rights of whoever holds one.
 *
 * @module
 */

import { TOKEN_PREFIX } from "./api-key.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { formatHostPort, parseHostPort } from "./host.ts";
import { parseScopeEntry } from "./scope-entry.ts";

export interface PeerEntry {
  /** Stable name; rights and references name it, never a key. */
  readonly peerId: string;
  /** Keys of this peer; any of them is enough. */
  readonly fingerprints: readonly string[];
  /** Each a scope or `@role`, for ever or `until` a moment; see `scope-entry.ts`. */
  readonly scopes: readonly string[];
  /** `false`: known, and let in by nothing. */
  readonly enabled: boolean;
  readonly displayName?: string | undefined;
  /** Where to dial it, `host:port`. */
  readonly addresses?: readonly string[] | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Bearer token of this peer: `sha256:` and 64 hex digits, over the token's bytes. */
  readonly tokenHash?: string | undefined;
}

/** Port that an address without one means. */
export const DEFAULT_PORT: number = 7433;

/** Most fingerprints, scopes and addresses of one peer. */
export const MAX_PER_PEER: number = 1_024;

/** Longest list of scopes, and most of resources, as JSON, in UTF-16 code units: stores read no more. */
const MAX_JSON = 2 ** 20;

/** Longest display name, in UTF-16 code units. */
const MAX_DISPLAY_NAME = 128;

/** A peer, or the list of them, is not as it has to be. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly code: "PEER_INVALID" | "DUPLICATE_PEER_ID" | "DUPLICATE_FINGERPRINT" | "DUPLICATE_TOKEN";
  readonly peerId: string;
  /** Which field is at fault, and where it is a list which entry of it. */
  readonly field: readonly [keyof PeerEntry, number?];

  constructor(
    code: PeerError["code"],
    peerId: string,
    field: PeerError["field"],
    text: string,
    options?: ErrorOptions,
  ) {
    super(`cannot use peer ${JSON.stringify(peerId.slice(0, 100))}: ${text}`, options);
    this.code = code;
    this.peerId = peerId;
    this.field = field;
  }
}

/**
 * Check one entry, and bring its addresses into normal form.
 *
 * @throws {PeerError}
 */
export function parsePeer(entry: PeerEntry): PeerEntry {
  const { peerId, fingerprints, scopes, addresses = [] } = entry;
  const check = <T>(
    field: "fingerprints" | "scopes" | "addresses",
    texts: readonly string[],
    parse: (text: string) => T,
  ): T[] => {
    if (texts.length > MAX_PER_PEER) {
      throw new PeerError("PEER_INVALID", peerId, [field], `more than ${MAX_PER_PEER} ${field}`);
    }
    return texts.map((text, index) => {
      try {
        return parse(text);
      } catch (error) {
        const { message } = error as Error;
        throw new PeerError("PEER_INVALID", peerId, [field, index], message, { cause: error });
      }
    });
  };
  if (!isPeerName(peerId)) {
    const expected = 'expected 1 to 64 letters, digits, ".", "_", "-", a letter or digit first';
    throw new PeerError("PEER_INVALID", peerId, ["peerId"], expected);
  }
  if (peerId.toLowerCase() === "owner") {
    throw new PeerError(
      "PEER_INVALID",
      peerId,
      ["peerId"],
      "the name is that of this node's owner",
    );
  }
  // In any case: names count without it, and a token's must not be displaced.
  if (peerId.toLowerCase().startsWith(TOKEN_PREFIX)) {
    const text = `names that begin with "${TOKEN_PREFIX}" are those of tokens`;
    throw new PeerError("PEER_INVALID", peerId, ["peerId"], text);
  }
  if ((entry.displayName?.length ?? 0) > MAX_DISPLAY_NAME) {
    const expected = `expected at most ${MAX_DISPLAY_NAME} characters`;
    throw new PeerError("PEER_INVALID", peerId, ["displayName"], expected);
  }
  if (entry.tokenHash !== undefined && !/^sha256:[0-9a-f]{64}$/.test(entry.tokenHash)) {
    const expected = 'expected "sha256:" and 64 lower-case hex digits';
    throw new PeerError("PEER_INVALID", peerId, ["tokenHash"], expected);
  }
  check("scopes", scopes, parseScopeEntry);
  if (isTooLong(scopes)) {
    throw new PeerError("PEER_INVALID", peerId, ["scopes"], "they are more than 1 MiB as JSON");
  }
  checkResources(entry);
  return Object.freeze({
    ...entry,
    fingerprints: frozen(check("fingerprints", fingerprints, parseFingerprint)),
    scopes: frozen(scopes),
    addresses: frozen(
      check("addresses", addresses, (text) => formatHostPort(parseHostPort(text, DEFAULT_PORT))),
    ),
    resources: frozenResources(entry.resources),
  });
}

/** @throws {PeerError} */
function checkResources({ peerId, resources }: PeerEntry): void {
  if (resources === undefined || resources === NO_RESOURCES) return;
  const lists = Object.values(resources);
  const fault =
    lists.length > MAX_PER_PEER || lists.some((list) => list.length > MAX_PER_PEER)
      ? `more than ${MAX_PER_PEER} of them`
      : isTooLong([...Object.keys(resources), ...lists.flat()])
        ? "they are more than 1 MiB as JSON"
        : undefined;
  if (fault !== undefined) throw new PeerError("PEER_INVALID", peerId, ["resources"], fault);
}

function isTooLong(texts: readonly string[]): boolean {
  // One character is six at most, and most lists are nowhere near.
  const most = texts.reduce((sum, { length }) => sum + 6 * length + 8, 0);
  return most > MAX_JSON && JSON.stringify(texts).length + 4 * texts.length > MAX_JSON;
}

/** Whether `text` can be the name of a peer: 1 to 64 letters, digits, `.`, `_`, `-`. */
export function isPeerName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

/** Whether an entry may have this as its `peerId`: some names stand for others than peers. */
export function mayBePeerId(text: string): boolean {
  const name = text.toLowerCase();
  return isPeerName(text) && name !== "owner" && !name.startsWith(TOKEN_PREFIX);
}

const NO_TEXTS: readonly string[] = Object.freeze([]);
const NO_RESOURCES: Readonly<Record<string, readonly string[]>> = Object.freeze({});

/** Empty lists are one list: with 100,000 peers that is 20 MB. */
function frozen(texts: readonly string[]): readonly string[] {
  if (texts.length === 0) return NO_TEXTS;
  return Object.isFrozen(texts) ? texts : Object.freeze([...texts]);
}

function frozenResources(
  resources: PeerEntry["resources"],
): Readonly<Record<string, readonly string[]>> {
  const entries = Object.entries(resources ?? {}).map(
    ([name, values]) => [name, frozen(values)] as const,
  );
  if (entries.length === 0) return NO_RESOURCES;
  return Object.freeze(Object.fromEntries(entries));
}
