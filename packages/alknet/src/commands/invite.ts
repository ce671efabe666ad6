/**
 * `alknet invite`: let one machine in, once, by a line that is pasted there.
 *
 * Closed by default: without `--grant` it is known, and may do nothing.
 *
 * @module
 */

import { hostname } from "node:os";
import { hashToken } from "@alknet/core/api-key";
import type { Config } from "@alknet/core/config";
import { formatDuration } from "@alknet/core/duration";
import type { IdentityStore } from "@alknet/core/identity-store";
import {
  createInvitation,
  INVITATION_LIFETIME,
  MAX_INVITATION_LIFETIME,
} from "@alknet/core/invitation";
import {
  formatInvitation,
  looksLikeInvitation,
  parseInvitation,
} from "@alknet/core/invitation-ticket";
import { mayBePeerId } from "@alknet/core/peers";
import { parseScopeEntry } from "@alknet/core/scope-entry";
import type { Invitation } from "@alknet/core/store-backend";
import { parseSpan } from "@alknet/core/time-span";
import { accountNotes } from "../account-notes.ts";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { nodeAddresses } from "../node-addresses.ts";
import { nodeFingerprint } from "../node-identity.ts";
import { withStore } from "../open-store.ts";
import { ownName } from "../own-name.ts";
import { qrCode } from "../qr-code.ts";
import { scopeNotes } from "../scope-notes.ts";
import { printable, printFields, printJson, say, type Terminal } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

export interface InviteOptions extends Json {
  readonly name?: string | undefined;
  readonly grant: readonly string[];
  readonly addKey: boolean;
  readonly expires?: string | undefined;
  readonly address?: readonly string[] | undefined;
}

export async function invite(context: Context, options: InviteOptions): Promise<void> {
  const { terminal, home } = context;
  const { name: peerId, grant: scopes, addKey: addsKey, json } = options;
  if (addsKey && peerId === undefined) {
    throw usage("--add-key needs the name of the peer that gets the key", {
      hint: "alknet invite --name NAME --add-key",
    });
  }
  for (const scope of scopes) parseScopeEntry(scope);
  const lifetime = lifetimeOf(options.expires);
  await withStore(context, "create", async ({ store, config }) => {
    if (peerId !== undefined) checkName(peerId, addsKey, store, config);
    const fingerprint = await nodeFingerprint(context, config);
    const { addresses: all, running } = await nodeAddresses(home, config, options.address);
    // Port 0 is whatever the node will get.
    const addresses = all.filter((address) => !address.endsWith(":0"));
    if (addresses.length === 0) {
      throw new CommandError("no address is known under which others reach this node", {
        code: "NO_ADDRESS",
        hint: "start it first: alknet up; or say one: alknet invite --address HOST:PORT",
      });
    }
    const { invitation, secret } = createInvitation({ peerId, scopes, addsKey, lifetime });
    const { id, expiresAt } = invitation;
    const name = ownName(config.name, hostname());
    const ticket = formatInvitation({ fingerprint, addresses, name, expiresAt, secret });
    await store.addInvitation(invitation);
    const warnings = [
      ...warningsOf(scopes, config, addsKey),
      ...(addsKey ? [] : await accountWarnings(peerId, scopes, config)),
      ...(addresses.every(isLoopback) ? [LOOPBACK] : []),
      ...(config.handlers.includes("register") ? [] : [NOT_SERVED]),
      ...(running ? [] : [NOT_RUNNING]),
    ];
    if (json) {
      printJson(terminal, { ticket, ...documentOf(invitation), fingerprint, addresses, warnings });
      return;
    }
    terminal.data.write(`${ticket}\n`);
    if (terminal.words.isTerminal) explain(terminal, ticket, { invitation, lifetime, addresses });
    for (const warning of warnings) say(terminal, `note: ${warning}`);
    if (terminal.words.isTerminal) say(terminal, `Take it back: alknet invite revoke ${id}`);
  });
}

