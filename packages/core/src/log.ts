/**
 * Where log lines go: the part of pino's interface that we use, so that a pino logger fits as it is.
 *
 * @module
 */

export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type LogLevel = "silent" | "error" | "warn" | "info" | "debug";

export const LOG_LEVELS: readonly LogLevel[] = ["silent", "error", "warn", "info", "debug"];

/** Says nothing. The default of everything that takes a logger. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
