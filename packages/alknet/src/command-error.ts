/**
 * What a command could not do, and what to do about it.
 *
 * @module
 */

/** Exit codes of the CLI. */
export const ExitCode = {
  DONE: 0,
  FAILED: 1,
  USAGE: 2,
  NOT_ALLOWED: 3,
  NOT_CONNECTED: 4,
  VAULT_LOCKED: 5,
  INTERRUPTED: 130,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export interface CommandErrorOptions extends ErrorOptions {
  /** Stable name for programs. @default "FAILED" */
  readonly code?: string | undefined;
  /** One line, best a command that can be copied; or several lines to paste. */
  readonly hint?: string | undefined;
  /** Data of the failure, as another program gave it: plain JSON. */
  readonly details?: unknown;
  /** @default ExitCode.FAILED */
  readonly exitCode?: ExitCode | undefined;
}

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: string;
  readonly hint: string | undefined;
  readonly details: unknown;
  readonly exitCode: ExitCode;

  constructor(message: string, options: CommandErrorOptions = {}) {
    super(message, options);
    this.code = options.code ?? "FAILED";
    this.hint = options.hint;
    this.details = options.details;
    this.exitCode = options.exitCode ?? ExitCode.FAILED;
  }
}
