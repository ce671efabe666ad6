/**
 * For tests of handlers: two ends of one connection in memory, and a clock that the test moves.
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { text } from "node:stream/consumers";
 * import { connectionPair } from "@alknet/core/testing";
 *
 * await using pair = connectionPair();
 * const stream = await pair.client.open();
 * stream.end("hello");
 * const served = await pair.server.accept();
 * served?.pipe(served);
 * assert.equal(await text(stream), "hello");
 * ```
 *
 * @module
 */

import { authenticate, type IdentityProvider, type OwnedAuthContext } from "./access.ts";
import type { Clock } from "./clock.ts";
import type { OwnedConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { memoryConnections } from "./memory-connection.ts";
import { singleStreamPair } from "./single-stream-connection.ts";

export { FakeClock } from "./fake-clock.ts";

export interface PairOptions {
  /** @default "alknet/test" */
  alpn?: string | undefined;
  serverName?: string | undefined;
  /** False: one stream for the connection, as on TCP. @default true */
  multiplexed?: boolean | undefined;
  /** Whom the server takes the client for, and the client the server. @default nobody */
  auth?: { server?: Auth | undefined; client?: Auth | undefined } | undefined;
  /** Streams that each end may have open at once. @default 64 */
  maxStreams?: number | undefined;
  /** Bytes that a stream holds for a reader. @default 65_536 */
  window?: number | undefined;
  /** How long `close()` waits for an end that takes nothing more, in milliseconds. @default 2_000 */
  drain?: number | undefined;
  clock?: Clock | undefined;
}

/** A context as it is, or a key and who knows it. */
export type Auth =
  | OwnedAuthContext
  | { readonly identities: IdentityProvider; readonly fingerprint?: string | undefined };

/** Two ends of a connection; disposing closes both. */
export interface ConnectionPair extends AsyncDisposable {
  readonly client: OwnedConnection;
  readonly server: OwnedConnection;
}

/** Connect a client and a server in memory. */
export function connectionPair(options: PairOptions = {}): ConnectionPair {
  const { alpn = "alknet/test", multiplexed = true, auth = {} } = options;
  const ends = { ...options, alpn, client: ownerOf(auth.client), server: ownerOf(auth.server) };
  const { client, server } = multiplexed ? memoryConnections(ends) : singleStreamPair(ends);
  return {
    client,
    server,
    async [Symbol.asyncDispose]() {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

function ownerOf(auth: Auth | undefined): ConnectionOwner {
  if (auth === undefined) return { auth: authenticate(nobody, undefined) };
  if (!("identities" in auth)) return { auth };
  const { identities, fingerprint } = auth;
  const credential =
    fingerprint === undefined ? undefined : ({ kind: "fingerprint", fingerprint } as const);
  return { auth: authenticate(identities, credential), identities };
}

const nobody: IdentityProvider = {
  resolveFingerprint: () => undefined,
  resolveToken: () => undefined,
  subscribe: () => () => {},
};
