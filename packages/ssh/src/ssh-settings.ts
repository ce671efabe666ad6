/**
 * What of an SSH server can be changed while it serves: its limits, and the variables that clients may set.
 *
 * @module
 */

/** What is left out is the default. */
export interface SshSettings {
  /** Variables that a client may set. @default {@linkcode DEFAULT_ACCEPT_ENV} */
  readonly acceptEnv?: readonly string[] | undefined;
  readonly limits?: SshLimits | undefined;
}

export interface SshLimits {
  /** Tries to log in on one connection; the one after these ends it. @default 10 */
  readonly attempts?: number | undefined;
  /** Time from the first byte until somebody is logged in, in milliseconds. @default 30_000 */
  readonly authDeadline?: number | undefined;
  /** Channels open at once on one connection. @default 2_048 */
  readonly channels?: number | undefined;
  /** Channels open at once for one peer, over all its connections. @default 4_096, or `channels` if that is more */
  readonly channelsPerPeer?: number | undefined;
  /** Programs that run at once for one peer, over all its connections; sockets to its agent as many. @default 256 */
  readonly sessionsPerPeer?: number | undefined;
  /** Bytes in both directions after which keys are changed. @default 2^30 */
  readonly rekeyAfter?: number | undefined;
}

export const DEFAULT_SSH_LIMITS: Readonly<Required<{ [K in keyof SshLimits]: number }>> =
  Object.freeze({
    attempts: 10,
    authDeadline: 30_000,
    channels: 2_048,
    channelsPerPeer: 4_096,
    sessionsPerPeer: 256,
    rekeyAfter: 2 ** 30,
  });

/** What says how text is shown, and git's version of its protocol. */
export const DEFAULT_ACCEPT_ENV: readonly string[] = Object.freeze([
  ...["LANG", "LC_*", "COLORTERM", "NO_COLOR", "GIT_PROTOCOL"],
]);

/** Settings with their defaults. */
export interface AllSshSettings {
  readonly acceptEnv: readonly string[];
  readonly limits: typeof DEFAULT_SSH_LIMITS;
}

/** What is left out, or `undefined`, is as it is by default. */
export function settingsOf({
  acceptEnv = DEFAULT_ACCEPT_ENV,
  limits = {},
}: SshSettings): AllSshSettings {
  const given = Object.entries(limits).filter(([, value]) => value !== undefined);
  const all: typeof DEFAULT_SSH_LIMITS = { ...DEFAULT_SSH_LIMITS, ...Object.fromEntries(given) };
  // What one connection may have, its peer may.
  const channelsPerPeer = limits.channelsPerPeer ?? Math.max(all.channels, all.channelsPerPeer);
  return { acceptEnv, limits: { ...all, channelsPerPeer } };
}
