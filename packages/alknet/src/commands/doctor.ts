/**
 * `alknet doctor`: what is wrong, and how to mend it.
 *
 * @module
 */

import { styleText } from "node:util";
import type { Config } from "@alknet/core/config";
import { formatHostPort } from "@alknet/core/host";
import type { IdentityStore } from "@alknet/core/identity-store";
import { joinIdentities } from "@alknet/core/joined-identities";
import type { PeerEntry } from "@alknet/core/peers";
import { staticIdentities } from "@alknet/core/static-identities";
import { routeTo } from "@alknet/core/target";
import { checkConfigDrift } from "../checks/config-drift.ts";
import { checkConfig, checkIdentity, checkRunFolder } from "../checks/files.ts";
import type { Finding } from "../checks/finding.ts";
import { checkNode, checkNodeStore } from "../checks/node.ts";
import { checkSsh } from "../checks/ssh.ts";
import { checkStore, shadowedEntries } from "../checks/store.ts";
import { checkPort, checkUdpBuffers } from "../checks/sockets.ts";
import { checkVault } from "../checks/vault.ts";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { Interrupted } from "../interrupted.ts";
import { knownFingerprint } from "../node-identity.ts";
import { DISABLED, formatRefusal } from "../node-status.ts";
import type { RefusalStatus } from "../operations/status-document.ts";
import { shellWord } from "../shell-word.ts";
import { printable, printJson, type Terminal } from "../terminal.ts";

/** Peers that are tried without being named. */
const MAX_PEERS = 16;

export async function doctor(
  context: Context,
  targets: readonly string[],
  { json }: { readonly json: boolean },
): Promise<void> {
  const { home, terminal, interrupted } = context;
  const findings: Finding[] = [];
  const found = (finding: Finding | undefined): void => {
    if (finding === undefined) return;
    findings.push(finding);
    if (!json) print(terminal, finding);
  };

  const { config, finding } = await checkConfig(home);
  const checked = config === undefined ? undefined : await checkStore(context, config);
  await using _store = checked?.store;
  const known = config === undefined ? [] : knownPeers(config, checked?.store);
  // A name that nobody has is wrong usage here, as with every command.
  if (config !== undefined) for (const target of targets) routeTo(target, known);
  found(finding);
  for (const each of checked?.findings ?? []) found(each);
  if (config !== undefined && checked?.store !== undefined) {
    for (const each of shadowedEntries(config, checked.store)) found(each);
  }
  const key = await checkIdentity(home, config ?? { identity: undefined });
  found(key);
  for (const each of await checkVault(home, config)) found(each);
  if (config !== undefined)
    for (const each of await sshFindings(config, checked?.store)) found(each);
  found(checkRunFolder(home));
  const { node, finding: running } = await checkNode(home);
  found(running);
  found(checkNodeStore(node));
  found(checkConfigDrift(node));
  for (const listen of config?.listen ?? []) {
    const where = formatHostPort(listen);
    if (node?.listen.includes(where) === true) {
      found({ check: "port", state: "ok", text: `${where} belongs to the running node` });
    } else found(await checkPort(listen));
  }
  found(checkUdpBuffers());
  for (const refusal of (node?.refused ?? []).slice(-5)) {
    const { who, alpn, time } = refusal;
    const text = printable(`${who} for ${alpn}: ${formatRefusal(refusal)}, at ${time}`);
    found({ check: "refused", state: "warning", text, fix: letIn(refusal, config) });
  }

  const peers = known.filter(({ addresses }) => (addresses ?? []).length > 0);
  const tried =
    targets.length > 0
      ? targets
      : peers
          .filter(({ enabled }) => enabled)
          .map(({ peerId }) => peerId)
          .slice(0, MAX_PEERS);
  const usable = config !== undefined && key.state === "ok";
  if (usable && tried.length > 0) {
    // Without a key there is nobody to be let in; one is made, or asked for, when a node is named.
    if (targets.length > 0 || (await knownFingerprint(home, config)) !== undefined) {
      for (const each of await checkTargets(context, tried)) found(each);
    }
  }
  if (interrupted.aborted) throw new Interrupted();

  const problems = findings.filter(({ state }) => state === "problem").length;
  if (json) printJson(terminal, { findings, problems });
  if (problems > 0) {
    throw new CommandError(problems === 1 ? "1 problem found" : `${problems} problems found`, {
      code: "PROBLEMS_FOUND",
    });
  }
}

async function sshFindings(config: Config, store: IdentityStore | undefined): Promise<Finding[]> {
  const { whyNoTerminals } = await import("@alknet/ssh/terminal-device");
  const { peers, roles } = config;
  using configured = staticIdentities(peers, { roles });
  const provider = store === undefined ? configured : joinIdentities([configured, store]);
  const identities = knownPeers(config, store).flatMap(({ enabled, fingerprints: [key] }) => {
    const identity = key && enabled ? provider.resolveFingerprint(key) : undefined;
    return identity === undefined ? [] : [identity];
  });
  const isRoot = process.getuid?.() === 0;
  return checkSsh({ config, identities, isRoot, noTerminals: whyNoTerminals() });
}

/** By the configuration and by the store. */
function knownPeers(config: Config, store: IdentityStore | undefined): readonly PeerEntry[] {
  const configured = staticIdentities(config.peers);
  return store === undefined ? configured.peers : joinIdentities([configured, store]).peers;
}

/** What would have let somebody in who was refused. */
function letIn(
  { who, scope, reason }: RefusalStatus,
  config: Config | undefined,
): string | undefined {
  if (scope !== undefined) {
    // What stands in the file is changed there.
    if (config?.peers.some(({ peerId }) => peerId === who) === true) {
      const entry = `[peers.${who}] in ${config.path}`;
      return `to allow it, add ${JSON.stringify(printable(scope))} to the scopes of ${entry}`;
    }
    return `to allow it: alknet peers grant ${shellWord(printable(who))} ${shellWord(printable(scope))}`;
  }
  if (reason === DISABLED) return `to let it in again: alknet peers enable ${shellWord(who)}`;
  return reason === "not a peer"
    ? `to let it in: alknet peers add NAME ${printable(who)} --grant SCOPE`
    : undefined;
}

async function checkTargets(context: Context, targets: readonly string[]): Promise<Finding[]> {
  // The engine is loaded for this only: a doctor works also where it does not.
  const [{ openClient }, { checkReach }] = await Promise.all([
    import("../client.ts"),
    import("../checks/reach.ts"),
  ]);
  const client = await openClient(context);
  const { fingerprint } = client.identity;
  try {
    return await Promise.all(
      targets.map((target) => checkReach(client.dialer, target, fingerprint, context.interrupted)),
    );
  } catch (error) {
    throw context.interrupted.aborted ? new Interrupted() : error;
  } finally {
    await client.leave();
  }
}

const marks = {
  ok: ["green", "ok"],
  warning: ["yellow", "warn"],
  problem: ["red", "BAD"],
} as const;

function print({ data }: Terminal, { check, state, text, fix }: Finding): void {
  const [colour, word] = marks[state];
  const mark = data.isTerminal ? styleText(colour, word.padEnd(4)) : word.padEnd(4);
  data.write(`${mark}  ${check}: ${text}\n`);
  if (fix !== undefined) data.write(`      fix: ${fix.replaceAll("\n", "\n           ")}\n`);
}
