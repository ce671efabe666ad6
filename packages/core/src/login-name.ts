/**
 * Login names: which accounts of this machine a peer may have, as its resource `user` lists them.
 *
 * Pure: whether there is such an account is for the system to say.
 *
 * @module
 */

import { invalidText } from "./invalid-text.ts";

/** The resource of a peer that lists its login names; the first is the one it has unless it asks for another. */
export const USERS = "user";

/**
 * The login name that asks for a peer's own account, whatever that is called: clients that have to name one send this.
 * No account can have it.
 */
export const OWN_ACCOUNT = ".";

/**
 * Check a login name as it is written in a configuration: what `useradd` accepts, in any case, and dots.
 *
 * @throws {InvalidText} `USER_INVALID`, for `root` too.
 */
export function parseLoginName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/.test(name)) {
    const expected = 'expected 1 to 32 letters, digits, "_", ".", "-", a letter or "_" first';
    throw invalidText("USER_INVALID", "login name", name, expected);
  }
  if (name !== "root") return name;
  throw invalidText("USER_INVALID", "login name", name, "no peer is ever root");
}
