/**
 * `alknet status`: what the node of this folder is doing.
 *
 * @module
 */

import type { Context } from "../context.ts";
import { askNode } from "../control.ts";
import { formatSeconds } from "../milliseconds.ts";
import { formatRefusal } from "../node-status.ts";
import type { NodeStatus } from "../operations/status-document.ts";
import { printable, printFields, printJson } from "../terminal.ts";

export async function status(
  { home, terminal }: Context,
  { json }: { readonly json: boolean },
): Promise<void> {
  const node = await askNode(home, (it) => it.status());
  if (json) {
    printJson(terminal, node);
    return;
  }
  printFields(terminal, [
    ["version", `${node.version} (pid ${node.pid}, up ${formatSeconds(node.uptime)})`],
    ["fingerprint", node.fingerprint],
    ...node.addresses.map((address): [string, string] => ["address", address]),
    ...configurationLines(node),
    ["peers", String(node.peers)],
    ...vaultLines(node),
    ...(node.store.state.kind === "ready"
      ? []
      : [["store", `cannot be read, its last contents hold: ${node.store.state.reason}`] as const]),
    ...node.problems.map(({ subject, message }) => ["problem", `${subject}: ${message}`] as const),
    ["flows", String(node.flows)],
    ["listeners", String(node.listeners)],
    ...sshLines(node),
    ["connections", String(node.connectionCount)],
    ...node.connections.map(
      ({ alpn, transport, peer, remoteAddress, seconds }): [string, string] => [
        "",
        `${printable(peer ?? "-")}  ${alpn}  ${transport} ${remoteAddress ?? ""}  ${formatSeconds(seconds)}`,
      ],
    ),
    ...limitLines(node.limits),
    ["refused", String(node.refused.length)],
    ...node.refused.map((refusal): [string, string] => {
      const { time, who, alpn } = refusal;
      const why = printable(formatRefusal(refusal));
      return ["", `${time}  ${printable(who)}  ${printable(alpn)}  ${why}`];
    }),
  ]);
}

function sshLines({ ssh }: NodeStatus): [string, string][] {
  if (ssh === undefined) return [];
  const count = ssh.sessions.length;
  const sessions = count === 1 ? "1 session" : `${count} sessions`;
  const also = ssh.listen.length === 0 ? "" : `; also at ${ssh.listen.join(", ")}`;
  return [
    ["ssh", `${sessions}; host key ${ssh.hostKey}${also}`],
    ...ssh.sessions.map(({ peer, user, kind, since, terminal }): [string, string] => [
      "",
      printable(
        `${peer}  ${kind} as ${user}${terminal === undefined ? "" : `, ${terminal}`}  since ${since}`,
      ),
    ]),
  ];
}

function vaultLines({ vault }: NodeStatus): [string, string][] {
  if (vault === undefined) return [];
  const { unlocked, locksIn, sshAgentSocket } = vault;
  const locks =
    locksIn === undefined ? "" : `, locks in ${formatSeconds(Math.round(locksIn / 1_000))}`;
  return [
    ["vault", `${unlocked ? `unlocked${locks}` : "locked"}; SSH_AUTH_SOCK=${sshAgentSocket}`],
  ];
}

/** What is near a limit, and who is kept out by a penalty. */
function limitLines(limits: NodeStatus["limits"]): [string, string][] {
  const { pending, connections, caps, penalized, penalizedCount } = limits;
  const lines: [string, string][] = [
    ["handshakes", `${pending} of ${caps.pending}`],
    ["in use", `${connections} of ${caps.connections} connections`],
  ];
  if (penalizedCount > 0) lines.push(["penalised", String(penalizedCount)]);
  for (const { source, left } of penalized) {
    lines.push(["", `${source} for ${formatSeconds(Math.ceil(left / 1_000))} more`]);
  }
  return lines;
}

/** What of the configuration is not in use, and why. */
function configurationLines({ config, configuration }: NodeStatus): [string, string][] {
  const { since, restart, error } = configuration;
  const lines: [string, string][] = [];
  if (error !== undefined) {
    lines.push(["config", `refused since ${since}, what was in use stays`]);
    for (const { line, column, message } of error.problems) {
      lines.push(["", printable(`${config}:${line}:${column}: ${message}`)]);
    }
    if (error.problems.length === 0) lines.push(["", printable(error.message)]);
  }
  if (restart.length > 0) {
    const verb = restart.length === 1 ? "needs" : "need";
    lines.push(["config", `${restart.join(", ")} ${verb} a restart: alknet up`]);
  }
  return lines;
}
