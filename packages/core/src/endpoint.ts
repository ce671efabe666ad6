/**
 * The endpoint: QUIC and TLS on one port number, and the way of a connection from there to its handler.
 *
 * ```text
 * UDP port N ──► QUIC engine ─────────┐ admit      choose                    authenticate ─► route
 * TCP port N ──► peek ClientHello ────┘ (limits) ─► (ALPN → TLS) ─► handshake ─► (who is it)   (router)
 * ```
 *
 * @module
 */

import type { QuicCloseReason } from "@alknet/quic/close-reason";
import type { QuicConnection } from "@alknet/quic/connection";
import { bind, type QuicEndpoint } from "@alknet/quic/endpoint";
import type { Configuration, Source } from "@alknet/quic/handshake";
import { TlsServerConfig } from "@alknet/quic/tls";
import type { TransportOptions } from "@alknet/quic/transport-options";
import net from "node:net";
import type { SecureContext } from "node:tls";
import { authenticate, type Credential, type IdentityProvider } from "./access.ts";
import { webCertificate } from "./certificate.ts";
import type { ClientHello } from "./client-hello.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode } from "./close-code.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { type Deadlines, deadlines } from "./deadlines.ts";
import { createDialer, type Dialer } from "./dialer.ts";
import { CertificateError, fingerprintOfSpki } from "./fingerprint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { type HostPort, parseHostPort } from "./host.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { fingerprintOfLeaf } from "./leaf-fingerprint.ts";
import {
  AdmissionLimits,
  type LimitsOptions,
  type PendingHandshake,
  type Penalty,
} from "./limits.ts";
import { type Logger, silentLogger } from "./log.ts";
import { type LogDigest, logDigest } from "./log-digest.ts";
import { DEFAULT_PORT, type PeerEntry } from "./peers.ts";
import { PEER_WINDOW, quicConnection, resetCodeOf, STRANGER_WINDOW } from "./quic-connection.ts";
import { createRouter, type LiveConnection, type Router, type RouterEvent } from "./router.ts";
import { cut, tcpConnection } from "./tcp-connection.ts";
import { nodeContext, type TlsIdentity, webContext } from "./tls-context.ts";
import {
  HandshakeDropped,
  NO_APPLICATION_PROTOCOL,
  serveTls,
  type TlsChoice,
  type TlsOutcome,
} from "./tls-server.ts";

/** What an owner may want to hear of: what the router tells, and who did not get that far. */
export type EndpointEvent =
  | RouterEvent
  | {
      readonly kind: "turned away";
      readonly transport: "quic" | "tcp";
      /** IP address. Of QUIC it may be forged. */
      readonly remoteAddress: string;
      readonly reason: "penalty" | "limit" | "source";
    }
  | {
      readonly kind: "handshake failed";
      readonly transport: "quic" | "tcp";
      readonly remoteAddress: string;
      readonly reason: string;
      readonly detail: string;
    };

export interface EndpointOptions {
  readonly identity: NodeIdentity;
  /** Who is known; `peers` also by name, to be dialed. */
  readonly identities: IdentityProvider & { readonly peers?: readonly PeerEntry[] };
  readonly handlers: readonly ProtocolHandler[];
  /** `address:port` each; port 0 is one that is free for UDP and TCP. @default ["[::]:7433"] */
  readonly listen?: readonly string[] | undefined;
  /** What web ALPNs show. @default a self-made certificate for `localhost` */
  readonly web?: TlsIdentity | undefined;
  readonly limits?: AdmissionLimits | LimitsOptions | undefined;
  /** How long `close()` lets handlers finish, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  /** For a whole handshake, in milliseconds. @default 10_000 */
  readonly handshakeTimeout?: number | undefined;
  /** How long a QUIC connection may be without a stream, in milliseconds. @default 30_000 */
  readonly idleTimeout?: number | undefined;
  /** Settings of the QUIC engine. Its `receiveWindow` is for peers; strangers have 1 MiB of it at most. */
  readonly transport?: TransportOptions | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly onevent?: ((event: EndpointEvent) => void) | undefined;
}

