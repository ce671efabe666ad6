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
import type { TransportOptions } from "@alknet/quic/transport-options";
import net from "node:net";
import { authenticate, type Credential, type IdentityProvider } from "./access.ts";
import { type AdmissionEvent, type AdmissionReport, admissionReport } from "./admission-report.ts";
import type { ClientHello } from "./client-hello.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode } from "./close-code.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { type Deadlines, deadlines } from "./deadlines.ts";
import { createDialer, type Dialer } from "./dialer.ts";
import { CertificateError, fingerprintOfSpki } from "./fingerprint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { quicPenalty, tlsPenalty } from "./handshake-penalty.ts";
import { type HostPort, parseHostPort } from "./host.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { fingerprintOfLeaf } from "./leaf-fingerprint.ts";
import { AdmissionLimits, type LimitsOptions, type PendingHandshake } from "./limits.ts";
import { closeServer, listenTcp } from "./listen-tcp.ts";
import { type Logger, silentLogger } from "./log.ts";
import { DEFAULT_PORT, type PeerEntry } from "./peers.ts";
import { PEER_WINDOW, quicConnection, resetCodeOf, STRANGER_WINDOW } from "./quic-connection.ts";
import { createRouter, type LiveConnection, type Router, type RouterEvent } from "./router.ts";
import { type ServerTls, serverTls } from "./server-tls.ts";
import { cut, tcpConnection } from "./tcp-connection.ts";
import type { TlsIdentity } from "./tls-context.ts";
import {
  HandshakeDropped,
  NO_APPLICATION_PROTOCOL,
  serveTls,
  type TlsChoice,
} from "./tls-server.ts";

/** What an owner may want to hear of: what the router tells, and who did not get that far. */
export type EndpointEvent = RouterEvent | AdmissionEvent;

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
  readonly #report: AdmissionReport;
  readonly #timeout: number;
  readonly #handshakes: Deadlines;
  readonly #idle: Deadlines;
  readonly #peerWindow: number;
  readonly #sockets = new Set<net.Socket>();
  readonly #tls: ServerTls;
  #stopped = false;

  constructor(options: EndpointOptions, router: Router, limits: AdmissionLimits) {
    this.#options = options;
    this.#router = router;
    this.#limits = limits;
    this.#clock = options.clock ?? systemClock;
    this.#report = admissionReport({ ...options, clock: this.#clock });
    this.#timeout = options.handshakeTimeout ?? 10_000;
    this.#handshakes = deadlines(this.#timeout, this.#clock);
    this.#idle = deadlines(options.idleTimeout ?? 30_000, this.#clock);
    this.#peerWindow = peerWindowOf(options);
    this.#tls = serverTls(options.identity, options.web, this.#clock);
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
    this.#report.flush();
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
        this.#report.turnedAway("tcp", remoteAddress, admission.reason);
      return;
    }
    const { handshake } = admission;
    const inTime = this.#handshakes.add(() =>
      raw.destroy(new HandshakeDropped(`not done after ${this.#timeout} ms`)),
    );
    const outcome = await serveTls(raw, (hello) => this.#choose(hello));
    inTime();
    if (outcome.kind === "failed") {
      handshake.failed(tlsPenalty(outcome.reason));
      this.#report.handshakeFailed("tcp", remoteAddress, outcome.reason, outcome.detail);
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
    const context = this.#tls[tls].context();
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
            this.#report.turnedAway("quic", source.address, admission.reason);
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
    return { tls: this.#tls[selection.tls].config(), alpn: selection.alpn };
  }

  #quicFailed(
    handshake: PendingHandshake | undefined,
    source: Source,
    reason: QuicCloseReason,
  ): void {
    const penalty = quicPenalty(reason);
    handshake?.failed(penalty, source.validated);
    const detail = "reason" in reason ? reason.reason : "";
    this.#report.handshakeFailed("quic", source.address, penalty ?? reason.kind, detail);
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
      this.#report.handshakeFailed(transport, remoteAddress, "malformed", error.message);
      return undefined;
    }
    return { auth: authenticate(identities, credential), identities };
  }
}

/** Sockets that have become connections. */
const served = new WeakSet<net.Socket>();

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
