/**
 * `alknet/register`: who has an invitation's secret is let in, and becomes a peer by the key of its handshake.
 *
 * One stream, one request, one answer (see `wire/register.ts`); then the connection is over, and so is every
 * chance to guess on it. Who shows the right secret is told what is wrong with it. A wrong one is "not a valid
 * invitation", whatever else it may be, and costs the source a penalty, also when it leaves before its answer.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { hashToken } from "./api-key.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { deadlines } from "./deadlines.ts";
import type { ProtocolHandler } from "./handler.ts";
import type { IdentityStore } from "./identity-store.ts";
import type { Redeemed } from "./invitation-store.ts";
import type { IdentitySource } from "./joined-identities.ts";
import { type Logger, silentLogger } from "./log.ts";
import { logDigest } from "./log-digest.ts";
import { isPeerName } from "./peers.ts";
import { readMessage } from "./read-message.ts";
import {
  decodeRequest,
  encodeReply,
  type JoinRequest,
  RegisterError,
  type Reply,
} from "./wire/register.ts";

/** The ALPN of this protocol. */
export const REGISTER_ALPN: string = "alknet/register";

/** How long a joiner may take to open a stream and send its request, in milliseconds. */
const DEADLINE = 10_000;

/** Most requests that wait for the store at once. */
const MAX_PENDING = 256;

/** Refusals of one source that have a log line each, in a minute. */
const LINES = 8;

/** Somebody who was not let in. */
export interface RegisterRefusal {
  readonly fingerprint: string;
  readonly remoteAddress: string | undefined;
  /** `not a valid invitation`, `invitation expired`, …: names no secret. */
  readonly reason: string;
}

export interface RegisterOptions {
  readonly store: Pick<IdentityStore, "redeem">;
  /** Peers that the store does not know of: their names and keys are taken. */
  readonly configured?: Pick<IdentitySource, "peer" | "peers" | "resolveFingerprint"> | undefined;
  /** What this node calls itself, told to who has joined. A function is asked each time. */
  readonly name?: string | (() => string | undefined) | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly onrefused?: ((refusal: RegisterRefusal) => void) | undefined;
}

/** Serve `alknet/register` to whoever proves a key. */
export function registerHandler(options: RegisterOptions): ProtocolHandler {
  const { store, configured, name, clock = systemClock, logger = silentLogger } = options;
  const inTime = deadlines(DEADLINE, clock);
  const refusals = logDigest<RegisterRefusal>({
    each: LINES,
    one: (refusal) => logger.info(refusal, "refused to join"),
    quiet: (refusal) => logger.debug(refusal, "refused to join"),
    more: (count, last, mixed) => {
      const fields = mixed ? { count } : { count, last };
      const where = mixed ? "other sources" : "the same source";
      logger.info(fields, `refused ${count} more to join from ${where}`);
    },
    clock,
  });
  let pending = 0;

  async function handle(connection: Connection): Promise<void> {
    const { draining } = connection;
    const over = new AbortController();
    let stream: Duplex | undefined;
    const end = (code: string, text: string): void => {
      over.abort(coded(code, text));
      stream?.destroy(over.signal.reason as Error);
    };
    const callOff = inTime.add(() => end("IDLE", "no request came in time"));
    const ondrain = (): void => end("DRAINING", "shutting down");
    draining.addEventListener("abort", ondrain, { once: true });
    let request;
    try {
      stream = await connection.accept({ signal: over.signal });
      // It has left, or we are shutting down.
      if (stream === undefined) return;
      stream.on("error", () => {});
      request = await readMessage(stream, decodeRequest);
    } catch (error) {
      if (error instanceof RegisterError) connection.penalize("malformed");
      throw error;
    } finally {
      callOff();
      draining.removeEventListener("abort", ondrain);
    }
    if (request === undefined) return;
    const reply: Reply =
      request.kind === "unknown"
        ? refused("unsupported", "this node does not know what was asked")
        : await judge(connection, request);
    stream.end(encodeReply(reply));
    // What else comes is not wanted, and must not keep the end from being seen.
    stream.resume();
  }

  async function judge(connection: Connection, { secret, name: as }: JoinRequest): Promise<Reply> {
    const { fingerprint } = connection.auth;
    // The endpoint lets nobody in here without a key.
    if (fingerprint === undefined) return refused("failed", "no key");
    if (pending === MAX_PENDING) return refused("limit", "too many join at once; try again");
    if (configured?.resolveFingerprint(fingerprint) !== undefined) {
      return refuse(connection, "key-known", "key known", "this key is a peer's already");
    }
    const isTaken = (peerId: string): boolean => configured?.peer(peerId) !== undefined;
    // Asked for who has a good invitation alone: they may be many. Those that are disabled have their keys, too.
    const holder = (key: string): string | undefined =>
      configured?.peers.find(({ fingerprints }) => fingerprints.includes(key))?.peerId;
    let redeemed: Redeemed;
    pending++;
    try {
      redeemed = await store.redeem(hashToken(secret), { fingerprint, as, isTaken, holder });
    } catch (error) {
      logger.error({ err: error, fingerprint }, "cannot let a key join");
      return refused("failed", "the node could not write it down; try again");
    } finally {
      pending--;
    }
    return answer(connection, fingerprint, redeemed);
  }

  function answer(connection: Connection, fingerprint: string, redeemed: Redeemed): Reply {
    switch (redeemed.outcome) {
      case "joined":
      case "joined before": {
        const { peerId, scopes } = redeemed.peer;
        const before = redeemed.outcome === "joined before";
        logger.info({ peer: peerId, fingerprint, scopes }, before ? "joined again" : "joined");
        const own = typeof name === "function" ? name() : name;
        const node = own !== undefined && isPeerName(own) ? own : undefined;
        return { kind: "joined", before, peer: peerId, node, scopes, scopeCount: scopes.length };
      }
      case "unknown":
        connection.penalize("auth");
        return refuse(connection, "invalid", "not a valid invitation", "not a valid invitation");
      case "expired":
        return refuse(connection, "expired", "invitation expired", "the invitation has expired");
      case "used":
        return refuse(
          connection,
          "used",
          "invitation used",
          "the invitation was used, by another key",
        );
      case "name taken": {
        const text = `the name ${JSON.stringify(redeemed.peerId)} is another's over there`;
        return refuse(connection, "name-taken", "name taken", text);
      }
      case "key known": {
        const text = `this key is that of peer ${JSON.stringify(redeemed.peerId)} already`;
        return refuse(connection, "key-known", "key known", text);
      }
      case "peer gone": {
        const text = `peer ${JSON.stringify(redeemed.peerId)} is disabled over there, or there no more`;
        return refuse(connection, "peer-gone", "peer gone", text);
      }
    }
  }

  function refuse(
    { auth, remoteAddress }: Connection,
    refusal: (Reply & { kind: "refused" })["refusal"],
    reason: string,
    text: string,
  ): Reply {
    const { fingerprint = "" } = auth;
    // Keys are free, addresses are not.
    const source = remoteAddress?.slice(0, remoteAddress.lastIndexOf(":")) ?? "";
    refusals.add(source, { fingerprint, remoteAddress, reason });
    options.onrefused?.({ fingerprint, remoteAddress, reason });
    return refused(refusal, text);
  }

  return { alpns: [REGISTER_ALPN], access: "keyed", tls: "node", handle };
}

function refused(refusal: (Reply & { kind: "refused" })["refusal"], text: string): Reply {
  return { kind: "refused", refusal, text };
}

function coded(code: string, text: string): Error {
  return Object.assign(new Error(`cannot let join: ${text}`), { code });
}
