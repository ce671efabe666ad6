/**
 * `alknet.toml`: what a node listens on, who its peers are and what they may do.
 *
 * ```toml
 * name = "den"
 * listen = ["[::]:7433"]
 *
 * [peers.laptop]
 * fingerprint = "ed25519:…"
 * addresses = ["laptop.example:7433"]
 * scopes = ["tunnel:dial:localhost:5432"]
 * ```
 *
 * All keys are in docs/configuration.md, and in config-sections/, from which that page is made.
 *
 * @module
 */

import type { ApiKeyEntry } from "./api-key.ts";
import { type HostPort, parseHostPort } from "./host.ts";
import { type Caps, DEFAULT_CAPS, DEFAULT_PENALTIES, type PenaltyTimes } from "./limit-values.ts";
import type { LogLevel } from "./log.ts";
import { DEFAULT_PORT, type PeerEntry } from "./peers.ts";
import { NO_ROLES, type Roles } from "./scope-entry.ts";

/** A service that a configuration can name. */
export type HandlerName = (typeof HANDLERS)[number];

/** How the rate of a QUIC connection is found. */
export type Congestion = (typeof CONGESTION)[number];

/** A configuration that has been checked in full; frozen. Times are in milliseconds. */
export interface Config {
  /** Where it was read from. */
  readonly path: string;
  /** What this node calls itself, in its tickets. */
  readonly name: string | undefined;
  /** UDP and TCP alike; at least one. */
  readonly listen: readonly HostPort[];
  /** File of the key, absolute; `undefined`: the one of the data folder. */
  readonly identity: string | undefined;
  /** Services that are offered; each once. */
  readonly handlers: readonly HandlerName[];
  readonly limits: ConfigLimits;
  readonly quic: ConfigQuic;
  readonly roles: Roles;
  readonly peers: readonly PeerEntry[];
  readonly apiKeys: readonly ApiKeyEntry[];
  readonly call: ConfigCall;
  readonly tunnel: ConfigTunnel;
  readonly ssh: ConfigSsh;
  readonly log: { readonly level: LogLevel };
  readonly store: ConfigStore;
  readonly vault: ConfigVault;
}

/** When the vault locks itself, and what opens it where no person is at hand. */
export interface ConfigVault {
  /** Idle time after which it locks; `undefined`: never. */
  readonly lockAfter: number | undefined;
  /** The system's keyring has a key that opens it. */
  readonly keyring: boolean;
  /** File with a key that opens it, absolute. */
  readonly keyFile: string | undefined;
}

/** How this node sends over QUIC. */
export interface ConfigQuic {
  readonly congestion: Congestion;
}

/** Who may call. */
export interface ConfigCall {
  /** Whether who proves a key that nobody knows may call operations that ask for nothing. */
  readonly strangers: boolean;
}

/** Where the store is: a file, or a server. */
export interface ConfigStore {
  /** File of the database, absolute; `undefined`: the one of the data folder. */
  readonly path: string | undefined;
  /** Of a PostgreSQL server, in place of a file; it has no password. */
  readonly url: string | undefined;
  /** File with the password for it, absolute. */
  readonly passwordFile: string | undefined;
}

export interface ConfigLimits extends ConfigTimes {
  /** Address blocks that the limits per source do not hold for. */
  readonly exempt: readonly string[];
  readonly caps: Caps;
  readonly penalties: PenaltyTimes;
}

export interface ConfigTimes {
  /** How long a node that stops lets handlers finish. */
  readonly drain: number;
  readonly handshakeTimeout: number;
  /** How long a QUIC connection may be without a stream. */
  readonly idleTimeout: number;
}

/** What this node connects and listens for peers with: limits, and what goes between. */
export interface ConfigTunnel {
  readonly flowsPerPeer: number;
  readonly openingPerPeer: number;
  readonly deadline: number;
  readonly listenersPerPeer: number;
  /** URL of a proxy that all TCP goes through, without a password; `undefined`: none. */
  readonly proxy: string | undefined;
  /** File with the password for it, absolute. */
  readonly proxyPasswordFile: string | undefined;
}

