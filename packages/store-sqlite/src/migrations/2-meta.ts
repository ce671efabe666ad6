/**
 * Version 2: which database it is.
 *
 * Released: never changed any more.
 *
 * @module
 */

export const META: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT`,
  `INSERT OR IGNORE INTO meta (name, value) VALUES ('database_id', lower(hex(randomblob(16))))`,
];
