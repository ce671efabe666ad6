/**
 * Joining a node by its invitation: the other side of `alknet/register`.
 *
 * The node is known by the key in the invitation, and nothing is sent to anybody else. Once it has let us in,
 * it becomes a peer here too, to be dialed by a name; nothing is granted to it.
 *
 * @module
 */

import { type Clock, systemClock } from "./clock.ts";
import { CloseCode } from "./close-code.ts";
import type { Connection } from "./connection.ts";
import { deadlines } from "./deadlines.ts";
import type { Dialer } from "./dialer.ts";
import type { IdentityStore } from "./identity-store.ts";
import { type InvitationTicket, parseInvitation } from "./invitation-ticket.ts";
import { isPeerName, mayBePeerId, type PeerEntry } from "./peers.ts";
import { readMessage } from "./read-message.ts";
import { REGISTER_ALPN } from "./register.ts";
import type { Committed } from "./store-change.ts";
import { MAX_ADDRESSES } from "./ticket.ts";
import { decodeReply, encodeJoinRequest, type JoinedReply, type Refusal } from "./wire/register.ts";

/** How long the node may take to answer, in milliseconds: it may wait for its database. */
const DEADLINE = 30_000;

export type JoinErrorCode =
  /** Nobody made such an invitation, or it was taken back. */
  | "INVITATION_UNKNOWN"
  | "INVITATION_EXPIRED"
  | "INVITATION_USED"
  /** Over there the name is another peer's. */
  | "NAME_TAKEN"
  /** Here the name is another node's, or none that a peer may have. Nothing was sent. */
  | "LOCAL_NAME_TAKEN"
  | "NAME_INVALID"
  /** The node is known here, and disabled. Nothing was sent. */
  | "PEER_DISABLED"
  /** The invitation is this node's own. Nothing was sent. */
  | "OWN_INVITATION"
  /** Over there our key is a peer's already. */
  | "KEY_KNOWN"
  /** The peer that was to get this key is disabled over there, or gone. */
  | "PEER_GONE"
  | "LIMIT"
  /** The node lets nobody join, or not in this way. */
  | "JOIN_UNAVAILABLE"
  /** A fault of the node; what it says is in the message. */
  | "JOIN_FAILED"
  /** No answer came; it may have let us in. */
  | "JOIN_UNANSWERED"
  /** The node has let us in, and it could not be written down here. */
  | "JOINED_NOT_SAVED";

export class JoinError extends Error {
  override readonly name = "JoinError";
  readonly code: JoinErrorCode;
  readonly hint: string | undefined;

