/**
 * What a person, a script and the exit code are told of an error.
 *
 * @module
 */

import { lowPortHint } from "./cannot-listen.ts";
import { CommandError, ExitCode } from "./command-error.ts";
import { Interrupted } from "./interrupted.ts";
import { missingScope } from "./missing-scope.ts";
import { shellWord } from "./shell-word.ts";
import { printable } from "./terminal.ts";

export interface Explanation {
  readonly code: string;
  readonly message: string;
  /** For people, in the place of the message: several lines. */
  readonly report?: string | undefined;
  /** May be several lines, to be pasted. */
  readonly hint: string | undefined;
  /** For programs, and those who look for the mistake: plain JSON. */
  readonly details?: unknown;
  readonly exitCode: ExitCode;
}

const DOCTOR = "find out why: alknet doctor, with the same target";

/** Errors of the packages below, by their stable `code`. A hint of the error's own comes first. */
const known: Readonly<Record<string, readonly [ExitCode, hint?: string]>> = {
  CONFIG_INVALID: [ExitCode.FAILED, "correct that line, then: alknet doctor"],
  TARGET_INVALID: [ExitCode.USAGE],
  PEER_UNKNOWN: [ExitCode.USAGE],
  TICKET_INVALID: [ExitCode.USAGE, "ask for it again: alknet ticket, on the other machine"],
  ADDRESS_INVALID: [ExitCode.USAGE, "for example den.example.org:7433 or [2001:db8::1]:7433"],
  FINGERPRINT_INVALID: [
    ExitCode.USAGE,
    "copy it again: alknet id, on the other machine, prints it",
  ],
  SCOPE_INVALID: [ExitCode.USAGE, "for example tunnel:dial:localhost:5432"],
  TIME_INVALID: [ExitCode.USAGE],
  USER_INVALID: [ExitCode.USAGE, "for example: --user alice"],
  SSH_KEY_INVALID: [ExitCode.USAGE],
  PEER_INVALID: [ExitCode.USAGE],
  DUPLICATE_FINGERPRINT: [
    ExitCode.FAILED,
    "a key is one peer's: alknet peers remove the other first",
  ],
  NAME_NOT_FOUND: [ExitCode.NOT_CONNECTED],
  UNREACHABLE: [ExitCode.NOT_CONNECTED, "is it up? On that machine: alknet status"],
  HANDSHAKE_TIMEOUT: [ExitCode.NOT_CONNECTED, DOCTOR],
  HANDSHAKE_FAILED: [ExitCode.NOT_CONNECTED, DOCTOR],
  REFUSED: [ExitCode.NOT_CONNECTED, "try again in a minute"],
  UNKNOWN_ALPN: [ExitCode.NOT_CONNECTED, "is that the port of an Alknet node?"],
  PEER_KEY_MISMATCH: [
    ExitCode.NOT_CONNECTED,
    "somebody else answers there. If its owner changed the key, update its fingerprint in alknet.toml",
  ],
  PEER_UNPINNED: [ExitCode.NOT_CONNECTED],
  CERTIFICATE_INVALID: [
    ExitCode.NOT_CONNECTED,
    "dial it by its key: alknet ticket, on that machine, prints a ticket",
  ],
  PING_TIMEOUT: [ExitCode.NOT_CONNECTED, DOCTOR],
  STREAM_RESET: [ExitCode.NOT_CONNECTED, DOCTOR],
  DRAINING: [ExitCode.NOT_CONNECTED, "it is shutting down; try again"],
  LIMIT: [ExitCode.NOT_CONNECTED, "a limit of that node is reached; try again later"],
  IDLE: [ExitCode.NOT_CONNECTED, DOCTOR],
  TIMEOUT: [ExitCode.NOT_CONNECTED, DOCTOR],
  RESET: [ExitCode.NOT_CONNECTED, DOCTOR],
  CUT: [ExitCode.NOT_CONNECTED, DOCTOR],
  REVOKED: [ExitCode.NOT_ALLOWED, "its owner took the right back"],
  ACCESS_REVOKED: [ExitCode.NOT_ALLOWED, "its owner took the right back"],
  VAULT_LOCKED: [ExitCode.VAULT_LOCKED, "alknet vault unlock"],
  MNEMONIC_INVALID: [ExitCode.USAGE],
  INVALID_PATH: [ExitCode.USAGE],
  ENCRYPTED_DATA_INVALID: [ExitCode.USAGE],
  DURATION_INVALID: [ExitCode.USAGE],
  EADDRINUSE: [ExitCode.FAILED, "choose another port, or see who has it: alknet doctor"],
  EADDRNOTAVAIL: [ExitCode.FAILED, "that address is not one of this machine"],
};

/**
 * Explain `error`.
 *
 * @param ownFingerprint of this node's key, for what its owner has to paste on the other side.
 */
export function explain(error: unknown, ownFingerprint?: string): Explanation {
  if (error instanceof CommandError) {
    const { code, message, hint, details, exitCode } = error;
    return { code, message, hint, details, exitCode };
  }
  if (error instanceof Interrupted) {
    const { INTERRUPTED: exitCode } = ExitCode;
    return { code: "INTERRUPTED", message: "interrupted", hint: undefined, exitCode };
  }
  if (!(error instanceof Error)) {
    return { code: "INTERNAL", message: String(error), hint: undefined, exitCode: ExitCode.FAILED };
  }
  const { code: raw, hint: own } = error as { code?: unknown; hint?: unknown };
  const code = typeof raw === "string" ? raw : "INTERNAL";
  const message = printable(error.message);
  if (code === "UNAVAILABLE") {
    return {
      code,
      message: "the node refused: it does not serve this, or does not know this key",
      hint: letMeIn(ownFingerprint),
      exitCode: ExitCode.NOT_ALLOWED,
    };
  }
  const { syscall } = error as NodeJS.ErrnoException;
  if (code === "EACCES" && (syscall === "bind" || syscall === "listen" || syscall === undefined)) {
    const { port = 443 } = error as { port?: number };
    return { code, message, hint: lowPortHint(port), exitCode: ExitCode.FAILED };
  }
  const scope = missingScope(error);
  if (scope !== undefined) {
    const hint = `to be let through, over there: alknet peers grant NAME ${shellWord(scope)}`;
    return { code, message, hint, exitCode: ExitCode.NOT_ALLOWED };
  }
  const [exitCode, hint] = knownOf(code);
  const report = reportOf(error);
  return { code, message, report, hint: typeof own === "string" ? own : hint, exitCode };
}

/** What a command ends with that fails with `code`. */
export function exitCodeOf(code: string): ExitCode {
  return knownOf(code)[0];
}

/** A code may be another node's, and be called `constructor`. */
function knownOf(code: string): readonly [ExitCode, hint?: string] {
  return Object.hasOwn(known, code) ? known[code]! : [ExitCode.FAILED];
}

/** Lines that show where in a file something is wrong; their tabs line up with those of the file. */
function reportOf(error: Error): string | undefined {
  const { report } = error as { report?: unknown };
  if (typeof report !== "string") return undefined;
  return report
    .split("\n")
    .map((line) => line.split("\t").map(printable).join("\t"))
    .join("\n");
}

/** What the owner of the other node has to do. */
function letMeIn(fingerprint: string | undefined): string {
  const key = fingerprint ?? "FINGERPRINT (here, alknet id prints it)";
  return `to be let in, over there: alknet peers add NAME ${key} --grant SCOPE`;
}
