/**
 * What PostgreSQL's errors, and those of the way to it, mean for a store.
 *
 * Codes: https://www.postgresql.org/docs/15/errcodes-appendix.html. No message of ours or of theirs has a password or a
 * value of a row in it but for the name that a constraint refused.
 *
 * @module
 */

import { StoreError, type StoreErrorCode } from "@alknet/core/store-error";
import { SessionLost } from "./postgres-session.ts";
import { TlsRefused } from "./postgres-socket.ts";

interface Meaning {
  readonly code: StoreErrorCode;
  /** `at` is the label, `said` what the server or the socket said. */
  readonly text: (at: string, said: string) => string;
  readonly hint?: string;
}

const unavailable = (hint?: string): Meaning => ({
  code: "STORE_UNAVAILABLE",
  text: (at, said) => `cannot reach ${at}: ${said}`,
  ...(hint === undefined ? {} : { hint }),
});

const BUSY: Meaning = {
  code: "STORE_BUSY",
  text: (at, said) => `${at} is busy with another program's transaction: ${said}`,
  hint: "see who holds it: SELECT pid, application_name, state, query FROM pg_stat_activity",
};

const READ_ONLY: Meaning = {
  code: "STORE_READ_ONLY",
  text: (at, said) => `${at} may be read, and not written: ${said}`,
  hint: "name the primary of the cluster, or see default_transaction_read_only",
};

const FULL: Meaning = {
  code: "STORE_FULL",
  text: (at, said) => `no room to write ${at}; nothing was changed: ${said}`,
  hint: "make room on the server's disk, and try again",
};

const CORRUPT: Meaning = {
  code: "STORE_CORRUPT",
  text: (at, said) => `${at} is damaged: ${said}`,
  hint: "restore it from a backup",
};

const MISSING: Meaning = {
  code: "STORE_CORRUPT",
  text: (at, said) => `${at} has not the tables that it should: ${said}`,
  hint: "restore them from a backup; or drop the rest of the schema, and start again with an empty store",
};

const FORBIDDEN: Meaning = {
  code: "STORE_READ_ONLY",
  text: (at, said) => `the user of ${at} may not do that: ${said}`,
  hint: "have the owner of the tables GRANT SELECT, INSERT, UPDATE, DELETE on them, and USAGE on their schema",
};

/** By the first two characters, or all of it. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ["08", unavailable()],
  ["25006", READ_ONLY],
  ["28", unavailable("see user and password of the URL, and the server's pg_hba.conf")],
  ["3D", unavailable("make the database: createdb")],
  ["3F", MISSING],
  ["40", BUSY],
  ["42P01", MISSING],
  ["42703", MISSING],
  ["42501", FORBIDDEN],
  ["53", unavailable("see max_connections and the memory of the server")],
  ["53100", FULL],
  ["55P03", BUSY],
  ["57", unavailable()],
  ["57014", BUSY],
  ["58", unavailable("see the server's log")],
  ["XX001", CORRUPT],
  ["XX002", CORRUPT],
]);

/**
 * An error of PostgreSQL as one of the store; errors of other kinds, and those of constraints in tables that are not
 * ours, as they are.
 */
export function postgresError(error: unknown, label: string): unknown {
  if (error instanceof StoreError) return error;
  const { code } = (error ?? {}) as { code?: unknown };
  const meaning = meaningOf(error, typeof code === "string" ? code : "");
  if (meaning === undefined) return error;
  return new StoreError(meaning.code, meaning.text(label, said(error)), {
    cause: error,
    hint: meaning.hint,
  });
}

function said(error: unknown): string {
  const { message = "", errors } = error as { message?: string; errors?: readonly Error[] };
  // Of a name with several addresses there is one error for each.
  return message === "" && errors !== undefined
    ? errors.map((each) => each.message).join(", ")
    : message;
}

/** Whether the server, or the way to it, has gone; not that it never was there. */
export function isLoss(error: unknown): boolean {
  if (error instanceof SessionLost) return true;
  const { code } = (error ?? {}) as { code?: unknown };
  return (
    typeof code === "string" &&
    /^(08|57P0|CONNECTION_(CLOSED|ENDED|DESTROYED)|EPIPE|ECONNRESET)/.test(code)
  );
}

function meaningOf(error: unknown, code: string): Meaning | undefined {
  if (error instanceof SessionLost) return unavailable();
  if (
    error instanceof TlsRefused ||
    /^(ERR_SSL|ERR_TLS|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_)/.test(code)
  ) {
    return unavailable(
      "have the server offer TLS with a certificate for its name; or trust its authority with sslrootcert=FILE, or the network with sslmode=disable",
    );
  }
  if (isServerCode(error, code)) return MEANINGS.get(code) ?? MEANINGS.get(code.slice(0, 2));
  // Of sockets, of look-ups of names, of files, of postgres.js.
  if (/^(E[A-Z]|CONNECT|SASL_|AUTH_)/.test(code)) {
    return unavailable("see whether the server runs, and whether its address is right");
  }
  return undefined;
}

/** `EAGAI…` and others have five characters, too. */
function isServerCode(error: unknown, code: string): boolean {
  return (error as Error)?.name === "PostgresError" && /^[0-9A-Z]{5}$/.test(code);
}
