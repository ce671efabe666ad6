/**
 * What is different between two configurations, and what of that needs a restart.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { Config } from "./config.ts";

export interface ConfigChanges {
  readonly peers: Counts;
  readonly apiKeys: Counts;
  readonly roles: Counts;
  /** Other keys that apply at once: `limits.penalties`, `log.level`. */
  readonly settings: readonly string[];
}

export interface Counts {
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
}

type Part = readonly [key: string, value: (config: Config) => unknown];

/** Keys whose changes need a restart. */
const RESTART: readonly Part[] = [
  ["name", ({ name }) => name],
  ["listen", ({ listen }) => listen],
  ["identity", ({ identity }) => identity],
  ["handlers", ({ handlers }) => handlers],
  ["call.strangers", ({ call }) => call.strangers],
  ["limits.drain", ({ limits }) => limits.drain],
  ["limits.handshake_timeout", ({ limits }) => limits.handshakeTimeout],
  ["limits.idle_timeout", ({ limits }) => limits.idleTimeout],
  ["quic.congestion", ({ quic }) => quic.congestion],
  ["tunnel.proxy", ({ tunnel }) => tunnel.proxy],
  ["tunnel.proxy_password_file", ({ tunnel }) => tunnel.proxyPasswordFile],
  ["ssh.listen", ({ ssh }) => ssh.listen],
  ["ssh.host_key", ({ ssh }) => ssh.hostKey],
  ["ssh.record", ({ ssh }) => ssh.record],
  ["store.path", ({ store }) => store.path],
  ["store.url", ({ store }) => store.url],
  ["store.password_file", ({ store }) => store.passwordFile],
];

/** Keys that apply at once, but for those that are counted. */
const SETTINGS: readonly Part[] = [
  ["limits.exempt", ({ limits }) => limits.exempt],
  ["limits", ({ limits }) => limits.caps],
  ["limits.penalties", ({ limits }) => limits.penalties],
  ["tunnel", ({ tunnel }) => ({ ...tunnel, proxy: undefined, proxyPasswordFile: undefined })],
  ["ssh", ({ ssh: { acceptEnv, limits } }) => ({ acceptEnv, limits })],
  ["vault", ({ vault }) => vault],
  ["log.level", ({ log }) => log.level],
];

/** Names of the keys whose changes need a restart, as they are written. */
export const RESTART_KEYS: readonly string[] = RESTART.map(([key]) => key);

/** What `after` changes at once. */
export function configChanges(before: Config, after: Config): ConfigChanges {
  return {
    peers: count(before.peers, after.peers, ({ peerId }) => peerId),
    apiKeys: count(before.apiKeys, after.apiKeys, ({ prefix }) => prefix),
    roles: count([...before.roles], [...after.roles], ([role]) => role),
    settings: differing(SETTINGS, before, after),
  };
}

/** Whether there is nothing in `changes`. */
export function isUnchanged({ peers, apiKeys, roles, settings }: ConfigChanges): boolean {
  const counts = [peers, apiKeys, roles].map((it) => it.added + it.removed + it.changed);
  return settings.length === 0 && counts.every((each) => each === 0);
}

/** Keys in which `after` differs from what the node was started with, and that stay so until it is started again. */
export function restartKeys(started: Config, after: Config): readonly string[] {
  return differing(RESTART, started, after);
}

function differing(parts: readonly Part[], before: Config, after: Config): readonly string[] {
  return parts
    .filter(([, value]) => !isDeepStrictEqual(value(before), value(after)))
    .map(([key]) => key);
}

function count<Entry>(
  before: readonly Entry[],
  after: readonly Entry[],
  nameOf: (entry: Entry) => string,
): Counts {
  const known = new Map(before.map((entry) => [nameOf(entry), entry]));
  let [added, changed] = [0, 0];
  for (const entry of after) {
    const name = nameOf(entry);
    if (!known.has(name)) added++;
    else if (!isDeepStrictEqual(known.get(name), entry)) changed++;
  }
  return { added, changed, removed: before.length - (after.length - added) };
}
