/**
 * What is worth saying of a peer's accounts on this machine: a node that is root gives none by itself.
 *
 * @module
 */

import { userInfo } from "node:os";
import { USERS } from "@alknet/core/login-name";
import type { PeerEntry } from "@alknet/core/peers";
import { compileScopes } from "@alknet/core/scope";
import { parseScopeEntry, type Roles } from "@alknet/core/scope-entry";
import { accountEntry } from "@alknet/ssh/account-lookup";
import { shellWord } from "./shell-word.ts";

export interface AccountNotesOptions {
  readonly roles: Roles;
  /** Whether the node runs as root. @default as who asks does */
  readonly isRoot?: boolean | undefined;
}

/** Notes on who may use SSH and has no account, and on accounts that are not there. */
export async function accountNotes(
  { peerId, scopes, resources }: Pick<PeerEntry, "peerId" | "scopes" | "resources">,
  { roles, isRoot = process.getuid?.() === 0 }: AccountNotesOptions,
): Promise<string[]> {
  const users = resources?.[USERS] ?? [];
  if (users.length === 0) {
    if (!isRoot || !grantsSsh(scopes, roles)) return [];
    const set = `alknet peers set ${shellWord(peerId)} --user LOGIN`;
    return [`the node is root here, and gives ${peerId} no account by itself: ${set}`];
  }
  const missing = await Promise.all(users.map(isMissing));
  const notes = users
    .filter((_user, index) => missing[index])
    .map((user) => `this machine has no user ${JSON.stringify(user)}: useradd -m ${user}`);
  const { username } = userInfo();
  if (!isRoot && !users.includes(username)) {
    const set = `alknet peers set ${shellWord(peerId)} --user ${username}`;
    notes.push(`a node of ${username} gives no other account: run it as root, or ${set}`);
  }
  return notes;
}

/** Whether entries of a list of scopes let somebody use SSH now. */
export function grantsSsh(entries: readonly string[], roles: Roles): boolean {
  const granted = entries.map(parseScopeEntry).filter(({ until = Infinity }) => until > Date.now());
  const scopes = granted.flatMap((entry) =>
    entry.kind === "scope" ? [entry.scope] : (roles.get(entry.role) ?? []),
  );
  return hasSsh(scopes);
}

/** @param scopes without roles and ends. */
export function hasSsh(scopes: readonly string[]): boolean {
  const { everything, services, actions } = compileScopes(scopes);
  return (
    everything || services.has("ssh") || [...actions.keys()].some((each) => each.startsWith("ssh:"))
  );
}

async function isMissing(user: string): Promise<boolean> {
  // Who cannot be looked up may be there.
  return await accountEntry(user).then(
    (entry) => entry === undefined,
    () => false,
  );
}
