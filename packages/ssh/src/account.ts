/**
 * The account of this machine that a peer's commands run as.
 *
 * A node that runs as a user gives out that user's account. One that runs as root gives out none by itself: which
 * account a peer has is its owner's to say (the peer's resource `user`), and that is never root.
 *
 * @module
 */

import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { userInfo } from "node:os";
import process from "node:process";
import type { Identity } from "@alknet/core/access";
import { OWN_ACCOUNT, USERS } from "@alknet/core/login-name";
import { accountEntry, accountExpiry, nameOfUid } from "./account-lookup.ts";

export interface Account {
  /** Its login name. */
  readonly name: string;
  /** Home folder. */
  readonly home: string;
  /** Login shell. */
  readonly shell: string;
  /** Whom programs are to be run as. @default who this process runs as */
  readonly runAs?: { readonly uid: number; readonly gid: number } | undefined;
  /** Whether it is still a peer's: asked after each change of the peer, while something runs. @default it is */
  readonly isOf?: ((peer: Identity) => boolean) | undefined;
}

/**
 * The account of `peer`, for who logs in as `login`: by no name and by `OWN_ACCOUNT`, as its own. It is asked at each
 * login.
 *
 * @throws {NoAccount} if there is none, and the login is refused.
 */
export type Accounts = (peer: Identity, login: string) => Account | Promise<Account>;

/** A login without an account, and why; for the owner's log. */
export class NoAccount extends Error {
  override readonly name = "NoAccount";
  readonly code = "NO_ACCOUNT";
}

/** While this process is root those that peers are mapped to, else its own for everybody. */
export const nodeAccounts: Accounts = (peer, login) =>
  process.getuid?.() === 0 ? mappedAccount(peer, login) : sharedAccount(peer, login);

/** The account that this process runs as. */
export function ownAccount(): Account {
  const { username, homedir, shell } = userInfo();
  return { name: username, home: homedir, shell: shell ?? "/bin/sh" };
}

/** Whatever they call themselves; but who is mapped to accounts has to be mapped to this one, and to ask for it. */
function sharedAccount(peer: Identity, login: string): Account {
  const own = ownAccount();
  const isOf = ({ resources }: Identity): boolean => resources[USERS]?.includes(own.name) ?? true;
  if (!isOf(peer)) {
    const hint = `run it as root, or alknet peers set ${peer.id} --user ${own.name}`;
    const users = usersOf(peer).map(quoted).join(", ");
    throw noAccount(peer, `it is mapped to ${users}, and this node runs as "${own.name}": ${hint}`);
  }
  if (usersOf(peer).length > 0 && !isOwn(login) && login !== own.name) {
    throw new NoAccount(mayNot(peer, [own.name], login));
  }
  return { ...own, isOf };
}

async function mappedAccount(peer: Identity, login: string): Promise<Account> {
  const users = usersOf(peer);
  const [first] = users;
  const set = `alknet peers set ${peer.id} --user NAME`;
  if (first === undefined) throw noAccount(peer, `this node runs as root: ${set}`);
  const name = isOwn(login) ? first : login;
  if (!users.includes(name)) throw new NoAccount(`${mayNot(peer, users, name)}: ${set}`);
  const entry = await accountEntry(name);
  if (entry === undefined) {
    throw noAccount(peer, `this machine has no user ${quoted(name)}: useradd -m ${name}`);
  }
  const { uid, gid, home, shell } = entry;
  if (uid === 0) throw noAccount(peer, `${quoted(name)} is root, whom no peer can be: ${set}`);
  // The groups would be those of whichever name comes first.
  const known = await nameOfUid(uid);
  if (known !== name) {
    const whose = `${quoted(name)} and ${quoted(known ?? "")} are the same user ${uid}`;
    throw noAccount(peer, `${whose}: alknet peers set ${peer.id} --user ${known}`);
  }
  const expiry = await accountExpiry(name);
  if (expiry !== undefined && expiry <= Date.now()) {
    throw noAccount(peer, `the user ${quoted(name)} has expired: chage -E -1 ${name}`);
  }
  const isThere = await access(shell, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    const hint = `chsh -s /bin/sh ${name}`;
    throw noAccount(peer, `the shell ${quoted(shell)} of ${quoted(name)} cannot be run: ${hint}`);
  }
  const isOf = (now: Identity): boolean => usersOf(now).includes(name);
  return { name, home, shell, runAs: { uid, gid }, isOf };
}

/** Whether the peer is to have the account that is its own. */
function isOwn(login: string): boolean {
  return login === "" || login === OWN_ACCOUNT;
}

function mayNot({ id }: Identity, users: readonly string[], login: string): string {
  const may = users.map(quoted).join(", ");
  return `peer ${quoted(id)} may log in as ${may} here, not as ${quoted(login)}`;
}

function usersOf({ resources }: Identity): readonly string[] {
  return resources[USERS] ?? [];
}

function noAccount(peer: Identity, reason: string): NoAccount {
  return new NoAccount(`peer ${quoted(peer.id)} has no account here: ${reason}`);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}
