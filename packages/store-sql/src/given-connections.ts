/**
 * Connections to a SQLite database that somebody has opened already: theirs for writing, and ours for reading.
 *
 * @module
 */

import type { SqliteConnections } from "./sqlite-driver.ts";
import type { SqliteHandle } from "./sqlite-handle.ts";

/** `writer` stays theirs: it is not closed. */
export function givenConnections(writer: SqliteHandle): SqliteConnections {
  // A second connection notices the commits of the first, and of other processes.
  const reader = writer.path === undefined ? writer : writer.openReader();
  const shared = reader === writer;
  const version = shared ? "SELECT total_changes()" : "PRAGMA data_version";
  return {
    label: writer.path ?? "a database in memory",
    writer: () => writer,
    reader: () => reader,
    shared,
    openLoader: () => (shared ? undefined : writer.openReader()),
    version: () => Number(reader.all(version, [])[0]?.[0]),
    committed: () => {},
    failed: () => {},
    check: () => ({ state: { kind: "ready" } }),
    watch: () => {},
    close: () => {
      if (!shared) reader.close();
    },
  };
}
