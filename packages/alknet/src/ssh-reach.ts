/**
 * Reach the SSH server of a peer, through other peers if asked, and see that it is the one meant.
 *
 * TLS has proved the peer from end to end, also through others. The key that its SSH server shows on top is written down
 * where `alknet proxy` has it for `ssh`.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Connection } from "@alknet/core/connection";
import { DialError } from "@alknet/core/dial-error";
import type { Connect } from "@alknet/core/tcp-dial";
import type { SshClient } from "@alknet/ssh/client";
import type { SshClientError } from "@alknet/ssh/client-error";
import { openFlow } from "@alknet/tunnel/open-flow";
import { FlowRefused } from "@alknet/tunnel/refused";
import { ALPN as TUNNEL } from "@alknet/tunnel/tunnel";
import type { Client } from "./client.ts";
import { CommandError, ExitCode } from "./command-error.ts";
import { pinHostKey } from "./known-hosts.ts";
import { rememberNode, rememberedNode } from "./known-nodes.ts";
import { missingScope } from "./missing-scope.ts";
import { refusalOf } from "./refusal-of.ts";
import { shellWord } from "./shell-word.ts";
import { SSH_ALPN } from "./ssh-service.ts";

export interface ReachSshOptions {
  /** A peer's name, or what else can be dialed. */
  readonly target: string;
  /** Whether that is the name of a peer, whose host key is to be remembered. */
  readonly isPeer: boolean;
  /** Peers to go through, in their order. */
  readonly gates: readonly string[];
  /** Login name over there; empty: which the peer has by default. */
  readonly user: string;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
  /** Take the key that an address without one shows at the first time. */
  readonly acceptNew: boolean;
  readonly knownHosts: string;
  readonly knownNodes: string;
  readonly connectAgent: (() => Promise<Duplex>) | undefined;
  /** Hears what the server tells, beside its answers. */
  readonly ontold: (text: string) => void;
  /** Hears what is worth a line. */
  readonly note: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface ReachedSsh {
  readonly client: SshClient;
  readonly connection: Connection;
  /** What the server has told last, beside its answers. */
  readonly told: () => string | undefined;
  /** End all of it, the ways through others too. */
  readonly abort: () => void;
}

/** @throws what the dial throws, or {@linkcode CommandError}. */
export async function reachSsh(dialing: Client, options: ReachSshOptions): Promise<ReachedSsh> {
  const { target, user, signal } = options;
  // It is loaded while we wait for the peer.
  const loading = import("@alknet/ssh/client");
  loading.catch(() => {});
  const ways: Connection[] = [];
  const leave = (): void => {
    for (const connection of ways) connection.abort(0);
  };
  try {
    const connection = await dialPinned(dialing, options, ways);
    ways.push(connection);
    try {
      const stream = await connection.open();
      const { connectSsh } = await loading;
      let told: string | undefined;
      const client = await connectSsh(stream, {
        user,
        signal,
        ahead: true,
        checkHostKey: async ({ blob }) => await isHostKey(blob, options),
        connectAgent: options.connectAgent,
        onmessage: (text) => {
          told = text;
          options.ontold(text);
        },
      });
      return { client, connection, told: () => told, abort: leave };
    } catch (error) {
      signal.throwIfAborted();
      throw await refusalOf(connection, error);
    }
  } catch (error) {
    leave();
    throw explained(error, target);
  }
}

/** What a failed login or session is told as. */
export function explained(error: unknown, target: string): unknown {
  const { code, message } = error as Partial<SshClientError>;
  if (error instanceof DialError && missingScope(error.cause) !== undefined) {
    return new CommandError(`not allowed: ${error.message}`, {
      code: "NOT_ALLOWED",
      hint: error.hint,
      exitCode: ExitCode.NOT_ALLOWED,
      cause: error,
    });
  }
  if (code === "LOGIN_REFUSED") {
    const { why, hint } = notLetIn(message ?? "", target);
    return new CommandError(`not allowed: ${target} does not let this node in: ${why}`, {
      code,
      hint,
      exitCode: ExitCode.NOT_ALLOWED,
      cause: error,
    });
  }
  if (code === "HOST_KEY_REFUSED" || code === "NOT_CONNECTED") {
    return new CommandError(`could not connect to ${target}: ${message}`, {
      code,
      exitCode: ExitCode.NOT_CONNECTED,
      cause: error,
    });
  }
  return error;
}

