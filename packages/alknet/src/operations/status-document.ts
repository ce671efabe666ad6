/**
 * The document of `node/status`, which `alknet status --json` prints, and the parts of it that other operations
 * tell too.
 *
 * @module
 */

import * as z from "zod";
import { connectionStatus } from "./connection-status.ts";
import { list } from "./lists.ts";

export const refusalStatus = z.object({
  time: z.string().describe("RFC 3339, UTC"),
  who: z.string().describe("peer, fingerprint, or `no key`"),
  alpn: z.string(),
  reason: z.string(),
  scope: z.string().optional().describe("the scope that would have allowed it"),
});

const storeState = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready") }),
  z.object({
    kind: z.literal("stale").describe("what was read last holds"),
    reason: z.string(),
    since: z.number().describe("milliseconds since 1970"),
  }),
]);

export const configFault = z.object({
  message: z.string().describe("the first of what is wrong"),
  problems: list(
    z.object({
      line: z.number(),
      column: z.number(),
      key: z.string().optional(),
      message: z.string(),
    }),
  ).describe("all of it; empty if it is not a mistake in the file"),
});

const configuration = z.object({
  state: z.enum(["current", "refused"]).describe("refused: what was in use before is"),
  since: z.string().describe("RFC 3339, UTC"),
  restart: list(z.string()).describe("keys whose new values need a restart"),
  error: configFault.optional(),
});

const vault = z.object({
  pid: z.number(),
  unlocked: z.boolean(),
  lockAfter: z.number().optional().describe("idle time, in milliseconds"),
  locksIn: z.number().optional().describe("milliseconds"),
  sshAgentSocket: z.string(),
  sshAgentLocked: z.boolean(),
});

const caps = z.object({
  pending: z.number(),
  pendingPerBlock: z.number(),
  pendingPerTrustedBlock: z.number(),
  retry: z.number(),
  connections: z.number(),
  connectionsPerPeer: z.number(),
  strangersPerBlock: z.number(),
  webPerBlock: z.number(),
  blocks: z.number(),
});

const limits = z.object({
  pending: z.number().describe("handshakes under way"),
  connections: z.number(),
  blocks: z.number().describe("sources that are remembered"),
  caps,
  penalizedCount: z.number(),
  penalized: list(
    z.object({ source: z.string(), left: z.number().describe("milliseconds") }),
  ).describe("the longest ones"),
  sources: list(
    z.object({
      source: z.string(),
      pending: z.number(),
      authenticated: z.number(),
      strangers: z.number(),
      web: z.number(),
    }),
  ).describe("the busiest ones"),
  peers: list(z.object({ peer: z.string(), connections: z.number() })),
});

const sshSession = z.object({
  peer: z.string(),
  user: z.string().describe("login name of the account that it runs as"),
  kind: z.enum(["shell", "exec", "subsystem"]),
  since: z.string().describe("RFC 3339, UTC"),
  remote: z.string().optional().describe("address:port"),
  terminal: z.string().optional().describe("TERM, if it runs on one"),
  command: z.string().optional().describe("told to the owner alone"),
});

const ssh = z.object({
  sessions: list(sshSession).describe("programs that run for peers, the newest 1,000"),
  hostKey: z.string().describe("its fingerprint, as ssh shows it"),
  listen: list(z.string()).describe("where it is served to others than Alknet, host:port"),
});

export const nodeStatusDocument = z.object({
  version: z.string(),
  pid: z.number(),
  name: z.string().optional(),
  fingerprint: z.string(),
  addresses: list(z.string()).describe("where others may reach it, host:port"),
  listen: list(z.string()).describe("where it listens, host:port; UDP and TCP"),
  config: z.string().describe("its file"),
  uptime: z.number().describe("seconds"),
  draining: z.boolean(),
  flows: z.number().describe("connections and sockets to targets that peers have now"),
  listeners: z.number().describe("listeners that peers have here now"),
  connectionCount: z.number(),
  connections: list(connectionStatus).describe("the newest 1,000"),
  refused: list(refusalStatus).describe("who was not let in lately, the newest last"),
  peers: z.number().describe("how many are known, by the configuration and by the store"),
  store: z.object({ path: z.string(), state: storeState }),
  configuration,
  ssh: ssh.optional().describe("if it is served"),
  vault: vault.optional().describe("of the vault's agent, if there is one that answers"),
  problems: list(z.object({ subject: z.string(), message: z.string() })).describe(
    "entries that grant less than was meant",
  ),
  limits,
});

export type NodeStatus = z.infer<typeof nodeStatusDocument>;
export type SshSessionStatus = z.infer<typeof sshSession>;
export type RefusalStatus = z.infer<typeof refusalStatus>;