export async function listInvitations(context: Context, { json }: Json): Promise<void> {
  const { terminal } = context;
  await withStore(context, "read", async ({ store }) => {
    const invitations = await store.invitations();
    if (json) {
      printJson(terminal, { invitations: invitations.map(documentOf) });
      return;
    }
    if (invitations.length === 0) {
      say(terminal, "No invitations. Make one: alknet invite --name laptop --grant SCOPE");
      return;
    }
    printFields(
      terminal,
      invitations.map((each) => {
        const { peerId = "(any name)", addsKey, scopes } = each;
        const whom = `${printable(peerId)}${addsKey ? ", one key more" : ""}`;
        return [each.id, `${describeState(each)}  ${whom}: ${scopes.join(", ") || "nothing"}`];
      }),
    );
  });
}

/** @param which its id; or the invitation itself, by whoever still has it. */
export async function revokeInvitation(
  context: Context,
  which: string,
  { json }: Json,
): Promise<void> {
  const { terminal } = context;
  await withStore(context, "change", async ({ store }) => {
    const secretHash = looksLikeInvitation(which)
      ? hashToken(parseInvitation(which).secret)
      : undefined;
    const invitations = await store.invitations();
    const found = invitations.find((each) =>
      secretHash === undefined ? each.id === which.toLowerCase() : each.secretHash === secretHash,
    );
    if (found === undefined) {
      const shown =
        secretHash === undefined ? ` ${JSON.stringify(printable(which))}` : " like this";
      throw new CommandError(`there is no invitation${shown}`, {
        code: "STORE_NOT_FOUND",
        hint: "see which there are: alknet invite list",
      });
    }
    await store.removeInvitation(found.id);
    const { state, usedBy } = documentOf(found);
    const peer = usedBy === undefined ? undefined : store.resolveFingerprint(usedBy)?.id;
    if (json) {
      printJson(terminal, { id: found.id, state, peer });
      return;
    }
    say(terminal, "done");
    if (state !== "used") return;
    const rest =
      peer === undefined ? "" : `; to take away what it gave: alknet peers remove ${peer}`;
    say(terminal, `note: it had been used already${rest}`);
  });
}

const LOOPBACK =
  "it leads to this machine alone; for others say where they reach it: alknet invite --address HOST:PORT";

const NOT_SERVED =
  'nobody can join while handlers in alknet.toml lacks "register": add it, and start the node again';

const NOT_RUNNING =
  "no node is running here: it has to run to be joined, and to be reached there. Start it: alknet up";

/** @throws {CommandError} */
function lifetimeOf(expires: string | undefined): number {
  const lifetime = expires === undefined ? INVITATION_LIFETIME : parseSpan(expires);
  if (lifetime <= MAX_INVITATION_LIFETIME) return lifetime;
  throw usage(`an invitation cannot last for ${expires}: expected at most 30d`, {
    hint: "alknet invite --expires 30d",
  });
}

/** @throws {CommandError} where the store would say less, or does not know. */
function checkName(peerId: string, addsKey: boolean, store: IdentityStore, config: Config): void {
  if (!mayBePeerId(peerId)) {
    throw new CommandError(`no peer can be called ${JSON.stringify(printable(peerId))}`, {
      code: "PEER_INVALID",
      hint: 'after --name: 1 to 64 letters, digits, ".", "_", "-", a letter or digit first; not "owner"',
      exitCode: ExitCode.USAGE,
    });
  }
  const same = (name: string): boolean => name.toLowerCase() === peerId.toLowerCase();
  const shown = JSON.stringify(printable(peerId));
  if (config.peers.some((peer) => same(peer.peerId))) {
    throw new CommandError(`peer ${shown} stands in ${config.path}, and is changed there`, {
      code: "STORE_EXISTS",
      hint: addsKey
        ? "add the key to its fingerprints there: alknet id, on the other machine, prints it"
        : "choose another name: alknet invite --name OTHER",
    });
  }
  const peer = store.peer(peerId);
  if (!addsKey && peer !== undefined) {
    throw new CommandError(`there is a peer ${shown} already`, {
      code: "STORE_EXISTS",
      hint: `to give it one key more: alknet invite --name ${peer.peerId} --add-key`,
    });
  }
  if (addsKey && peer === undefined) {
    throw new CommandError(`there is no peer ${shown} to add a key to`, {
      code: "STORE_NOT_FOUND",
      hint: "see which there are: alknet peers; to let in a new one, leave out --add-key",
    });
  }
  if (addsKey && peer?.enabled === false) {
    throw new CommandError(`peer ${shown} is disabled`, {
      code: "PEER_DISABLED",
      hint: `alknet peers enable ${peer.peerId}`,
    });
  }
}

