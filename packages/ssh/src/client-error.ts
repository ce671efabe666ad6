/**
 * What an SSH client could not do.
 *
 * @module
 */

export type SshClientErrorCode =
  /** The other end does not speak SSH, or did not answer in time. */
  | "NOT_CONNECTED"
  /** `checkHostKey` said no. */
  | "HOST_KEY_REFUSED"
  /** The server does not let us in. */
  | "LOGIN_REFUSED"
  /** The connection is gone. */
  | "CONNECTION_LOST"
  /** The server did not open a channel; `reason` says why. */
  | "CHANNEL_REFUSED"
  /** The server does not run the program. */
  | "PROGRAM_REFUSED"
  /** The server does not listen there. */
  | "LISTEN_REFUSED";

export class SshClientError extends Error {
  override readonly name = "SshClientError";
  readonly code: SshClientErrorCode;
  /** Of a channel that was refused: RFC 4254 §5.1. */
  readonly reason: number | undefined;

  constructor(
    code: SshClientErrorCode,
    text: string,
    { cause, reason }: { cause?: unknown; reason?: number | undefined } = {},
  ) {
    super(text, cause === undefined ? undefined : { cause });
    this.code = code;
    this.reason = reason;
  }
}
