/**
 * `alknet peers`: who is known, and what they may do. Changes hold at once, in the running node too.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import { parseFingerprint } from "@alknet/core/fingerprint";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { PeerEntry } from "@alknet/core/peers";
import { whyPowerful } from "@alknet/core/powerful-scopes";
import { formatScopeEntry, parseScopeEntry } from "@alknet/core/scope-entry";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import type { Committed } from "@alknet/core/store-change";
import { parseMoment } from "@alknet/core/time-span";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { tellEffect } from "../effect.ts";
import { withStore } from "../open-store.ts";
import { scopeNotes } from "../scope-notes.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

/** A peer as JSON has it: no hash of a token, and where it stands. */
interface PeerDocument extends Omit<PeerEntry, "tokenHash"> {
  readonly hasToken: boolean;
  /** `config`: it stands in alknet.toml, and is changed there. */
  readonly source: "config" | "store";
}

export async function listPeers(context: Context, { json }: Json): Promise<void> {
  await withStore(context, "read", async ({ store, config }) => {
    const peers = allPeers(store, config);
    if (json) return printJson(context.terminal, { peers });
    if (peers.length === 0) {
      say(context.terminal, "No peers yet. Let one in: alknet invite --name laptop --grant SCOPE");
      return;
    }
    printFields(
      context.terminal,
      peers.map((peer) => [printable(peer.peerId), summary(peer)]),
    );
  });
}

export async function showPeer(context: Context, name: string, { json }: Json): Promise<void> {
  await withStore(context, "read", async ({ store, config }) => {
    const wanted = name.toLowerCase();
    const peer = allPeers(store, config).find(({ peerId }) => peerId.toLowerCase() === wanted);
    if (peer === undefined) throw noSuchPeer(name);
    if (json) return printJson(context.terminal, peer);
    printFields(context.terminal, [
      ["name", peer.peerId],
      ...(peer.displayName === undefined
        ? []
        : [["shown as", printable(peer.displayName)] as const]),
      ["enabled", peer.enabled ? "yes" : "no: it is let in by nothing"],
      ["from", peer.source === "config" ? context.home.config : store.label],
      ...peer.fingerprints.map((each) => ["key", each] as const),
      ...(peer.hasToken ? [["token", "one"] as const] : []),
      ...(peer.addresses ?? []).map((each) => ["address", each] as const),
      ...peer.scopes.map((each) => ["may", each + emphasis(each, config)] as const),
      ...(peer.scopes.length === 0 ? [["may", "nothing"] as const] : []),
    ]);
  });
}

export interface AddOptions extends Json {
  readonly grant: readonly string[];
  readonly address: readonly string[];
  readonly sshKey?: string | undefined;
  readonly displayName?: string | undefined;
}

export async function addPeer(
  context: Context,
  name: string,
  fingerprints: readonly string[],
  options: AddOptions,
): Promise<void> {
  const keys: string[] = fingerprints.map((each) => parseFingerprint(each));
  if (options.sshKey !== undefined) keys.push(...sshKeys(options.sshKey));
  if (keys.length === 0) {
    throw new CommandError(`cannot add ${JSON.stringify(name)} without a key`, {
      code: "USAGE",
      hint: `alknet peers add ${name} FINGERPRINT: on the other machine, alknet id prints it`,
      exitCode: ExitCode.USAGE,
    });
  }
  const make = (before: PeerEntry | undefined): PeerEntry => {
    if (before !== undefined) {
      throw new CommandError(`cannot add peer ${JSON.stringify(name)}: the name is taken`, {
        code: "STORE_EXISTS",
        hint: `if its key has changed: alknet peers rotate-key ${name} ${keys[0]!}`,
      });
    }
    const { displayName } = options;
    return {
      peerId: name,
      fingerprints: keys,
      scopes: options.grant,
      addresses: options.address,
      enabled: true,
      ...(displayName === undefined ? {} : { displayName }),
    };
  };
  await change(context, name, options, { make, ends: false, creates: true });
  if (keys.some((key) => !key.startsWith("ed25519:"))) {
    say(
      context.terminal,
      "note: a key that is not Ed25519 lets in over SSH alone, which is still to come",
    );
  }
}