  constructor(
    code: JoinErrorCode,
    text: string,
    options: ErrorOptions & { readonly hint?: string | undefined } = {},
  ) {
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

export interface JoinOptions {
  readonly dialer: Pick<Dialer, "dial">;
  /** Where the node becomes a peer. */
  readonly store: Pick<IdentityStore, "peers" | "changePeer">;
  /** Peers that the store does not know of, and must not contradict. @default none */
  readonly configured?: readonly PeerEntry[] | undefined;
  /** Fingerprint of this node's own key. */
  readonly fingerprint: string;
  /** What the node is to be called here. @default what it calls itself */
  readonly as?: string | undefined;
  /** What we would like to be called there, where the invitation leaves it open. */
  readonly name?: string | undefined;
  /** Over these only. @default whatever gets through first */
  readonly transports?: readonly ("quic" | "tcp")[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly clock?: Clock | undefined;
}

/** What came of it. */
export interface Joined {
  /** By the same key and invitation, before: its answer had been lost. */
  readonly before: boolean;
  /** What the node is called here. */
  readonly node: string;
  /** Of the node. */
  readonly fingerprint: string;
  readonly addresses: readonly string[];
  /** What we are called there. */
  readonly peer: string;
  /** What we may do there: as many as fit into the answer. */
  readonly scopes: readonly string[];
  /** How many there are. */
  readonly scopeCount: number;
  readonly transport: string;
  /** `undefined`: it is a configured peer, and nothing had to be changed. */
  readonly committed: Committed | undefined;
}

/**
 * Join the node that made `invitation`. By the same key it may be done again, for whatever went wrong.
 *
 * @throws {InvalidText} `INVITATION_INVALID`, with a `hint`.
 * @throws {JoinError} with a `hint`.
 * @throws what `dialer.dial` throws, `PEER_KEY_MISMATCH` if somebody else answers; the reason of `signal`.
 */
export async function join(invitation: string, options: JoinOptions): Promise<Joined> {
  const { dialer, store, configured = [], transports, signal } = options;
  const ticket = parseInvitation(invitation);
  const { fingerprint, addresses } = ticket;
  if (fingerprint === options.fingerprint) {
    throw new JoinError("OWN_INVITATION", "this invitation was made here", {
      hint: "use it on the machine that is to be let in: alknet join INVITATION",
    });
  }
  const known = [...configured, ...store.peers];
  const node = nameHere(ticket, options.as, known);
  const connection = await dialer.dial(ticket, REGISTER_ALPN, { transports, signal });
  const { transport } = connection;
  let reply: JoinedReply;
  try {
    reply = await ask(connection, ticket, options);
  } finally {
    // All that was asked for has come, or never will.
    connection.abort(CloseCode.OK);
  }
  const isConfigured = configured.some(({ fingerprints }) => fingerprints.includes(fingerprint));
  let committed: Committed | undefined;
  try {
    if (!isConfigured) {
      committed = await store.changePeer(node, (before) => entryOf(node, ticket, before));
    }
  } catch (cause) {
    const text = `${JSON.stringify(node)} has let this machine in, but it could not be written down here`;
    throw new JoinError("JOINED_NOT_SAVED", `${text}: ${(cause as Error).message}`, {
      cause,
      hint: "mend that, then run the same command again: the same key may use the invitation again",
    });
  }
  const { before, peer, scopes, scopeCount } = reply;
  return {
    before,
    node,
    fingerprint,
    addresses,
    peer,
    scopes,
    scopeCount,
    transport,
    committed,
  };
}

/** What the node will be called here. Whatever stands against it is said before anything is sent. */
function nameHere(
  { fingerprint, name }: InvitationTicket,
  as: string | undefined,
  known: readonly PeerEntry[],
): string {
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
  const present = known.find(({ fingerprints }) => fingerprints.includes(fingerprint));
  if (present !== undefined) {
    const { peerId, enabled } = present;
    if (!enabled) {
      throw new JoinError("PEER_DISABLED", `this node is ${quoted(peerId)} here, and disabled`, {
        hint: `alknet peers enable ${peerId}; then join again`,
      });
    }
    if (as === undefined || same(as, peerId)) return peerId;
    throw new JoinError("LOCAL_NAME_TAKEN", `this node is known here as ${quoted(peerId)}`, {
      hint: `join without --as; to rename it: alknet peers rename ${peerId} ${as}`,
    });
  }
  if (as !== undefined && !mayBePeerId(as)) {
    throw new JoinError("NAME_INVALID", `cannot call a node ${quoted(as)}`, {
      hint: 'after --as: 1 to 64 letters, digits, ".", "_", "-", a letter or digit first',
    });
  }
  const proposed = name !== undefined && mayBePeerId(name) ? name : undefined;
  const chosen = as ?? proposed ?? `node-${fingerprint.slice(-8)}`;
  const other = known.find(({ peerId }) => same(peerId, chosen));
  if (other === undefined) return chosen;
  throw new JoinError("LOCAL_NAME_TAKEN", `${quoted(other.peerId)} is another node's name here`, {
    hint: "give this one a name of its own: alknet join INVITATION --as NAME",
  });
}

/** @throws {JoinError} if it is refused, or does not answer. */
async function ask(
  connection: Connection,
  { secret }: InvitationTicket,
  { name, signal, clock = systemClock }: JoinOptions,
): Promise<JoinedReply> {
  const stream = await connection.open({ signal });
  stream.on("error", () => {});
  const onabort = (): void => void stream.destroy(signal?.reason as Error);
  signal?.addEventListener("abort", onabort, { once: true });
  const callOff = deadlines(DEADLINE, clock).add(() =>
    stream.destroy(new Error(`no answer within ${DEADLINE / 1_000} s`)),
  );
  try {
    const wanted = name !== undefined && isPeerName(name) ? name : undefined;
    stream.end(encodeJoinRequest({ secret, name: wanted }));
    const reply = await readMessage(stream, decodeReply);
    if (reply === undefined) throw new Error("it ended before its answer");
    if (reply.kind === "joined") return reply;
    throw refusal(reply.refusal, reply.text);
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof JoinError ? error : await unanswered(connection, error as Error);
  } finally {
    signal?.removeEventListener("abort", onabort);
    callOff();
  }
}

const AGAIN = "have another one made over there: alknet invite";

const REFUSALS: Readonly<Record<Refusal, readonly [JoinErrorCode, hint: string]>> = {
  invalid: ["INVITATION_UNKNOWN", AGAIN],
  expired: ["INVITATION_EXPIRED", AGAIN],
  used: ["INVITATION_USED", AGAIN],
  "name-taken": [
    "NAME_TAKEN",
    "ask for another one: alknet join INVITATION --name NAME; or have it set over there: alknet invite --name NAME",
  ],
  "key-known": [
    "KEY_KNOWN",
    "nothing has to be joined; to see what it may do: alknet peers, there",
  ],
  "peer-gone": ["PEER_GONE", "have it enabled, or another invitation made, over there"],
  limit: ["LIMIT", "run the same command again in a minute"],
  unsupported: ["JOIN_UNAVAILABLE", "one of the two machines has an older alknet: update it"],
  failed: ["JOIN_FAILED", "run the same command again; over there, alknet log says what is wrong"],
};

function refusal(kind: Refusal, text: string): JoinError {
  const [code, hint] = REFUSALS[kind];
  return new JoinError(code, `not let in: ${text === "" ? kind : text}`, { hint });
}

/** No answer has come. Why the connection ended says more than what that did to the stream. */
async function unanswered(connection: Connection, error: Error): Promise<Error> {
  const open = Symbol("open");
  const ended = await Promise.race([
    connection.closed,
    new Promise<typeof open>((resolve) => setImmediate(resolve, open)),
  ]);
  const name = ended === open ? (error as { code?: unknown }).code : ended.name;
  if (name === "UNAVAILABLE") {
    return new JoinError("JOIN_UNAVAILABLE", "the node lets nobody join by an invitation", {
      cause: error,
      hint: "update alknet over there, and see that the node has its store: alknet doctor",
    });
  }
  if (name === "LIMIT") return refusal("limit", "a limit of the node is reached");
  return new JoinError("JOIN_UNANSWERED", `the node did not answer: ${error.message}`, {
    cause: error,
    hint: "run the same command again: if it has let this key in already, it will say so",
  });
}

/** The node as a peer here. What is known of it stays; nothing is granted. */
function entryOf(
  peerId: string,
  { fingerprint, addresses }: InvitationTicket,
  before: PeerEntry | undefined,
): PeerEntry {
  if (before === undefined) {
    return { peerId, fingerprints: [fingerprint], scopes: [], enabled: true, addresses };
  }
  if (!before.fingerprints.includes(fingerprint)) {
    throw new JoinError("LOCAL_NAME_TAKEN", `${quoted(peerId)} is another node's name by now`, {
      hint: "alknet join INVITATION --as NAME",
    });
  }
  const all = [...new Set([...addresses, ...(before.addresses ?? [])])];
  return { ...before, addresses: all.slice(0, MAX_ADDRESSES) };
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}
