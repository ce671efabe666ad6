/**
 * `alknet/ssh`: an SSH server for the clients people have, over `alknet/ssh` and over any stream of bytes.
 *
 * One SSH connection is one stream. Who is at the other end is decided by keys alone (`user-auth.ts`), and what they
 * may do by their rights: everything that no right allows is refused, and each right is held while it is used.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import {
  type AuthContext,
  authenticate,
  type IdentityProvider,
  type OwnedAuthContext,
} from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import type { ProtocolHandler } from "@alknet/core/handler";
import type { Penalty } from "@alknet/core/limit-values";
import { type Logger, silentLogger } from "@alknet/core/log";
import ssh2, { type Connection as Client } from "ssh2";
import { type Accounts, nodeAccounts } from "./account.ts";
import { connectionEnv } from "./connection-env.ts";
import { serveForwarding } from "./forwarding.ts";
import type { Inbound, Outbound } from "./forwarding-services.ts";
import { serveSessionForwarding } from "./forwarding-session.ts";
import { answerLogins } from "./login-requests.ts";
import { peerCount } from "./peer-count.ts";
import type { Recorder } from "./recording.ts";
import { serveSession } from "./session.ts";
import type { SessionStatus } from "./session-status.ts";
import { type SshSettings, settingsOf } from "./ssh-settings.ts";
import { ALGORITHMS, batchWrites, extendSshServer, transportOf } from "./ssh2-extension/extend.ts";
import { sendDisconnect } from "./ssh2-extension/disconnect.ts";
import { forwardingChannels } from "./ssh2-extension/forwarding.ts";
import type { Subsystems } from "./subsystem.ts";
import type { Login } from "./user-auth.ts";

/** The ALPN of this protocol. */
export const ALPN: string = "alknet/ssh";

export interface SshOptions extends SshSettings {
  /** Private Ed25519 key as OpenSSH keeps it, unencrypted: `-----BEGIN OPENSSH PRIVATE KEY-----` and so on. */
  readonly hostKey: string;
  /** Which account a peer has. @default the node's own; while it runs as root, that which the peer is mapped to */
  readonly accounts?: Accounts | undefined;
  /** Connects for peers (`-L`, `-D`, `-W`, `-J`). @default nobody is connected anywhere */
  readonly outbound?: Outbound | undefined;
  /** Listens for peers (`-R`). @default nobody is listened for */
  readonly inbound?: Inbound | undefined;
  /** Services that a session may ask for by name. @default none */
  readonly subsystems?: Subsystems | undefined;
  /** Records what programs print. @default nothing is recorded */
  readonly recorder?: Recorder | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  /** Hears of each login and request that was refused. */
  readonly onrefused?: ((refused: SshRefusal) => void) | undefined;
}

/** How long programs may take to end by themselves when the node is shutting down, in milliseconds. */
const GRACE = 1_000;

/** How long a connection that has been ended here waits for the peer to have read that, in milliseconds. */
const LINGER = 2_000;

export interface SshRefusal {
  /** Who had logged in, or whom TLS had proved; `undefined`: nobody. */
  readonly peer: string | undefined;
  readonly reason: string;
  /** The scope that lacks, command included: for the owner who asks, not for logs. */
  readonly scope?: string | undefined;
}

/** Where a stream that no TLS came before is from, and who may be at its other end. */
export interface StreamOrigin {
  readonly identities: IdentityProvider;
  /** `address:port`, as a `Connection` has it. */
  readonly remoteAddress?: string | undefined;
  /** `address:port` of this side. */
  readonly localAddress?: string | undefined;
  /** Aborts when it is time to finish. @default that time does not come */
  readonly draining?: AbortSignal | undefined;
  /** Charge the source for a try that failed. */
  readonly penalize?: ((penalty: Penalty) => void) | undefined;
  /** Hears who has logged in, once. @returns whether there is room for one more of that peer. */
  readonly onlogin?: ((peer: string) => boolean) | undefined;
}

export interface SshHandler extends ProtocolHandler {
  /** Serve one stream, such as a connection of a plain TCP listener. Resolves at its end; never rejects. */
  serve(stream: Duplex, origin: StreamOrigin): Promise<void>;
  /** Use other settings for what begins from now on; what `settings` leaves out is the default again. */
  reconfigure(settings: SshSettings): void;
  /** Programs that run now, of all peers. */
  readonly sessions: number;
  /** Those programs, the oldest first. */
  list(): readonly SessionStatus[];
}