/** `await using` closes it. */
export interface Endpoint extends AsyncDisposable {
  /** Where it listens, UDP and TCP each, in the order of `listen`. */
  readonly addresses: readonly HostPort[];
  /** Dials from the sockets that listen. */
  readonly dialer: Dialer;
  /** Connections that handlers have now. */
  readonly connections: Iterable<LiveConnection>;
  readonly limits: AdmissionLimits;
  /** Bytes of socket buffers that the kernel gave for UDP, by address. */
  readonly socketBuffers: readonly { receive: number; send: number }[];
  /** Finish what was begun, then stop. Call it as often as you like: there is one promise. */
  close(): Promise<void>;
}

/** A port that was found free for TCP may be taken for UDP; so often another is tried. */
const PORT_ATTEMPTS = 32;

type HandshakeFailed = EndpointEvent & { readonly kind: "handshake failed" };

interface Listener {
  readonly address: HostPort;
  readonly tcp: net.Server;
  readonly quic: QuicEndpoint;
}

/**
 * Listen, and serve `handlers`.
 *
 * @throws {TypeError} if handlers do not go together; see `createRouter`.
 * @throws {InvalidText} `ADDRESS_INVALID`, if an address to listen on does not parse.
 * @throws {Error} with the `code` of the system (`EADDRINUSE`, `EACCES`, …) if a port is not to be had.
 */
