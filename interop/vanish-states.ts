/**
 * States of an SSH connection in which `vanish-peer.ts` waits to be killed.
 *
 * @module
 */

import type { Transport } from "./attack.ts";

/** Of those that have not logged in. */
export const EARLY_STATES = [
  "before its identification",
  "in the exchange of keys",
  "keys exchanged, but for its last word",
  "keys exchanged",
  "in its login",
] as const;

/** Of those that have. */
export const STATES = [
  "logged in",
  "session opened",
  "terminal asked for",
  "shell on a terminal",
  "command with children",
  "flow to there",
  "listener there",
  "listener there, with a flow",
  "listener on a Unix socket there",
  "agent",
  "windows full both ways",
  "changing keys",
] as const;

export type State = (typeof EARLY_STATES)[number] | (typeof STATES)[number];

export interface VanishSettings {
  /** Of 127.0.0.1. */
  readonly port: number;
  readonly fingerprint: string;
  /** PKCS #8, base64. */
  readonly key: string;
  readonly transport: Transport;
  /** One connection each. */
  readonly states: readonly State[];
  /** Port of 127.0.0.1 over there that echoes. */
  readonly target: number;
  /** Where there is to be a Unix socket over there. */
  readonly path: string;
}