export async function grantPeer(
  context: Context,
  name: string,
  scopes: readonly string[],
  options: Json & { readonly until?: string | undefined },
): Promise<void> {
  const until = options.until === undefined ? undefined : parseMoment(options.until, Date.now());
  const entries = scopes.map((scope) => {
    const parsed = parseScopeEntry(scope);
    if (until !== undefined && parsed.until !== undefined) {
      throw new CommandError(`${JSON.stringify(scope)} says already until when`, {
        code: "USAGE",
        hint: "leave out --until, or the end in the scope",
        exitCode: ExitCode.USAGE,
      });
    }
    return parsed.until === undefined ? formatScopeEntry(scope, until) : scope;
  });
  const make = (before: PeerEntry | undefined): PeerEntry => {
    const peer = existing(before, name);
    // A right that is granted again has the new end, and not both.
    const rights = new Set(entries.map(rightOf));
    const kept = peer.scopes.filter((each) => !rights.has(rightOf(each)));
    return { ...peer, scopes: [...kept, ...entries] };
  };
  await change(context, name, options, { make, ends: false });
}

export async function revokePeer(
  context: Context,
  name: string,
  scopes: readonly string[],
  options: Json & { readonly all: boolean },
): Promise<void> {
  if ((scopes.length === 0) !== options.all) {
    throw new CommandError("expected the scopes to take away, or --all", {
      code: "USAGE",
      hint: `see what it may do: alknet peers show ${name}`,
      exitCode: ExitCode.USAGE,
    });
  }
  const make = (before: PeerEntry | undefined): PeerEntry => {
    const peer = existing(before, name);
    if (options.all) return { ...peer, scopes: [] };
    const rights = new Set(scopes.map(rightOf));
    for (const right of rights) {
      if (peer.scopes.some((each) => rightOf(each) === right)) continue;
      throw new CommandError(
        `${JSON.stringify(peer.peerId)} has no ${JSON.stringify(right)} of its own`,
        { code: "STORE_NOT_FOUND", hint: `see what it has: alknet peers show ${name}` },
      );
    }
    return { ...peer, scopes: peer.scopes.filter((each) => !rights.has(rightOf(each))) };
  };
  await change(context, name, options, { make, ends: true });
}

export async function enablePeer(
  context: Context,
  name: string,
  enabled: boolean,
  options: Json,
): Promise<void> {
  const make = (before: PeerEntry | undefined): PeerEntry => ({
    ...existing(before, name),
    enabled,
  });
  await change(context, name, options, { make, ends: !enabled });
}

export async function renamePeer(
  context: Context,
  name: string,
  to: string,
  options: Json,
): Promise<void> {
  const make = (before: PeerEntry | undefined): PeerEntry => ({
    ...existing(before, name),
    peerId: to,
  });
  await change(context, name, options, { make, ends: true, to });
}

export async function rotateKey(
  context: Context,
  name: string,
  fingerprint: string,
  options: Json & { readonly keep: boolean },
): Promise<void> {
  const key = parseFingerprint(fingerprint);
  const make = (before: PeerEntry | undefined): PeerEntry => {
    const peer = existing(before, name);
    const kept = options.keep ? peer.fingerprints.filter((each) => each !== key) : [];
    return { ...peer, fingerprints: [...kept, key] };
  };
  await change(context, name, options, { make, ends: !options.keep });
}

export async function removePeer(context: Context, name: string, options: Json): Promise<void> {
  const make = (before: PeerEntry | undefined): undefined => {
    existing(before, name);
    return undefined;
  };
  await change(context, name, options, { make, ends: true });
}

interface Change {
  readonly make: (before: PeerEntry | undefined) => PeerEntry | undefined;
  /** Whether it is made to end something: then it is said how much, also if that is nothing. */
  readonly ends: boolean;
  /** Whether a store that is not there is made for it. @default false */
  readonly creates?: boolean | undefined;
  /** Its name afterwards. */
  readonly to?: string | undefined;
}

