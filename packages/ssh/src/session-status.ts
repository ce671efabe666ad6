/**
 * What an owner sees of a program that runs for a peer.
 *
 * @module
 */

export interface SessionStatus {
  readonly peer: string;
  /** Login name of the account that it runs as. */
  readonly user: string;
  readonly kind: "shell" | "exec" | "subsystem";
  /** When it began, in milliseconds since 1970. */
  readonly since: number;
  /** Where the peer is, `address:port`, if that is known. */
  readonly remote: string | undefined;
  /** `TERM` of the terminal that it runs on, if it has one. */
  readonly terminal: string | undefined;
  /** For the owner who asks, not for logs. */
  readonly command: string | undefined;
}
