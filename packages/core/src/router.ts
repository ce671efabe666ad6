/**
 * The router: a connection's ALPN picks its handler, and who the peer is decides whether it gets there.
 *
 * Strangers learn nothing. Under `alknet/*` every name is negotiated, and one that is not served ends as one
 * that is served does for somebody who may not use it: `UNAVAILABLE`, after the handshake.
 *
 * @module
 */

import { AccessDenied, AccessRevoked } from "./access.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode, closeCodeOf } from "./close-code.ts";
import { type CloseReason, ConnectionClosed, type OwnedConnection } from "./connection.ts";
import type { ProtocolHandler } from "./handler.ts";
import { parseIp } from "./ip-address.ts";
import type { AlpnClass, ConnectionSlot, PendingHandshake } from "./limits.ts";
import { blockKey } from "./source-block.ts";
import { type Logger, silentLogger } from "./log.ts";
import { logDigest } from "./log-digest.ts";
import { expired } from "./while-moving.ts";

/** Why a connection was not let to its handler. */
export type Refusal = "not served" | "no key" | "not a peer" | "limit" | "draining";

/** What is worth telling the owner of a node: for the log, `status` and `doctor`. */
export type RouterEvent = {
  readonly alpn: string;
  readonly transport: string;
  readonly remoteAddress: string | undefined;
  readonly fingerprint: string | undefined;
  /** Name of the peer, if it is one. */
  readonly peer: string | undefined;
} & (
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly reason: Refusal }
  | {
      readonly kind: "closed";
      readonly reason: CloseReason;
      /** Milliseconds since it was opened. */
      readonly lasted: number;
    }
);

