/**
 * What can be done to a peer of the store: the rules that commands and operations share.
 *
 * A change says what becomes of the entry that is there, and the store carries it out in one transaction.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import { parseFingerprint } from "@alknet/core/fingerprint";
import { parseHostPort } from "@alknet/core/host";
import type { IdentityStore } from "@alknet/core/identity-store";
import { parseLoginName, USERS } from "@alknet/core/login-name";
import { DEFAULT_PORT, type PeerEntry } from "@alknet/core/peers";
import { formatScopeEntry, parseScopeEntry } from "@alknet/core/scope-entry";
import type { Committed } from "@alknet/core/store-change";
import { parseMoment } from "@alknet/core/time-span";
import { CommandError, ExitCode } from "./command-error.ts";

/** A peer as it is shown: no hash of a token, and where it stands. */
export interface PeerDocument extends Omit<PeerEntry, "tokenHash"> {
  readonly hasToken: boolean;
  /** `config`: it stands in alknet.toml, and is changed there. */
  readonly source: "config" | "store";
}

/** Everybody who is known: those of the configuration first, which a row of the store cannot take the place of. */
export function allPeers(
  store: Pick<IdentityStore, "peers">,
  config: Pick<Config, "peers">,
): PeerDocument[] {
  const named = new Set(config.peers.map(({ peerId }) => peerId.toLowerCase()));
  return [
    ...config.peers.map((peer) => documentOf(peer, "config")),
    ...store.peers
      .filter(({ peerId }) => !named.has(peerId.toLowerCase()))
      .map((peer) => documentOf(peer, "store")),
  ];
}

/** @throws {CommandError} `STORE_NOT_FOUND` */
export function findPeer(
  store: Pick<IdentityStore, "peers">,
  config: Pick<Config, "peers">,
  name: string,
): PeerDocument {
  const wanted = name.toLowerCase();
  const found = allPeers(store, config).find(({ peerId }) => peerId.toLowerCase() === wanted);
  if (found === undefined) throw noSuchPeer(name);
  return found;
}

/** What becomes of a peer; `undefined` is none. Throws {@linkcode CommandError} if it cannot be. */
export type PeerChange = (before: PeerEntry | undefined) => PeerEntry | undefined;

export interface NewPeer {
  readonly fingerprints: readonly string[];
  readonly scopes: readonly string[];
  readonly addresses?: readonly string[] | undefined;
  readonly displayName?: string | undefined;
  /** Accounts of this machine that it may log in to. */
  readonly users?: readonly string[] | undefined;
}

/** @throws {InvalidText} `FINGERPRINT_INVALID`, `USER_INVALID` */
export function added(name: string, { displayName, users = [], ...given }: NewPeer): PeerChange {
  const resources = withUsers({}, users.map(parseLoginName));
  const fingerprints = given.fingerprints.map((each) => parseFingerprint(each));
  return (before) => {
    if (before !== undefined) {
      throw new CommandError(`cannot add peer ${JSON.stringify(name)}: the name is taken`, {
        code: "STORE_EXISTS",
        hint: `if its key has changed: alknet peers rotate-key ${name} ${fingerprints[0] ?? "FINGERPRINT"}`,
      });
    }
    const { scopes, addresses = [] } = given;
    const peer = { peerId: name, fingerprints, scopes, addresses, resources, enabled: true };
    return displayName === undefined ? peer : { ...peer, displayName };
  };
}

/**
 * The peer with these accounts, and no others.
 *
 * @throws {InvalidText} `USER_INVALID`
 */
export function withAccounts(name: string, users: readonly string[]): PeerChange {
  const accounts = users.map(parseLoginName);
  return (before) => {
    const peer = existing(before, name);
    return { ...peer, resources: withUsers(peer.resources ?? {}, accounts) };
  };
}

/**
 * The peer at these addresses, and no others.
 *
 * @throws {InvalidText} `ADDRESS_INVALID`
 */
export function withAddresses(name: string, addresses: readonly string[]): PeerChange {
  for (const each of addresses) parseHostPort(each, DEFAULT_PORT);
  return (before) => ({ ...existing(before, name), addresses });
}

/**
 * A right that is granted again has the new end, and not both.
 *
 * @param until `2h`, or an RFC 3339 time in UTC.
 * @throws {InvalidText} `SCOPE_INVALID`, `TIME_INVALID`
 */
export function granted(
  name: string,
  scopes: readonly string[],
  until: string | undefined,
): PeerChange {
  const end = until === undefined ? undefined : parseMoment(until, Date.now());
  const entries = scopes.map((scope) => {
    const parsed = parseScopeEntry(scope);
    if (end !== undefined && parsed.until !== undefined) {
      throw new CommandError(`${JSON.stringify(scope)} says already until when`, {
        code: "USAGE",
        hint: "leave out --until, or the end in the scope",
        exitCode: ExitCode.USAGE,
      });
    }
    return parsed.until === undefined ? formatScopeEntry(scope, end) : scope;
  });
  const rights = new Set(entries.map(rightOf));
  return (before) => {
    const peer = existing(before, name);
    const kept = peer.scopes.filter((each) => !rights.has(rightOf(each)));
    return { ...peer, scopes: [...kept, ...entries] };
  };
}

