/**
 * A change of a store: who makes it, how it is committed and noted, and what came of it.
 *
 * @module
 */

import type { Cut } from "./access.ts";
import type { AuditEntry, ChangedNames, StoreTransaction } from "./store-backend.ts";

/** Who makes a change, for the audit. @default "owner" */
export interface ChangeOptions {
  readonly actor?: string | undefined;
}

/** A committed change. */
export interface Committed {
  /** Its number, by which other processes know it; see `IdentityStore.effectOf`. 0: nothing had to change. */
  readonly change: number;
  /** What it has ended in this process. */
  readonly cut: Cut;
}

/**
 * Run a transaction that says what it has changed; `undefined`: nothing. Resolves when look-ups of this process see it.
 */
export type StoreCommit = (
  run: (transaction: StoreTransaction) => Promise<ChangedNames | undefined>,
) => Promise<Committed>;

/** Write a line of the audit. */
export type StoreNote = (
  transaction: StoreTransaction,
  actor: string,
  action: string,
  subject: string,
  detail: AuditEntry["detail"],
) => Promise<void>;
