/**
 * Version 1: all tables.
 *
 * Released: never changed any more, whatever becomes of the tables later.
 *
 * @module
 */

export const TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS peers (
    peer_id TEXT NOT NULL PRIMARY KEY,
    fingerprints TEXT NOT NULL DEFAULT '[]',
    auth_token_hash TEXT,
    scopes TEXT NOT NULL DEFAULT '[]',
    resources TEXT,
    display_name TEXT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)) DEFAULT 1,
    addresses TEXT
  ) STRICT`,
  `CREATE UNIQUE INDEX IF NOT EXISTS peers_by_name ON peers (lower(peer_id))`,
  `CREATE INDEX IF NOT EXISTS peers_by_token ON peers (auth_token_hash)`,
  `CREATE INDEX IF NOT EXISTS peers_by_key ON peers (fingerprints) WHERE length(fingerprints) IN (75, 76)`,
  `CREATE INDEX IF NOT EXISTS peers_by_keys ON peers (peer_id) WHERE length(fingerprints) NOT IN (75, 76)`,
  `CREATE TABLE IF NOT EXISTS api_keys (
    prefix TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    scopes TEXT NOT NULL DEFAULT '[]',
    description TEXT,
    expires_at INTEGER CHECK (expires_at BETWEEN 0 AND 9007199254740991)
  ) STRICT`,
  `CREATE UNIQUE INDEX IF NOT EXISTS api_keys_by_hash ON api_keys (hash)`,
  `CREATE TABLE IF NOT EXISTS credentials (
    provider TEXT NOT NULL PRIMARY KEY,
    key_version INTEGER CHECK (key_version BETWEEN 0 AND 9007199254740991) NOT NULL,
    salt BLOB NOT NULL,
    iv BLOB NOT NULL,
    data BLOB NOT NULL
  ) STRICT`,
  `CREATE TABLE IF NOT EXISTS invitations (
    id TEXT NOT NULL PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    peer_id TEXT,
    scopes TEXT NOT NULL DEFAULT '[]',
    adds_key INTEGER NOT NULL CHECK (adds_key IN (0, 1)) DEFAULT 0,
    created_at INTEGER CHECK (created_at BETWEEN 0 AND 9007199254740991) NOT NULL,
    expires_at INTEGER CHECK (expires_at BETWEEN 0 AND 9007199254740991) NOT NULL,
    created_by TEXT NOT NULL,
    used_at INTEGER CHECK (used_at BETWEEN 0 AND 9007199254740991),
    used_by TEXT
  ) STRICT`,
  `CREATE UNIQUE INDEX IF NOT EXISTS invitations_by_secret ON invitations (secret_hash)`,
  `CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    payload TEXT,
    created_at INTEGER CHECK (created_at BETWEEN 0 AND 9007199254740991) NOT NULL DEFAULT 0
  ) STRICT`,
  `CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER CHECK (at BETWEEN 0 AND 9007199254740991) NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
  ) STRICT`,
];