/** Who may be at the other end of one SSH connection. */
interface Origin {
  readonly transport: AuthContext | undefined;
  readonly remoteAddress: string | undefined;
  readonly localAddress: string | undefined;
  readonly draining: AbortSignal | undefined;
  /** Follow who has a key, as long as the connection lasts. */
  identify(fingerprint: string): AuthContext | undefined;
  penalize(penalty: Penalty): void;
  onlogin(peer: string): boolean;
}

/** The life of one SSH connection. */
interface Life {
  /** Aborts at its end. */
  readonly gone: AbortSignal;
  /** To be called when somebody is logged in. */
  readonly ready: () => void;
  /** End it, once what was written has left. */
  readonly end: () => void;
  /** What it has begun, which may outlive it for a moment. */
  readonly work: Set<Promise<void>>;
}

/**
 * Serve SSH.
 *
 * @throws {Error} if `hostKey` is not an Ed25519 key in OpenSSH's format.
 */
export function ssh(options: SshOptions): SshHandler {
  const { accounts = nodeAccounts } = options;
  const { clock = systemClock, logger = silentLogger } = options;
  let { acceptEnv, limits } = settingsOf(options);
  const server = new ssh2.Server(serverConfig(options.hostKey));
  const expected = new Map<Duplex, (client: Client) => void>();
  const programs = peerCount();
  const agents = peerCount();
  const channelsOf = peerCount();
  const sessions = new Set<SessionStatus>();

  server.on("connection", (client) => {
    const transport = transportOf(client);
    expected.get(transport)?.(client);
    expected.delete(transport);
  });

  async function run(stream: Duplex, origin: Origin): Promise<void> {
    const gone = new AbortController();
    const work = new Set<Promise<void>>();
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = deadlines(limits.authDeadline, clock).add(() => {
      logger.info({ remote: origin.remoteAddress }, "ssh: nobody logged in in time");
      origin.penalize("timeout");
      stream.destroy();
    });
    // SSH has no half-open connections, and a peer that does not close its side keeps nothing open here.
    const end = (): void => {
      stream.end();
      deadlines(LINGER, clock).add(() => stream.destroy());
    };
    expected.set(stream, (client) => {
      serveClient(client, origin, { gone: gone.signal, ready: late, end, work });
      client.once("end", end);
      client.once("error", end);
    });
    // Those before the identification are swallowed by ssh2.
    stream.on("error", (error) => logger.debug({ err: error }, "ssh: the stream failed"));
    stream.once("end", end);
    stream.once("close", () => {
      late();
      expected.delete(stream);
      gone.abort();
      resolve();
    });
    batchWrites(stream);
    if (stream.destroyed) stream.emit("close");
    else server.injectSocket(stream as never);
    await promise;
    // A node that ends waits for this, and leaves no programs behind.
    await Promise.all(work);
  }

  function serveClient(client: Client, origin: Origin, { gone, ready, end, work }: Life): void {
    let login: Login | undefined;
    const { channels: limit, rekeyAfter } = limits;
    const countChannel = () => {
      const peer = login?.auth.peer?.id;
      return peer === undefined ? undefined : channelsOf(peer, limits.channelsPerPeer);
    };
    const extended = extendSshServer(client, { clock, channels: limit, countChannel, rekeyAfter });

    client.on("error", (error) => logger.debug({ err: error }, "ssh: the connection failed"));
    answerLogins(client, {
      source: {
        transport: origin.transport,
        identify: (fingerprint) => origin.identify(fingerprint),
        accounts,
      },
      ...{ gone, logger },
      attempts: () => limits.attempts,
      onaccept: (accepted) => void (login = accepted),
      onrefused: (reason) => onrefused(origin.transport?.peer?.id, reason),
      onexhausted() {
        origin.penalize("auth");
        leave("too many tries to log in");
      },
    });
    client.on("ready", () => {
      ready();
      const peer = login?.auth.peer?.id;
      if (peer === undefined || !origin.onlogin(peer)) return leave("too many connections");
      logger.info({ peer, remote: origin.remoteAddress }, "ssh: logged in");
      const revoked = (): void => leave("access revoked");
      login?.auth.revoked.addEventListener("abort", revoked, { once: true });
      serve(login!, peer);
    });

    function serve({ auth, account }: Login, peer: string): void {
      const { outbound, inbound, subsystems = {}, recorder } = options;
      const common = {
        ...{ auth, logger, gone },
        onrefused: (reason: string, scope?: string) => onrefused(peer, reason, scope),
      };
      const channels = forwardingChannels(client, extended, gone);
      const countAgent = () => agents(peer, limits.sessionsPerPeer);
      const forwarding = { ...common, channels, outbound, inbound, countAgent };
      const listeners = serveForwarding(client, forwarding);
      client.on("session", (accept) => {
        const session = accept();
        const forwarded = serveSessionForwarding(session, account, listeners, forwarding);
        serveSession(session, {
          ...common,
          account,
          client: extended,
          acceptEnv,
          env: () => ({
            ALKNET_PEER: peer,
            ...connectionEnv(origin),
            ...forwarded.environment,
          }),
          remoteAddress: origin.remoteAddress,
          subsystems,
          recorder,
          clock,
          begin: (status) => begin(status, work),
          tell: (text) => channels.tell(text),
          onchannel: (channel) => void forwarded.tellRefusals(channel),
        });
      });
    }

    /** Say goodbye, and go. */
    function leave(why: string): void {
      sendDisconnect(client, why);
      end();
    }

    /** What is nearly done may finish, and its client takes its leave by itself. */
    function drain(): void {
      const shutDown = (): void => leave("the node is shutting down");
      if (work.size === 0) return shutDown();
      gone.addEventListener("abort", deadlines(GRACE, clock).add(shutDown), { once: true });
    }
    const { draining } = origin;
    if (draining?.aborted === true) drain();
    draining?.addEventListener("abort", drain, { once: true, signal: gone });
  }

  function begin(status: SessionStatus, work: Set<Promise<void>>): (() => void) | undefined {
    const { peer } = status;
    const leave = programs(peer, limits.sessionsPerPeer);
    if (leave === undefined) return undefined;
    sessions.add(status);
    const { promise, resolve } = Promise.withResolvers<void>();
    work.add(promise);
    return () => {
      sessions.delete(status);
      leave();
      work.delete(promise);
      resolve();
    };
  }

  function onrefused(peer: string | undefined, reason: string, scope?: string): void {
    logger.info({ peer }, `ssh: refused: ${reason}`);
    options.onrefused?.({ peer, reason, scope });
  }

  return {
    alpns: [ALPN],
    access: "peers",
    tls: "node",
    get sessions() {
      return sessions.size;
    },
    list: () => [...sessions],
    async handle(connection) {
      const stream = await connection.accept();
      if (stream === undefined) return;
      await run(stream, {
        transport: connection.auth,
        remoteAddress: connection.remoteAddress,
        localAddress: undefined,
        draining: connection.draining,
        identify: (fingerprint) => connection.authenticate({ kind: "fingerprint", fingerprint }),
        penalize: (penalty) => connection.penalize(penalty),
        // The connection is counted already.
        onlogin: () => true,
      });
    },
    async serve(stream, origin) {
      const { identities, penalize = () => {}, onlogin = () => true } = origin;
      const { remoteAddress, localAddress, draining } = origin;
      const followed = new Map<string, OwnedAuthContext>();
      const identify = (fingerprint: string): AuthContext => {
        const known = followed.get(fingerprint);
        if (known !== undefined) return known;
        const context = authenticate(identities, { kind: "fingerprint", fingerprint });
        followed.set(fingerprint, context);
        return context;
      };
      await run(stream, {
        ...{ transport: undefined, remoteAddress, localAddress, draining },
        ...{ identify, penalize, onlogin },
      });
      for (const context of followed.values()) context[Symbol.dispose]();
    },
    reconfigure(settings) {
      ({ acceptEnv, limits } = settingsOf(settings));
    },
  };
}

function serverConfig(hostKey: string): ssh2.ServerConfig {
  const parsed = ssh2.utils.parseKey(hostKey);
  if (parsed instanceof Error || parsed.type !== "ssh-ed25519" || !parsed.isPrivateKey()) {
    // Not its cause: that may quote the key.
    throw new Error("cannot serve SSH: the host key is not an Ed25519 key in OpenSSH's format");
  }
  return {
    hostKeys: [hostKey],
    ident: "Alknet",
    algorithms: ALGORITHMS,
  };
}