/** What `ssh()` is given, but for its host key. */
export interface ConfigSsh {
  /** Where SSH is served without Alknet's TLS beneath it; none by default. */
  readonly listen: readonly HostPort[];
  /** File of the host key, absolute; `undefined`: the vault's, or the one of the data folder. */
  readonly hostKey: string | undefined;
  /** Variables that a client may set; `*` is any run of characters. */
  readonly acceptEnv: readonly string[];
  /** Folder for recordings of sessions, absolute; `undefined`: nothing is recorded. */
  readonly record: string | undefined;
  readonly limits: ConfigSshLimits;
}

/** The options that `ssh()` takes as its limits. */
export interface ConfigSshLimits {
  readonly attempts: number;
  readonly authDeadline: number;
  readonly channels: number;
  /** `undefined`: the handler's own, which is never less than `channels`. */
  readonly channelsPerPeer: number | undefined;
  readonly sessionsPerPeer: number;
}

export const HANDLERS = ["ping", "register", "call", "tunnel", "ssh", "web"] as const;
export const DEFAULT_HANDLERS: readonly HandlerName[] = HANDLERS;
export const DEFAULT_LISTEN: readonly string[] = [`[::]:${DEFAULT_PORT}`];
export const DEFAULT_LOG_LEVEL = "info";
export const DEFAULT_TIMES: ConfigTimes = Object.freeze({
  drain: 2_000,
  handshakeTimeout: 10_000,
  idleTimeout: 30_000,
});
export const CONGESTION = ["bbr", "cubic", "newreno"] as const;
export const DEFAULT_QUIC: ConfigQuic = Object.freeze({ congestion: "bbr" });
export const DEFAULT_CALL: ConfigCall = Object.freeze({ strangers: false });
export const DEFAULT_TUNNEL: ConfigTunnel = Object.freeze({
  flowsPerPeer: 4_096,
  openingPerPeer: 256,
  deadline: 10_000,
  listenersPerPeer: 64,
  proxy: undefined,
  proxyPasswordFile: undefined,
});
/** Port of `[ssh] listen` without one: that of SSH is sshd's. */
export const DEFAULT_SSH_PORT = 2222;
export const DEFAULT_SSH: ConfigSsh = Object.freeze({
  listen: Object.freeze([]),
  hostKey: undefined,
  acceptEnv: Object.freeze(["LANG", "LC_*", "COLORTERM", "NO_COLOR", "GIT_PROTOCOL"]),
  record: undefined,
  limits: Object.freeze({
    attempts: 10,
    authDeadline: 30_000,
    channels: 2_048,
    channelsPerPeer: undefined,
    sessionsPerPeer: 256,
  }),
});
export const DEFAULT_LOCK_AFTER = 3_600_000;
export const DEFAULT_VAULT: ConfigVault = Object.freeze({
  lockAfter: DEFAULT_LOCK_AFTER,
  keyring: false,
  keyFile: undefined,
});

/** What an empty file says. `path` is where one could be. */
export function defaultConfig(path: string): Config {
  const none = Object.freeze([]);
  return Object.freeze({
    path,
    name: undefined,
    listen: Object.freeze(DEFAULT_LISTEN.map((text) => parseHostPort(text, DEFAULT_PORT))),
    identity: undefined,
    handlers: Object.freeze([...DEFAULT_HANDLERS]),
    limits: Object.freeze({
      exempt: none,
      caps: DEFAULT_CAPS,
      penalties: DEFAULT_PENALTIES,
      ...DEFAULT_TIMES,
    }),
    quic: DEFAULT_QUIC,
    roles: NO_ROLES,
    peers: none,
    apiKeys: none,
    call: DEFAULT_CALL,
    tunnel: DEFAULT_TUNNEL,
    ssh: DEFAULT_SSH,
    log: Object.freeze({ level: DEFAULT_LOG_LEVEL }),
    store: Object.freeze({ path: undefined, url: undefined, passwordFile: undefined }),
    vault: DEFAULT_VAULT,
  });
}
