/**
 * The account of this machine that a peer's commands run as.
 *
 * A node that runs as a user gives out that user's account. One that runs as root gives out none by itself: which
 * account a peer has is its owner's to say, and that is never root.
 *
 * @module
 */

import { userInfo } from "node:os";
import process from "node:process";
import type { Identity } from "@alknet/core/access";

export interface Account {
  /** Its login name. */
  readonly name: string;
  /** Home folder. */
  readonly home: string;
  /** Login shell. */
  readonly shell: string;
}

/**
 * The account of `peer`, for who logs in as `login`; `undefined`: there is none, and the login is refused.
 *
 * It is asked at each login.
 */
export type Accounts = (peer: Identity, login: string) => Account | undefined;

/** Everybody's is that of this process, whatever they call themselves; nobody's while that is root. */
export const nodeAccounts: Accounts = () => (process.getuid?.() === 0 ? undefined : ownAccount());

/** The account that this process runs as. */
export function ownAccount(): Account {
  const { username, homedir, shell } = userInfo();
  return { name: username, home: homedir, shell: shell ?? "/bin/sh" };
}