export async function createEndpoint(options: EndpointOptions): Promise<Endpoint> {
  const { drain = 2_000, clock = systemClock, logger = silentLogger } = options;
  const router = createRouter({ ...options, drain, clock, logger });
  const limits =
    options.limits instanceof AdmissionLimits
      ? options.limits
      : new AdmissionLimits({ clock, ...options.limits });
  const server = new Server(options, router, limits);
  const { listen = [`[::]:${DEFAULT_PORT}`] } = options;
  const wanted = listen.map((text) => parseHostPort(text, DEFAULT_PORT));
  const listeners: Listener[] = [];
  try {
    for (const address of wanted) listeners.push(await server.listen(address));
  } catch (error) {
    await Promise.all(listeners.map(stop));
    throw error;
  }
  const sockets = listeners.map(({ quic }) => quic);
  // Whom we dial is no stranger, also on a socket that listens.
  const transport = { ...options.transport, receiveWindow: peerWindowOf(options) };
  const dialer = createDialer({
    ...options,
    sockets,
    transport,
    bind: () => bind({ resetCodeOf, transport }),
    drain,
    clock,
    logger,
  });
  let closing: Promise<void> | undefined;

  async function shutdown(): Promise<void> {
    // 1. Take nobody new: handshakes under way are dropped too.
    for (const { quic } of listeners) quic.stopAccepting();
    const closed = listeners.map(({ tcp }) => closeServer(tcp));
    await server.stop();
    // 2. Tell every connection, let them finish within the drain time, end those that do not.
    await Promise.all([router.close(), dialer.close()]);
    // 3. Only now give the ports back: the last bytes were still leaving through them.
    await Promise.all(sockets.map((quic) => quic.close({ code: CloseCode.DRAINING })));
    await server.destroySockets();
    await Promise.all(closed);
  }

  const endpoint: Endpoint = {
    addresses: listeners.map(({ address }) => address),
    dialer,
    get connections() {
      return router.live;
    },
    limits,
    get socketBuffers() {
      return sockets.map((quic) => quic.socketBuffers);
    },
    close: () => (closing ??= Promise.resolve().then(shutdown)),
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
  return endpoint;
}

function peerWindowOf({ transport }: EndpointOptions): number {
  return transport?.receiveWindow ?? PEER_WINDOW;
}

/** What all listeners of an endpoint share. */
class Server {
  readonly #options: EndpointOptions;
  readonly #router: Router;
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Anybody can have handshakes fail, as many as they like. */
  readonly #failures: LogDigest<HandshakeFailed>;
  readonly #timeout: number;
  readonly #handshakes: Deadlines;
  readonly #idle: Deadlines;
  readonly #peerWindow: number;
  readonly #sockets = new Set<net.Socket>();
  readonly #contexts: Readonly<Record<ProtocolHandler["tls"], () => SecureContext>>;
  readonly #configs: Readonly<Record<ProtocolHandler["tls"], () => TlsServerConfig>>;
  #stopped = false;

  constructor(options: EndpointOptions, router: Router, limits: AdmissionLimits) {
    this.#options = options;
    this.#router = router;
    this.#limits = limits;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#failures = digestOf(this.#logger, this.#clock);
    this.#timeout = options.handshakeTimeout ?? 10_000;
    this.#handshakes = deadlines(this.#timeout, this.#clock);
    this.#idle = deadlines(options.idleTimeout ?? 30_000, this.#clock);
    this.#peerWindow = peerWindowOf(options);
    const { identity } = options;
    const web = lazy(() => options.web ?? webCertificate(["localhost"], { clock: this.#clock }));
    const node = lazy(() => nodeContext(identity));
    // node:tls has no raw keys: over TCP there is the leaf alone.
    this.#contexts = { node, raw: node, web: lazy(() => webContext(web())) };
    const own = {
      certificates: [identity.certificate],
      privateKey: identity.privateKeyDer,
      clientCertificate: "request",
    } as const;
    this.#configs = {
      node: lazy(() => new TlsServerConfig(own)),
      raw: lazy(() => new TlsServerConfig({ ...own, rawPublicKeys: true })),
      web: lazy(() => {
        const { certificate, privateKey } = web();
        return new TlsServerConfig({
          certificates: [certificate],
          privateKey: privateKey.export({ format: "der", type: "pkcs8" }),
        });
      }),
    };
  }

  async listen(wanted: HostPort): Promise<Listener> {
    for (let attempt = 1; ; attempt++) {
      const tcp = this.#tcpServer();
      const { host, port } = await listenTcp(tcp, wanted);
      try {
        const quic = this.#bind(host, port);
        return { address: { host, port }, tcp, quic };
      } catch (error) {
        await closeServer(tcp);
        const { code } = error as NodeJS.ErrnoException;
        if (wanted.port !== 0 || code !== "EADDRINUSE" || attempt === PORT_ATTEMPTS) throw error;
      }
    }
  }

  /** Take nobody new, and drop the handshakes that are under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await cleanStack();
    for (const socket of this.#sockets) {
      if (!served.has(socket)) socket.destroy();
    }
  }

  /** Whatever is left: sockets that were refused, and whose peers do not let go of them. */
  async destroySockets(): Promise<void> {
    await cleanStack();
    for (const socket of this.#sockets) socket.destroy();
    this.#failures.flush();
  }

  // TCP

  #tcpServer(): net.Server {
    return net.createServer(
      {
        // Nothing is read before the ClientHello is asked for.
        pauseOnConnect: true,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 30_000,
      },
      (socket) => {
        this.#sockets.add(socket);
        socket.on("close", () => this.#sockets.delete(socket));
        void this.#serveTcp(socket);
      },
    );
  }

  /** Never rejects. */
  async #serveTcp(raw: net.Socket): Promise<void> {
    const { remoteAddress = "" } = raw;
    const admission = this.#limits.begin({ address: remoteAddress, validated: true }, "tcp", () =>
      raw.destroy(new HandshakeDropped("dropped to make room")),
    );
    if (this.#stopped || admission.outcome !== "accept") {
      raw.on("error", () => {});
      raw.resetAndDestroy();
      if (admission.outcome === "accept") admission.handshake.failed();
      else if (admission.outcome !== "retry")
        this.#turnedAway("tcp", remoteAddress, admission.reason);
      return;
    }
    const { handshake } = admission;
    const inTime = this.#handshakes.add(() =>
      raw.destroy(new HandshakeDropped(`not done after ${this.#timeout} ms`)),
    );
    const outcome = await serveTls(raw, (hello) => this.#choose(hello));
    inTime();
    if (outcome.kind === "failed") {
      handshake.failed(TLS_PENALTIES[outcome.reason]);
      this.#handshakeFailed("tcp", remoteAddress, outcome.reason, outcome.detail);
      return;
    }
    const { socket, alpn, serverName, certificate } = outcome;
    const owner = this.#ownerOf(handshake, "tcp", remoteAddress, certificate, false);
    if (owner === undefined) {
      cut(socket, raw);
      socket.destroy();
      return;
    }
    served.add(raw);
    const { drain } = this.#options;
    const clock = this.#clock;
    const connection = tcpConnection({
      ...owner,
      side: "server",
      socket,
      raw,
      alpn,
      serverName,
      drain,
      clock,
    });
    this.#router.route(connection, handshake);
  }

  #choose(hello: ClientHello): TlsChoice {
    const selection = this.#router.select(hello.alpn, "tcp");
    if (selection === undefined) return { kind: "alert", alert: NO_APPLICATION_PROTOCOL };
    const { alpn, tls } = selection;
    const context = this.#contexts[tls]();
    return { kind: "serve", context, requestCertificate: tls !== "web", alpn };
  }

  // QUIC

  #bind(address: string, port: number): QuicEndpoint {
    /** Handshakes under way, by the engine's number. */
    const pending = new Map<number, PendingHandshake>();
    const take = (number: number): PendingHandshake | undefined => {
      const handshake = pending.get(number);
      pending.delete(number);
      return handshake;
    };
    const quic = bind({
      address,
      port,
      // A node that comes back after a crash can tell its peers at once that their connections are gone.
      resetKey: this.#options.identity.derive("quic stateless reset", 64),
      transport: {
        ...this.#options.transport,
        receiveWindow: Math.min(this.#peerWindow, STRANGER_WINDOW),
        handshakeTimeout: this.#timeout,
      },
      resetCodeOf,
      server: {
        admit: (source, number) => {
          if (this.#stopped) return "refuse";
          const admission = this.#limits.begin(source, "quic", () => {
            pending.delete(number);
            quic.dropHandshake(number);
          });
          if (admission.outcome === "accept") pending.set(number, admission.handshake);
          else if (admission.outcome !== "retry") {
            this.#turnedAway("quic", source.address, admission.reason);
          }
          return admission.outcome;
        },
        configure: (hello) => this.#configure(hello.alpn),
        handshakeFailed: ({ handshake, source, reason }) =>
          this.#quicFailed(take(handshake), source, reason),
        connection: (connection) => this.#serveQuic(connection, take(connection.handshake)),
      },
    });
    return quic;
  }

  #configure(offered: readonly string[]): Configuration {
    const selection = this.#router.select(offered, "quic");
    if (selection === undefined) return { alert: NO_APPLICATION_PROTOCOL };
    return { tls: this.#configs[selection.tls](), alpn: selection.alpn };
  }

  #quicFailed(
    handshake: PendingHandshake | undefined,
    source: Source,
    reason: QuicCloseReason,
  ): void {
    const penalty = quicPenalty(reason);
    handshake?.failed(penalty, source.validated);
    const detail = "reason" in reason ? reason.reason : "";
    this.#handshakeFailed("quic", source.address, penalty ?? reason.kind, detail);
  }

  #serveQuic(connection: QuicConnection, handshake: PendingHandshake | undefined): void {
    // Without one it was dropped at the very moment it was done.
    if (handshake === undefined || this.#stopped) {
      handshake?.failed();
      connection.close(this.#stopped ? CloseCode.DRAINING : CloseCode.LIMIT);
      return;
    }
    const { remoteAddress, peerCertificate, serverName } = connection;
    const raw = connection.peerCertificateType === "raw";
    const owner = this.#ownerOf(handshake, "quic", remoteAddress, peerCertificate, raw);
    if (owner === undefined) return connection.close(CloseCode.UNAVAILABLE);
    const { drain } = this.#options;
    const limits = { drain, clock: this.#clock, idle: this.#idle, peerWindow: this.#peerWindow };
    this.#router.route(
      quicConnection({ ...owner, ...limits, side: "server", connection, serverName }),
      handshake,
    );
  }

  // Both

  /** Who the certificate says it is; `undefined` if it cannot be read: the connection is to be cut. */
  #ownerOf(
    handshake: PendingHandshake,
    transport: "quic" | "tcp",
    remoteAddress: string,
    certificate: Buffer | undefined,
    raw: boolean,
  ): ConnectionOwner | undefined {
    const { identities } = this.#options;
    let credential: Credential | undefined;
    try {
      if (certificate !== undefined) {
        const fingerprint = raw ? fingerprintOfSpki(certificate) : fingerprintOfLeaf(certificate);
        credential = { kind: "fingerprint", fingerprint };
      }
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      handshake.failed("malformed", true);
      this.#handshakeFailed(transport, remoteAddress, "malformed", error.message);
      return undefined;
    }
    return { auth: authenticate(identities, credential), identities };
  }

  #turnedAway(
    transport: "quic" | "tcp",
    remoteAddress: string,
    reason: "penalty" | "limit" | "source",
  ): void {
    // Not worth a line each: who is turned away has been told of before, and may come in thousands.
    this.#logger.debug({ transport, remoteAddress }, `turned away: ${reason}`);
    this.#tell({ kind: "turned away", transport, remoteAddress, reason });
  }

  #handshakeFailed(
    transport: "quic" | "tcp",
    remoteAddress: string,
    reason: string,
    detail: string,
  ): void {
    const event = { kind: "handshake failed", transport, remoteAddress, reason, detail } as const;
    this.#failures.add(`${transport} ${reason}`, event);
    this.#tell(event);
  }

  #tell(event: EndpointEvent): void {
    try {
      this.#options.onevent?.(event);
    } catch (error) {
      this.#logger.error({ err: error }, "listener of endpoint events failed");
    }
  }
}

