/**
 * Why a connection came to nothing.
 *
 * @module
 */

import type { Connection } from "@alknet/core/connection";

/**
 * What to tell of `error`, which a stream of `connection` ended with: why the connection was refused, if it was.
 */
export async function refusalOf(connection: Connection, error: unknown): Promise<unknown> {
  const pending = Symbol("pending");
  const outcome = await Promise.race([
    connection.accepted.then(
      () => pending,
      (reason: unknown) => reason,
    ),
    new Promise((resolve) => setImmediate(resolve, pending)),
  ]);
  return outcome === pending ? error : outcome;
}
