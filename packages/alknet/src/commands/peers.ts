/**
 * `alknet peers`: who is known, and what they may do. Changes hold at once, in the running node too.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import { USERS } from "@alknet/core/login-name";
import { whyPowerful } from "@alknet/core/powerful-scopes";
import type { PeerEntry } from "@alknet/core/peers";
import { parseScopeEntry } from "@alknet/core/scope-entry";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { accountNotes } from "../account-notes.ts";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { tellEffect } from "../effect.ts";
import { withStore } from "../open-store.ts";
import {
  added,
  allPeers,
  changePeer,
  enabled,
  findPeer,
  granted,
  type PeerChange,
  type PeerDocument,
  removed,
  renamed,
  revoked,
  withAccounts,
  withAddresses,
  withKey,
} from "../peer-changes.ts";
import { scopeNotes } from "../scope-notes.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
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
    const peer = findPeer(store, config, name);
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
      ...(peer.resources?.[USERS] ?? []).map((each) => ["account", each] as const),
      ...peer.scopes.map((each) => ["may", each + emphasis(each, config)] as const),
      ...(peer.scopes.length === 0 ? [["may", "nothing"] as const] : []),
    ]);
    for (const note of await accountNotes(peer, config)) say(context.terminal, `note: ${note}`);
  });
}

export interface AddOptions extends Json {
  readonly grant: readonly string[];
  readonly address: readonly string[];
  readonly sshKey?: string | undefined;
  readonly displayName?: string | undefined;
  readonly user: readonly string[];
}

export async function addPeer(
  context: Context,
  name: string,
  fingerprints: readonly string[],
  options: AddOptions,
): Promise<void> {
  const { grant: scopes, address: addresses, displayName, sshKey, user: users } = options;
  const keys = [...fingerprints, ...(sshKey === undefined ? [] : sshKeys(sshKey))];
  const make = added(name, { fingerprints: keys, scopes, addresses, displayName, users });
  if (keys.length === 0) {
    throw new CommandError(`cannot add ${JSON.stringify(name)} without a key`, {
      code: "USAGE",
      hint: `alknet peers add ${name} FINGERPRINT: on the other machine, alknet id prints it`,
      exitCode: ExitCode.USAGE,
    });
  }
  await change(context, name, options, { make, ends: false, creates: true });
  if (keys.some((key) => !key.startsWith("ed25519:"))) {
    say(
      context.terminal,
      "note: a key that is not Ed25519 lets in over SSH alone, at a port of its own: [ssh] listen",
    );
  }
}

export async function grantPeer(
  context: Context,
  name: string,
  scopes: readonly string[],
  options: Json & { readonly until?: string | undefined },
): Promise<void> {
  await change(context, name, options, {
    make: granted(name, scopes, options.until),
    ends: false,
  });
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
  const make = revoked(name, options.all ? "all" : scopes);
  await change(context, name, options, { make, ends: true });
}

export interface SetOptions extends Json {
  /** `false`: none. @default as they are */
  readonly user?: readonly string[] | false | undefined;
  /** @default as they are */
  readonly address?: readonly string[] | undefined;
}

export async function setPeer(context: Context, name: string, options: SetOptions): Promise<void> {
  const { user, address } = options;
  const changes = [
    ...(user === undefined ? [] : [withAccounts(name, user === false ? [] : user)]),
    ...(address === undefined ? [] : [withAddresses(name, address)]),
  ];
  if (changes.length === 0) {
    throw new CommandError("expected what to set", {
      code: "USAGE",
      hint: `for example: alknet peers set ${name} --user alice, or --address HOST:7433`,
      exitCode: ExitCode.USAGE,
    });
  }
  const make: PeerChange = (before) =>
    changes.reduce<PeerEntry | undefined>((peer, each) => each(peer), before);
  await change(context, name, options, { make, ends: false });
}

export async function enablePeer(
  context: Context,
  name: string,
  on: boolean,
  options: Json,
): Promise<void> {
  await change(context, name, options, { make: enabled(name, on), ends: !on });
}

export async function renamePeer(
  context: Context,
  name: string,
  to: string,
  options: Json,
): Promise<void> {
  await change(context, name, options, { make: renamed(name, to), ends: true, to });
}

export async function rotateKey(
  context: Context,
  name: string,
  fingerprint: string,
  options: Json & { readonly keep: boolean },
): Promise<void> {
  const make = withKey(name, fingerprint, options.keep);
  await change(context, name, options, { make, ends: !options.keep });
}

export async function removePeer(context: Context, name: string, options: Json): Promise<void> {
  await change(context, name, options, { make: removed(name), ends: true });
}

interface Change {
  readonly make: PeerChange;
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
  { make, ends, creates = false, to }: Change,
): Promise<void> {
  await withStore(context, creates ? "create" : "change", async ({ store, config }) => {
    const { committed, peer, gained } = await changePeer(store, config, name, make, { to });
    // What it has had for long was said when it was granted.
    const notes = gained.flatMap((scope) => scopeNotes(scope, config.roles));
    if (peer !== null && !ends) notes.push(...(await accountNotes(peer, config)));
    await tellEffect(context, committed, { json, document: { peer }, ends, notes });
  });
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
