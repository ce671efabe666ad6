/**
 * A change of a store: who makes it, and what came of it.
 *
 * @module
 */

import type { Cut } from "./access.ts";

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