/** One line a minute for each transport and reason; and the first of them by itself. */
function digestOf(logger: Logger, clock: Clock): LogDigest<HandshakeFailed> {
  const say =
    (level: "info" | "debug") =>
    ({ transport, remoteAddress, reason, detail }: HandshakeFailed): void =>
      logger[level]({ transport, remoteAddress, detail }, `handshake failed: ${reason}`);
  return logDigest<HandshakeFailed>({
    each: 1,
    one: say("info"),
    quiet: say("debug"),
    more: (count, { transport, remoteAddress, reason, detail }) =>
      logger.info(
        { transport, count, last: { remoteAddress, detail } },
        `${count} more handshakes failed: ${reason}`,
      ),
    clock,
  });
}

/** Sockets that have become connections. */
const served = new WeakSet<net.Socket>();

const TLS_PENALTIES: Readonly<
  Record<(TlsOutcome & { kind: "failed" })["reason"], Penalty | undefined>
> = {
  timeout: "timeout",
  malformed: "malformed",
  auth: "auth",
  refused: undefined,
  cut: undefined,
};

/** What the end of a QUIC handshake says about the client. */
function quicPenalty(reason: QuicCloseReason): Penalty | undefined {
  if (reason.kind === "timeout") return "timeout";
  if (reason.kind !== "transport" || reason.by === "peer") return undefined;
  switch (reason.alert) {
    case undefined:
      return "malformed";
    case NO_APPLICATION_PROTOCOL:
    case 40: // handshake_failure: nothing in common
    case 70: // protocol_version
      return undefined;
    case 42: // bad_certificate
    case 43: // unsupported_certificate
    case 51: // decrypt_error: the signature does not hold
      return "auth";
    default:
      return "malformed";
  }
}

