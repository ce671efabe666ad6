/**
 * The connections of a node as its owner sees them: numbered, to be shown and to be closed.
 *
 * @module
 */

import type { Connection } from "@alknet/core/connection";
import type { LiveConnection } from "@alknet/core/router";
import type { ConnectionSelection, ConnectionStatus } from "./operations/connection-status.ts";

export interface ConnectionList {
  /** Oldest first. */
  readonly list: (wanted: ConnectionSelection) => ConnectionStatus[];
  /** Close them in order, soon. @returns how many. */
  readonly close: (wanted: ConnectionSelection) => number;
}

/** @param live asked anew each time. */
export function connectionList(live: () => Iterable<LiveConnection>): ConnectionList {
  const ids = new WeakMap<Connection, number>();
  let last = 0;

  /** Numbered when it is first looked at, which is in the order in which they came. */
  function idOf(connection: Connection): number {
    const known = ids.get(connection);
    if (known !== undefined) return known;
    ids.set(connection, ++last);
    return last;
  }

  function select({ id, peer, alpn }: ConnectionSelection): LiveConnection[] {
    return [...live()].filter(
      ({ connection }) =>
        (idOf(connection) === id || id === undefined) &&
        (peer === undefined || connection.auth.peer?.id === peer) &&
        (alpn === undefined || connection.alpn === alpn),
    );
  }

  return {
    list(wanted) {
      const now = performance.now();
      return select(wanted).map(({ connection, since }) => ({
        id: idOf(connection),
        alpn: connection.alpn,
        transport: connection.transport,
        peer: connection.auth.peer?.id,
        remoteAddress: connection.remoteAddress,
        seconds: Math.round(now - since) / 1_000,
      }));
    },
    close(wanted) {
      const found = select(wanted);
      // The answer may have to leave over one of them first.
      setImmediate(() => {
        for (const { connection } of found) void connection.close();
      });
      return found.length;
    },
  };
}
