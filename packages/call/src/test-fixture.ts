/**
 * For tests of operations: a node that serves them, and a peer that calls it, over a connection in memory.
 *
 * @module
 */

import type { Logger } from "@alknet/core/log";
import { staticIdentities, type StaticIdentities } from "@alknet/core/static-identities";
import { connectionPair, type PairOptions } from "@alknet/core/testing";
import type { CallError } from "./call-error.ts";
import { callSession } from "./call-session.ts";
import { createDispatch, type DispatchOptions } from "./dispatch.ts";
import type { AnyOperation } from "./operation.ts";
import { createRegistry } from "./registry.ts";
import type { CallSession } from "./session.ts";

/** The key that the caller proves. */
export const CALLER_KEY: string = `ed25519:${"1".repeat(64)}`;

export interface CallPairOptions extends Partial<DispatchOptions> {
  readonly operations?: readonly AnyOperation[] | undefined;
  /** What the caller may. @default ["call:invoke"] */
  readonly scopes?: readonly string[] | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Bearer token of the peer `robot`, and what that may. */
  readonly robot?: { readonly tokenHash: string; readonly scopes: readonly string[] } | undefined;
  /** @default the peer `alice` */
  readonly caller?: "alice" | "stranger" | undefined;
  /** What the caller answers, in its turn. */
  readonly serves?: readonly AnyOperation[] | undefined;
  /** That the caller's session sends with every call. */
  readonly authToken?: string | undefined;
  readonly multiplexed?: boolean | undefined;
  readonly pair?: PairOptions | undefined;
}

/** Both ends; disposing closes them. */
export interface CallPair extends AsyncDisposable {
  readonly client: CallSession;
  readonly server: CallSession;
  /** Give the caller other rights. */
  permit(scopes: readonly string[], resources?: Readonly<Record<string, readonly string[]>>): void;
  readonly identities: StaticIdentities;
  /** What was logged at the serving end, as JSON. */
  readonly log: string[];
}

export function callPair(options: CallPairOptions = {}): CallPair {
  const { operations = [], serves = [], scopes = ["call:invoke"], robot, multiplexed } = options;
  const entries = (
    alice: readonly string[],
    resources: CallPairOptions["resources"] = options.resources,
  ) => [
    { peerId: "alice", fingerprints: [CALLER_KEY], scopes: alice, enabled: true, resources },
    ...(robot === undefined
      ? []
      : [{ peerId: "robot", fingerprints: [], enabled: true, ...robot }]),
  ];
  const identities = staticIdentities(entries(scopes));
  const fingerprint = options.caller === "stranger" ? `ed25519:${"2".repeat(64)}` : CALLER_KEY;
  // The node that is called may do anything in its turn: what it is to its caller is not the point here.
  const node = { peerId: "node", fingerprints: [CALLER_KEY], scopes: ["*"], enabled: true };
  const pair = connectionPair({
    alpn: "alknet/call",
    multiplexed,
    ...options.pair,
    auth: {
      server: { identities, fingerprint },
      client: { identities: staticIdentities([node]), fingerprint: CALLER_KEY },
    },
  });
  const log: string[] = [];
  const logger = options.logger ?? collecting(log);
  const registry = createRegistry(operations);
  const { clock, authToken } = options;
  const server = callSession(pair.server, {
    clock,
    logger,
    dispatch: createDispatch({ registry, ...options, logger }),
  });
  const client = callSession(pair.client, {
    clock,
    authToken,
    dispatch: createDispatch({ registry: createRegistry(serves), clock }),
  });
  return {
    client,
    server,
    identities,
    log,
    permit: (next, resources) => identities.replace(entries(next, resources)),
    async [Symbol.asyncDispose]() {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

function collecting(log: string[]): Logger {
  const add = (fields: object, message: string): void => {
    const text = Object.entries(fields).map(([key, value]) =>
      value instanceof Error ? [key, value.message] : [key, value as unknown],
    );
    log.push(JSON.stringify({ ...(Object.fromEntries(text) as object), message }));
  };
  return { debug: add, info: add, warn: add, error: add };
}

/** What `call` is rejected with; that it was not is an error of the test. */
export async function fails(call: Promise<unknown>): Promise<CallError> {
  return await call.then(
    (output) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(output)}`);
    },
    (error: unknown) => error as CallError,
  );
}