function isLoopback(address: string): boolean {
  return /^(?:127\.|\[::1\]|localhost:)/.test(address);
}

function warningsOf(scopes: readonly string[], { roles }: Config, addsKey: boolean): string[] {
  if (scopes.length > 0 || addsKey) return scopes.flatMap((scope) => scopeNotes(scope, roles));
  return ["it grants nothing: --grant SCOPE gives rights, now or later: alknet peers grant"];
}

/** Of a peer that is to come. */
async function accountWarnings(
  peerId = "NAME",
  scopes: readonly string[],
  { roles }: Config,
): Promise<string[]> {
  const notes = await accountNotes({ peerId, scopes }, { roles });
  return notes.map((note) => `${note}, once it has joined`);
}

function explain(
  terminal: Terminal,
  ticket: string,
  {
    invitation: { peerId, scopes, addsKey },
    lifetime,
    addresses,
  }: { invitation: Invitation; lifetime: number; addresses: readonly string[] },
): void {
  // Capitals have a shorter code, and mean the same.
  const code = qrCode(ticket.toUpperCase());
  // It has colours of its own.
  terminal.words.write(code === undefined ? "\n" : `\n${code}\n`);
  say(terminal, `On the other machine, within ${formatDuration(lifetime)}, with the line above:`);
  say(terminal, "  alknet join INVITATION\n");
  const rights = scopes.length === 0 ? "" : `, which may: ${scopes.join(", ")}`;
  if (addsKey) say(terminal, `It is one key more of ${peerId}${rights}`);
  else say(terminal, `It becomes ${peerId ?? "a peer by a name of its own"} here${rights}`);
  say(terminal, `It leads to ${addresses.join(", ")}. Whoever has the line can use it, once.`);
}

interface InvitationDocument {
  readonly id: string;
  /** What the peer is to be called; `null`: as it likes. */
  readonly name: string | null;
  readonly scopes: readonly string[];
  readonly addsKey: boolean;
  readonly state: "open" | "expired" | "used";
  /** RFC 3339, UTC, as all times here. */
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt: string;
  readonly usedAt?: string | undefined;
  readonly usedBy?: string | undefined;
}

/** As JSON has it: no hash of the secret. */
function documentOf(invitation: Invitation): InvitationDocument {
  const { id, peerId = null, scopes, addsKey, createdBy, usedAt, usedBy } = invitation;
  const { createdAt, expiresAt } = invitation;
  const state = usedAt !== undefined ? "used" : expiresAt <= Date.now() ? "expired" : "open";
  return {
    id,
    name: peerId,
    scopes,
    addsKey,
    state,
    createdAt: new Date(createdAt).toISOString(),
    createdBy,
    expiresAt: new Date(expiresAt).toISOString(),
    ...(usedAt === undefined ? {} : { usedAt: new Date(usedAt).toISOString() }),
    ...(usedBy === undefined ? {} : { usedBy }),
  };
}

function describeState(invitation: Invitation): string {
  const { state, expiresAt, usedAt, usedBy } = documentOf(invitation);
  if (state === "used") return `used ${usedAt ?? ""} by ${usedBy ?? ""}`;
  return state === "expired" ? `expired ${expiresAt}` : `open until ${expiresAt}`;
}

function usage(message: string, { hint }: { hint: string }): CommandError {
  return new CommandError(message, { code: "USAGE", hint, exitCode: ExitCode.USAGE });
}