/** @throws {InvalidText} `SCOPE_INVALID` */
export function revoked(name: string, scopes: readonly string[] | "all"): PeerChange {
  const rights = new Set(scopes === "all" ? [] : scopes.map(rightOf));
  return (before) => {
    const peer = existing(before, name);
    if (scopes === "all") return { ...peer, scopes: [] };
    for (const right of rights) {
      if (peer.scopes.some((each) => rightOf(each) === right)) continue;
      throw new CommandError(
        `${JSON.stringify(peer.peerId)} has no ${JSON.stringify(right)} of its own`,
        { code: "STORE_NOT_FOUND", hint: `see what it has: alknet peers show ${name}` },
      );
    }
    return { ...peer, scopes: peer.scopes.filter((each) => !rights.has(rightOf(each))) };
  };
}

export function enabled(name: string, on: boolean): PeerChange {
  return (before) => ({ ...existing(before, name), enabled: on });
}

export function renamed(name: string, to: string): PeerChange {
  return (before) => ({ ...existing(before, name), peerId: to });
}

/** @throws {InvalidText} `FINGERPRINT_INVALID` */
export function withKey(name: string, fingerprint: string, keep: boolean): PeerChange {
  const key = parseFingerprint(fingerprint);
  return (before) => {
    const peer = existing(before, name);
    const kept = keep ? peer.fingerprints.filter((each) => each !== key) : [];
    return { ...peer, fingerprints: [...kept, key] };
  };
}

export function removed(name: string): PeerChange {
  return (before) => {
    existing(before, name);
    return undefined;
  };
}

export interface ChangedPeer {
  readonly committed: Committed;
  /** As it is now; `null`: it is no more. */
  readonly peer: PeerDocument | null;
  /** Scopes that it has and had not before. */
  readonly gained: readonly string[];
}

/**
 * Carry `change` out.
 *
 * @param options.to its name afterwards. @default its name
 * @param options.actor who does it, for the audit. @default "owner"
 * @throws {CommandError | PeerError | StoreError}
 */
export async function changePeer(
  store: IdentityStore,
  config: Pick<Config, "peers" | "path">,
  name: string,
  change: PeerChange,
  { to = name, actor }: { readonly to?: string | undefined; readonly actor?: string } = {},
): Promise<ChangedPeer> {
  for (const each of new Set([name, to])) refuseIfInConfig(config, each);
  let had: readonly string[] = [];
  const make: PeerChange = (before) => {
    had = before?.scopes ?? [];
    const after = change(before);
    for (const key of after?.fingerprints ?? []) refuseKeyInConfig(config, key);
    if (after?.enabled) {
      const gained = after.fingerprints.filter((key) => !before?.fingerprints.includes(key));
      for (const key of gained) refuseKeyOfDisabled(store, key);
    }
    return after;
  };
  const committed = await store.changePeer(name, make, { actor });
  const peer = store.peer(to);
  return {
    committed,
    peer: peer === undefined ? null : documentOf(peer, "store"),
    gained: (peer?.scopes ?? []).filter((scope) => !had.includes(scope)),
  };
}

/** No accounts are no entry: an empty one would be a list that none is on. */
function withUsers(
  { [USERS]: _before, ...resources }: Readonly<Record<string, readonly string[]>>,
  users: readonly string[],
): Readonly<Record<string, readonly string[]>> {
  return users.length === 0 ? resources : { ...resources, [USERS]: users };
}

function noSuchPeer(name: string): CommandError {
  return new CommandError(`there is no peer ${JSON.stringify(name)}`, {
    code: "STORE_NOT_FOUND",
    hint: "see who is known: alknet peers",
  });
}

/** What is granted, without its end: by which a grant is found again. */
function rightOf(entry: string): string {
  const parsed = parseScopeEntry(entry);
  return parsed.kind === "scope" ? parsed.scope : `@${parsed.role}`;
}

function existing(before: PeerEntry | undefined, name: string): PeerEntry {
  if (before === undefined) throw noSuchPeer(name);
  return before;
}

function documentOf(
  { tokenHash, ...peer }: PeerEntry,
  source: PeerDocument["source"],
): PeerDocument {
  return { ...peer, hasToken: tokenHash !== undefined, source };
}

function refuseIfInConfig({ peers, path }: Pick<Config, "peers" | "path">, name: string): void {
  const found = peers.find(({ peerId }) => peerId.toLowerCase() === name.toLowerCase());
  if (found === undefined) return;
  throw new CommandError(
    `peer ${JSON.stringify(found.peerId)} stands in the configuration, and is changed there`,
    { code: "PEER_IN_CONFIG", hint: `edit [peers.${found.peerId}] in ${path}` },
  );
}

/** Who was shut out asks to be added: that is what a stranger is told to do, and it is told nothing else. */
function refuseKeyOfDisabled({ peers }: Pick<IdentityStore, "peers">, key: string): void {
  const found = peers.find(({ enabled, fingerprints }) => !enabled && fingerprints.includes(key));
  if (found === undefined) return;
  const { peerId } = found;
  throw new CommandError(`${key} is the key of peer ${JSON.stringify(peerId)}, which is disabled`, {
    code: "DUPLICATE_FINGERPRINT",
    hint: `to let it in again: alknet peers enable ${peerId}; to forget it: alknet peers remove ${peerId}`,
  });
}

function refuseKeyInConfig({ peers }: Pick<Config, "peers">, key: string): void {
  const found = peers.find(({ fingerprints }) => fingerprints.includes(key));
  if (found === undefined) return;
  const name = JSON.stringify(found.peerId);
  throw new CommandError(`${key} is the key of peer ${name} in the configuration`, {
    code: "DUPLICATE_FINGERPRINT",
    hint: `change that one, or take it out of the configuration first`,
  });
}
