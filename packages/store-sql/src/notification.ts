/**
 * Notifications: rows, or messages of PostgreSQL, by which processes tell each other what has changed.
 *
 * ```text
 * channel = "peers_changed" | "credentials_changed" | "records_changed"
 * payload = JSON: { "peers": [peer_id…], "api_keys": [prefix…], "credentials": [provider…] }
 * ```
 *
 * Peers and API keys go by the first channel, sealed credentials by the second. By the third go invitations and audit
 * lines, which nobody has to read again. A payload that is absent, or too long, or not of this form means:
 * anything of the channel may have changed.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type { ChangedNames } from "@alknet/core/store-backend";

export const PEERS_CHANGED = "peers_changed";
export const CREDENTIALS_CHANGED = "credentials_changed";
export const RECORDS_CHANGED = "records_changed";

/** Those whose news are kept in memory: a database that has notifications of its own is asked for these. */
export const CHANNELS: readonly string[] = [PEERS_CHANGED, CREDENTIALS_CHANGED];

/** Longest payload, in bytes; PostgreSQL takes less than 8,000. */
export const MAX_PAYLOAD = 7_000;

/** Most names of a payload. */
const MAX_NAMES = 1_024;

/** What a notification says. */
export type Notified =
  /** Of a channel that is not ours, or of nothing that is kept in memory. */
  | { readonly kind: "nothing" }
  | { readonly kind: "changed"; readonly names: ChangedNames | undefined };

/** The channel and the payload for a change. */
export function formatNotification(names: ChangedNames): {
  readonly channel: string;
  readonly payload: string | null;
} {
  const { peers = [], apiKeys = [], credentials = [] } = names;
  const channel =
    peers.length + apiKeys.length > 0
      ? PEERS_CHANGED
      : credentials.length > 0
        ? CREDENTIALS_CHANGED
        : RECORDS_CHANGED;
  if (channel === RECORDS_CHANGED) return { channel, payload: null };
  const payload = JSON.stringify({
    ...(peers.length > 0 ? { peers } : {}),
    ...(apiKeys.length > 0 ? { api_keys: apiKeys } : {}),
    ...(credentials.length > 0 ? { credentials } : {}),
  });
  return { channel, payload: Buffer.byteLength(payload) > MAX_PAYLOAD ? null : payload };
}

/** What goes through PostgreSQL's `NOTIFY`: the same, and the number by which the table has it. */
export function formatMessage(names: ChangedNames, change: number): string {
  const { payload } = formatNotification(names);
  const known = payload === null ? {} : (JSON.parse(payload) as object);
  return JSON.stringify({ change, ...known });
}

/** Whether a message is also in the table: it has a number. */
export function isInTable(message: string | undefined): boolean {
  return message !== undefined && /^\{"change":[1-9][0-9]{0,15}[,}]/.test(message);
}

/** Read a notification, whoever wrote it. Never throws: what cannot be read means that all may have changed. */
export function parseNotification(channel: unknown, payload: unknown): Notified {
  if (channel !== PEERS_CHANGED && channel !== CREDENTIALS_CHANGED) return { kind: "nothing" };
  return { kind: "changed", names: parseNames(payload) };
}

function parseNames(payload: unknown): ChangedNames | undefined {
  let value = payload;
  if (typeof payload === "string") {
    if (payload.length > MAX_PAYLOAD) return undefined;
    try {
      value = JSON.parse(payload);
    } catch {
      return undefined;
    }
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { peers = [], api_keys = [], credentials = [] } = value as Record<string, unknown>;
  if (!isNames(peers) || !isNames(api_keys) || !isNames(credentials)) return undefined;
  if (peers.length + api_keys.length + credentials.length === 0) return undefined;
  return { peers, apiKeys: api_keys, credentials };
}

function isNames(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_NAMES &&
    value.every((name) => typeof name === "string")
  );
}