export interface RouterOptions {
  readonly handlers: readonly ProtocolHandler[];
  /** How long `close()` lets handlers finish, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly onevent?: ((event: RouterEvent) => void) | undefined;
}

/** What a handshake is to be, by what a client offers. */
export interface Selection {
  readonly alpn: string;
  readonly tls: ProtocolHandler["tls"];
}

/** A connection that a handler has. */
export interface LiveConnection {
  readonly connection: OwnedConnection;
  /** `clock.now()` when it was opened. */
  readonly since: number;
}

/** `await using` closes it. */
export interface Router extends AsyncDisposable {
  /**
   * Which of the ALPNs that a client offers its handshake gets: the first that is served on the transport,
   * or that is of `alknet/*`. None offered on TCP means `http/1.1`, where that is served.
   *
   * @returns `undefined`: the alert `no_application_protocol`.
   */
  select(offered: readonly string[], transport: "quic" | "tcp"): Selection | undefined;
  /** Take a connection whose handshake is complete, and give it to its handler or refuse it. */
  route(connection: OwnedConnection, handshake: PendingHandshake): void;
  readonly live: Iterable<LiveConnection>;
  /** Finish what was begun, then stop. Call it as often as you like: there is one promise. */
  close(): Promise<void>;
}

/** Refusals of one source that have a log line each, in a minute. */
const REFUSAL_LINES = 8;

/** Serve `handlers`. @throws {TypeError} if two of them share an ALPN, or one of them is not as it has to be. */
export function createRouter(options: RouterOptions): Router {
  const { drain = 2_000, clock = systemClock, logger = silentLogger, onevent } = options;
  const byAlpn = index(options.handlers);
  const live = new Map<OwnedConnection, LiveConnection>();
  const refusals = logDigest<Refused>({
    each: REFUSAL_LINES,
    one: ({ reason, ...fields }) => logger.info(fields, sentence(fields, reason)),
    quiet: ({ reason, ...fields }) => logger.debug(fields, sentence(fields, reason)),
    more: (count, { reason, ...last }, mixed) => {
      const fields = mixed ? { count } : { count, last: { ...last, reason } };
      const where = mixed ? "other sources" : "the same source";
      logger.info(fields, `refused ${count} more from ${where}`);
    },
    clock,
  });
  let closing: Promise<void> | undefined;

  function served(alpn: string, transport: string): ProtocolHandler | undefined {
    const handler = byAlpn.get(alpn);
    if (handler === undefined) return undefined;
    const { transports } = handler;
    return transports?.some((name) => name === transport) === false ? undefined : handler;
  }

  function select(offered: readonly string[], transport: "quic" | "tcp"): Selection | undefined {
    const names = offered.length === 0 && transport === "tcp" ? ["http/1.1"] : offered;
    for (const alpn of names) {
      if (isOwn(alpn)) return { alpn, tls: "node" };
      const handler = served(alpn, transport);
      if (handler !== undefined) return { alpn, tls: handler.tls };
    }
    return undefined;
  }

  function route(connection: OwnedConnection, handshake: PendingHandshake): void {
    const handler = served(connection.alpn, connection.transport);
    const refusal = judge(handler, connection, closing !== undefined);
    if (handler === undefined || refusal !== undefined) {
      const unknown = connection.auth.peer === undefined && refusal !== "draining";
      handshake.failed(unknown ? "unknown-key" : undefined, true);
      refuse(connection, refusal ?? "not served");
      return;
    }
    const slot = handshake.succeeded(connection.auth.peer?.id, CLASS[handler.access]);
    if (slot === undefined) {
      refuse(connection, "limit");
      return;
    }
    void serve(connection, handler, slot);
  }

  function refuse(connection: OwnedConnection, reason: Refusal): void {
    tell(connection, { kind: "refused", reason });
    connection.refuse(CODES[reason]);
  }

  /** Never rejects. Over when the connection is. */
  async function serve(
    connection: OwnedConnection,
    handler: ProtocolHandler,
    slot: ConnectionSlot,
  ): Promise<void> {
    const since = clock.now();
    live.set(connection, { connection, since });
    connection.onpenalty = (penalty) => slot.penalize(penalty);
    tell(connection, { kind: "opened" });
    void handle(connection, handler);
    const reason = await connection.closed;
    live.delete(connection);
    slot[Symbol.dispose]();
    tell(connection, { kind: "closed", reason, lasted: clock.now() - since });
  }

  /** Whatever the handler does, throw at once, reject late or never settle, concerns its connection only. */
  async function handle(connection: OwnedConnection, handler: ProtocolHandler): Promise<void> {
    try {
      await handler.handle(connection);
      await connection.close();
    } catch (error) {
      // What fails because the connection has ended is no news.
      if (live.has(connection)) report(connection, error);
      connection.abort(closeCodeOf(error));
    }
  }

  function report(connection: OwnedConnection, error: unknown): void {
    const fields = { ...fieldsOf(connection), err: error };
    const expectedToHappen =
      error instanceof ConnectionClosed ||
      error instanceof AccessDenied ||
      error instanceof AccessRevoked ||
      closeCodeOf(error) !== CloseCode.INTERNAL;
    if (expectedToHappen) logger[levelFor(connection)](fields, "connection ended by its handler");
    else logger.error(fields, "handler failed");
  }

  function tell(
    connection: OwnedConnection,
    what: { kind: "opened" } | { kind: "refused"; reason: Refusal } | ClosedEvent,
  ): void {
    const fields = fieldsOf(connection);
    switch (what.kind) {
      case "opened":
        logger[levelFor(connection)](fields, "connection opened");
        break;
      case "refused":
        refusals.add(sourceOf(fields.remoteAddress), { ...fields, reason: what.reason });
        break;
      case "closed": {
        const { by, code, name, reason } = what.reason;
        const seconds = Math.round(what.lasted) / 1_000;
        const all = { ...fields, by, code, name, reason, seconds };
        logger[levelFor(connection)](all, "connection closed");
      }
    }
    try {
      onevent?.({ ...fields, ...what });
    } catch (error) {
      logger.error({ err: error }, "listener of router events failed");
    }
  }

  async function shutdown(): Promise<void> {
    // 1. Tell every handler that it is time to finish. (Nobody new is taken: `closing` is set.)
    for (const connection of live.keys()) connection.drain();
    // 2. Let them finish, within reason.
    const over = Promise.all([...live.keys()].map(({ closed }) => closed));
    await Promise.race([over, expired(clock.timeout(drain))]);
    // 3. Cut off whoever is left.
    for (const connection of live.keys()) connection.abort(CloseCode.DRAINING, "shutting down");
    await over;
    refusals.flush();
  }

  return {
    select,
    route,
    get live() {
      return live.values();
    },
    close: () => (closing ??= Promise.resolve().then(shutdown)),
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
}

type ClosedEvent = { kind: "closed"; reason: CloseReason; lasted: number };

const CLASS: Readonly<Record<ProtocolHandler["access"], AlpnClass>> = {
  peers: "peer",
  keyed: "keyed",
  anyone: "web",
};

const CODES: Readonly<Record<Refusal, number>> = {
  "not served": CloseCode.UNAVAILABLE,
  "no key": CloseCode.UNAVAILABLE,
  "not a peer": CloseCode.UNAVAILABLE,
  limit: CloseCode.LIMIT,
  draining: CloseCode.DRAINING,
};

function judge(
  handler: ProtocolHandler | undefined,
  { auth }: OwnedConnection,
  draining: boolean,
): Refusal | undefined {
  const stranger = auth.peer === undefined;
  const missing = auth.fingerprint === undefined ? "no key" : "not a peer";
  // Before anything else: what a stranger is told must not depend on what is served.
  if (handler === undefined) return stranger ? missing : "not served";
  if (handler.access === "peers" && stranger) return missing;
  if (handler.access === "keyed" && auth.fingerprint === undefined) return "no key";
  return draining ? "draining" : undefined;
}

/** A name of ours: visible ASCII, so that it can stand in a log. */
function isOwn(alpn: string): boolean {
  return /^alknet\/[\x21-\x7e]{1,248}$/.test(alpn);
}

function index(handlers: readonly ProtocolHandler[]): Map<string, ProtocolHandler> {
  const byAlpn = new Map<string, ProtocolHandler>();
  for (const handler of handlers) {
    if (handler.alpns.length === 0) {
      throw new TypeError("cannot serve a handler without an ALPN");
    }
    for (const alpn of handler.alpns) {
      const name = JSON.stringify(alpn);
      if (alpn.length === 0 || alpn.length > 255) {
        throw new TypeError(`cannot serve ALPN ${name}: expected 1 to 255 bytes`);
      }
      if (byAlpn.has(alpn)) throw new TypeError(`cannot serve ALPN ${name} twice`);
      if (alpn.startsWith("alknet/") && !(isOwn(alpn) && handler.tls === "node")) {
        // The handshake would tell a stranger which of these names are served.
        throw new TypeError(
          `cannot serve ALPN ${name}: names of alknet/* are visible ASCII and show the node's leaf`,
        );
      }
      if (handler.access !== "anyone" && handler.tls === "web") {
        throw new TypeError(
          `cannot serve ALPN ${name}: nobody can prove a key to a handler with tls "web"`,
        );
      }
      byAlpn.set(alpn, handler);
    }
  }
  return byAlpn;
}

/** Who is behind an address, as far as limits can tell. */
function sourceOf(remoteAddress: string = ""): string {
  const host = remoteAddress.slice(0, remoteAddress.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const ip = parseIp(host);
  return ip === undefined ? host : `${blockKey(ip)}`;
}

/** A refusal in a log line. */
function sentence({ fingerprint = "no key", alpn }: ConnectionFields, reason: Refusal): string {
  return `key ${fingerprint} refused for ${alpn}: ${reason}`;
}

/** What strangers can repeat as often as they like fills no log: their handler tells what matters of it. */
function levelFor({ auth }: OwnedConnection): "info" | "debug" {
  return auth.peer === undefined ? "debug" : "info";
}

interface ConnectionFields {
  readonly alpn: string;
  readonly transport: string;
  readonly remoteAddress: string | undefined;
  readonly fingerprint: string | undefined;
  readonly peer: string | undefined;
}

interface Refused extends ConnectionFields {
  readonly reason: Refusal;
}

function fieldsOf({ alpn, transport, remoteAddress, auth }: OwnedConnection): ConnectionFields {
  const { fingerprint, peer } = auth;
  return { alpn, transport, remoteAddress, fingerprint, peer: peer?.id };
}