/** A node says what mends an account behind why there is none; what lacks otherwise is a right. */
function notLetIn(text: string, target: string): { readonly why: string; readonly hint: string } {
  const [, why, mends] =
    /^(.+?): ((?:run it as root, or )?(?:alknet|useradd|chage|chsh) .+)$/s.exec(text) ?? [];
  if (why !== undefined) return { why, hint: `over there: ${mends}` };
  if (text.includes(" may log in as ")) {
    return { why: text, hint: `as whom this node may: alknet ssh ${shellWord(target)}` };
  }
  const [, name = "NAME"] = /^peer "([\w.-]+)"/.exec(text) ?? [];
  return { why: text, hint: `over there: alknet peers grant ${name} ssh:shell` };
}

async function isHostKey(blob: Uint8Array, options: ReachSshOptions): Promise<boolean> {
  const { target, isPeer, knownHosts, note } = options;
  if (isPeer) {
    await pinHostKey(knownHosts, target, blob).catch((error: Error) => {
      note(`the host key of ${target} is not written down: ${error.message}`);
    });
  }
  // Whose it is, TLS has proved.
  return true;
}

/** An address without a key goes by the one that it had when it was first taken. */
async function dialPinned(
  client: Client,
  options: ReachSshOptions,
  ways: Connection[],
): Promise<Connection> {
  const { target, gates, transports, signal, acceptNew, knownNodes, note } = options;
  const connect = connectThrough(client, gates, { signal, ways });
  const dial = (to: string): Promise<Connection> =>
    client.dialer.dial(to, SSH_ALPN, { transports, signal, connect });
  try {
    return await dial(target);
  } catch (error) {
    const { code, seen } = error as { code?: unknown; seen?: string };
    if (code !== "PEER_UNPINNED" || seen === undefined) throw error;
    const known = rememberedNode(knownNodes, target);
    if (known !== undefined) return await dial(`${known}@${target}`);
    if (!acceptNew) {
      throw new CommandError((error as Error).message, {
        code,
        hint: `if its owner confirms that key: alknet ssh ${seen}@${target}; to take it as it is, this once: --accept-new`,
        exitCode: ExitCode.NOT_CONNECTED,
        cause: error,
      });
    }
    const connection = await dial(`${seen}@${target}`);
    rememberNode(knownNodes, target, seen);
    note(`${target} is known by ${seen} from now on`);
    return connection;
  }
}

interface Through {
  readonly signal: AbortSignal;
  /** Gets the connections on the way, to be ended with what goes through them. */
  readonly ways: Connection[];
}

/** A way through `gates`, one after the other: TLS to each goes through those before it. */
function connectThrough(
  client: Client,
  gates: readonly string[],
  { signal, ways }: Through,
): Connect | undefined {
  return gates.reduce<Connect | undefined>(
    (before, gate) => async (to, attempt) => {
      const connection = await client.dialer.dial(gate, TUNNEL, { signal, connect: before });
      ways.push(connection);
      try {
        const stream = await connection.open();
        const { multiplexed } = connection;
        const opened = async () => ({ stream, connection, multiplexed });
        return await openFlow(opened, to, { signal: attempt.signal });
      } catch (error) {
        connection.abort(0);
        throw gateError(gate, await refusalOf(connection, error));
      }
    },
    undefined,
  );
}

function gateError(gate: string, error: unknown): unknown {
  if (!(error instanceof FlowRefused)) return error;
  const scope = missingScope(error);
  const hint =
    scope === undefined ? undefined : `on ${gate}: alknet peers grant NAME ${shellWord(scope)}`;
  return new DialError("UNREACHABLE", `${gate} does not lead there: ${error.message}`, {
    cause: error,
    final: error.refusal === "not-allowed",
    ...(hint === undefined ? {} : { hint }),
  });
}