async function change(
  context: Context,
  name: string,
  { json }: Json,
  { make, ends, creates = false, to = name }: Change,
): Promise<void> {
  await withStore(context, creates ? "create" : "change", async ({ store, config }) => {
    for (const each of new Set([name, to])) refuseIfInConfig(context, config, each);
    let had: readonly string[] = [];
    const committed: Committed = await store.changePeer(name, (before) => {
      had = before?.scopes ?? [];
      const after = make(before);
      for (const key of after?.fingerprints ?? []) refuseKeyInConfig(config, key);
      return after;
    });
    const peer = store.peer(to);
    await tellEffect(context, committed, {
      json,
      document: { peer: peer === undefined ? null : documentOf(peer, "store") },
      ends,
      notes: (peer?.scopes ?? []).flatMap((scope) =>
        // What it has had for long was said when it was granted.
        had.includes(scope) ? [] : scopeNotes(scope, config.roles),
      ),
    });
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

function allPeers(store: IdentityStore, config: Config): PeerDocument[] {
  const named = new Set(config.peers.map(({ peerId }) => peerId.toLowerCase()));
  return [
    ...config.peers.map((peer) => documentOf(peer, "config")),
    ...store.peers
      .filter(({ peerId }) => !named.has(peerId.toLowerCase()))
      .map((peer) => documentOf(peer, "store")),
  ];
}

function documentOf(
  { tokenHash, ...peer }: PeerEntry,
  source: PeerDocument["source"],
): PeerDocument {
  return { ...peer, hasToken: tokenHash !== undefined, source };
}

function summary({ enabled, fingerprints, scopes, source }: PeerDocument): string {
  const key = fingerprints[0] === undefined ? "no key" : `${fingerprints[0].slice(0, 24)}…`;
  const more = fingerprints.length > 1 ? ` +${fingerprints.length - 1}` : "";
  const rights = scopes.length === 0 ? "nothing" : scopes.join(", ");
  const where = source === "config" ? "  (alknet.toml)" : "";
  return `${key}${more}  ${enabled ? rights : "disabled"}${where}`;
}

function emphasis(scope: string, config: Config): string {
  const { until = Infinity } = parseScopeEntry(scope);
  if (until <= Date.now()) return "   (over)";
  const why = whyPowerful(scope, config.roles);
  return why === undefined ? "" : `   (${why})`;
}

function sshKeys(path: string): string[] {
  const lines = readKeyFile(path).slice(0, 1_000_000).split("\n");
  const keys = lines.filter((line) => line.trim() !== "" && !line.startsWith("#"));
  return keys.map((line) => parseSshPublicKey(line).fingerprint);
}

function readKeyFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new CommandError(`cannot read ${path}: ${(error as Error).message}`, {
      code: "SSH_KEY_INVALID",
      hint: "it is the public half, such as ~/.ssh/id_ed25519.pub; make one with: ssh-keygen -t ed25519",
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
}

function refuseIfInConfig({ home }: Context, config: Config, name: string): void {
  const found = config.peers.find(({ peerId }) => peerId.toLowerCase() === name.toLowerCase());
  if (found === undefined) return;
  throw new CommandError(
    `peer ${JSON.stringify(found.peerId)} stands in the configuration, and is changed there`,
    { code: "PEER_IN_CONFIG", hint: `edit [peers.${found.peerId}] in ${home.config}` },
  );
}

function refuseKeyInConfig(config: Config, key: string): void {
  const found = config.peers.find(({ fingerprints }) => fingerprints.includes(key));
  if (found === undefined) return;
  const name = JSON.stringify(found.peerId);
  throw new CommandError(`${key} is the key of peer ${name} in the configuration`, {
    code: "DUPLICATE_FINGERPRINT",
    hint: `change that one, or take it out of the configuration first`,
  });
}

export function noSuchPeer(name: string): CommandError {
  return new CommandError(`there is no peer ${JSON.stringify(name)}`, {
    code: "STORE_NOT_FOUND",
    hint: "see who is known: alknet peers",
  });
}