async function listenTcp(tcp: net.Server, { host, port }: HostPort): Promise<HostPort> {
  try {
    await listening(tcp, host, port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A machine without IPv6 has no "::"; there, all addresses are those of IPv4.
    if (host !== "::" || (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL")) throw error;
    await listening(tcp, "0.0.0.0", port);
  }
  const bound = tcp.address() as net.AddressInfo;
  return { host: bound.address, port: bound.port };
}

async function listening(tcp: net.Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onlistening = (): void => {
      tcp.off("error", onerror);
      // A later one (out of descriptors) is over with the connection that it kept from being accepted.
      tcp.on("error", () => {});
      resolve();
    };
    const onerror = (error: Error): void => {
      tcp.off("listening", onlistening);
      reject(error);
    };
    tcp.once("listening", onlistening);
    tcp.once("error", onerror);
    tcp.listen({ host, port, backlog: 1_024 });
  });
}

async function closeServer(tcp: net.Server): Promise<void> {
  await new Promise<void>((resolve) => tcp.close(() => resolve()));
}

async function stop({ tcp, quic }: Listener): Promise<void> {
  await Promise.all([closeServer(tcp), quic.close()]);
}

/**
 * Leave OpenSSL's stack, which a promise may go on upon: a socket that is destroyed beneath a handshake at
 * work takes the session with it.
 */
async function cleanStack(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function lazy<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
