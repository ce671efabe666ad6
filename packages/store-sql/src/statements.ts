/**
 * The SQL of every operation, for one mapping of tables. Values are always parameters; names are quoted once.
 *
 * The same few forms do for SQLite (3.35 or newer) and PostgreSQL. Names of peers are compared in lower case:
 * they are ASCII, so that all databases agree.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type {
  AuditEntry,
  ChangedNames,
  EncryptedData,
  Invitation,
} from "@alknet/core/store-backend";
import type { ApiKeyEntry } from "@alknet/core/api-key";
import type { PeerEntry } from "@alknet/core/peers";
import { writeTexts } from "./column.ts";
import { formatMessage, formatNotification } from "./notification.ts";
import { type Values, writeApiKey, writeCredential, writeInvitation, writePeer } from "./rows.ts";
import type { SqlDialect, SqlStatement, SqlValue } from "./sql-driver.ts";
import { NOT_ONE_KEY, ONE_KEY } from "./tables-sql.ts";
import {
  type ColumnName,
  columnsOf,
  type ResolvedTable,
  type ResolvedTables,
  TABLE_NAMES,
  type TableName,
} from "./table-mapping.ts";

/** Notifications that are kept, and audit entries. Some more may be there for a while. */
export const KEPT_NOTIFICATIONS = 1_024;
export const KEPT_AUDIT = 10_000;

/** What a column means when it is not there; everything else cannot be kept then. */
const DEFAULTS: Readonly<Record<string, SqlValue>> = { scopes: "[]", enabled: 1 };

/** Statements to run in this order; the first that gives a row makes the rest needless. */
export type Upsert = readonly [update: SqlStatement, insert: SqlStatement];

/** Statements of one mapping and dialect. */
export interface Statements {
  /** Number of the newest notification: one row, one number. */
  readonly newest: SqlStatement;
  readonly peers: SqlStatement;
  readonly apiKeys: SqlStatement;
  readonly credentials: SqlStatement;
  readonly invitations: SqlStatement;
  peersNamed(names: readonly string[]): SqlStatement;
  apiKeysNamed(prefixes: readonly string[]): SqlStatement;
  credentialsNamed(providers: readonly string[]): SqlStatement;
  /** Peers that may hold a fingerprint: whoever reads the rows looks whether they do. */
  peersWithKey(fingerprint: string): SqlStatement;
  peersWithToken(hash: string): SqlStatement | undefined;
  apiKeysWithToken(hash: string): SqlStatement;
  invitation(by: { id: string } | { secretHash: string }): SqlStatement;
  /**
   * The same query, for rows that are about to be changed: what another program is doing to them is waited for.
   * SQLite has one writer at a time anyway.
   */
  forUpdate(query: SqlStatement): SqlStatement;
  /** The newest first. */
  audit(after: number, limit: number): SqlStatement;
  /** Rows of id, channel and payload, oldest first. */
  notifications(after: number, limit: number): SqlStatement;
  /** @throws {TypeError} if the table has no column for something in it. */
  putPeer(entry: PeerEntry): Upsert;
  putApiKey(entry: ApiKeyEntry): Upsert;
  putCredential(provider: string, value: EncryptedData): Upsert;
  putInvitation(invitation: Invitation): Upsert;
  deletePeer(peerId: string): SqlStatement;
  deleteApiKey(prefix: string): SqlStatement;
  deleteCredential(provider: string): SqlStatement;
  deleteInvitation(id: string): SqlStatement;
  addAudit(entry: Omit<AuditEntry, "id">): SqlStatement;
  /** Gives a row with the new number. */
  notify(names: ChangedNames, wallTime: number): SqlStatement;
  /** For a database that has notifications of its own. */
  notifyChannel(names: ChangedNames, change: number): SqlStatement | undefined;
  pruneNotifications(newest: number): SqlStatement;
  readonly pruneAudit: SqlStatement;
}

export function statements(dialect: SqlDialect, tables: ResolvedTables): Statements {
  const { peers, api_keys, credentials, invitations, notifications, audit } = tables;
  const build = (...parts: Parts): SqlStatement => statement(dialect, parts);
  const column = (table: ResolvedTable, name: string): string => table.columns.get(name) ?? "NULL";
  // Some libraries give a row as an object: no two names in it may be the same.
  const select = <T extends TableName>(table: T): string =>
    `SELECT ${columnsOf(table)
      .map((name) => `${column(tables[table], name)} AS alknet_${name}`)
      .join(", ")} FROM ${tables[table].quoted}`;
  const peerKey = `lower(${column(peers, "peer_id")})`;
  const all = Object.fromEntries(TABLE_NAMES.map((table) => [table, select(table)])) as Record<
    TableName,
    string
  >;
  const find = dialect === "sqlite" ? "instr" : "strpos";

  const upsert = <T extends TableName>(
    table: T,
    key: ColumnName<T>,
    keySql: string,
    keyValue: SqlValue,
    values: Values<T>,
  ): Upsert => {
    const { quoted, columns, label } = tables[table];
    const given = columnsOf(table).filter((name) => {
      if (columns.has(name)) return true;
      if (values[name] === (DEFAULTS[name] ?? null)) return false;
      throw new TypeError(
        `cannot keep ${name} of ${JSON.stringify(values[key])}: table ${label} has no column for it; map one as tables.${table}.columns.${name}`,
      );
    });
    const sets = given.flatMap((name, at): Parts => [
      `${at > 0 ? ", " : ""}${column(tables[table], name)} = `,
      { value: values[name] },
    ]);
    const places = given.flatMap((name, at): Parts => [
      at > 0 ? ", " : "",
      { value: values[name] },
    ]);
    const names = given.map((name) => column(tables[table], name)).join(", ");
    return [
      build(
        `UPDATE ${quoted} SET `,
        ...sets,
        ` WHERE ${keySql} = `,
        { value: keyValue },
        " RETURNING 1",
      ),
      build(`INSERT INTO ${quoted} (${names}) VALUES (`, ...places, ")"),
    ];
  };
  const where = (sql: string, columnSql: string, value: SqlValue): SqlStatement =>
    build(`${sql} WHERE ${columnSql} = `, { value });
  const whereIn = (sql: string, columnSql: string, values: readonly string[]): SqlStatement =>
    build(
      `${sql} WHERE ${columnSql} IN (`,
      ...values.flatMap((value, at): Parts => [at > 0 ? ", " : "", { value }]),
      ")",
    );

  return {
    newest: build(
      `SELECT coalesce(max(${column(notifications, "id")}), 0) FROM ${notifications.quoted}`,
    ),
    peers: build(all.peers),
    apiKeys: build(all.api_keys),
    credentials: build(all.credentials),
    invitations: build(
      `${all.invitations} ORDER BY ${column(invitations, "created_at")}, ${column(invitations, "id")}`,
    ),
    peersNamed: (names) =>
      whereIn(
        all.peers,
        peerKey,
        names.map((name) => name.toLowerCase()),
      ),
    apiKeysNamed: (prefixes) => whereIn(all.api_keys, column(api_keys, "prefix"), prefixes),
    credentialsNamed: (providers) =>
      whereIn(all.credentials, column(credentials, "provider"), providers),
    peersWithKey: (fingerprint) => {
      const list = column(peers, "fingerprints");
      // The column may be JSON or an array: as text, each has the fingerprint in it, which needs no escapes.
      const look: Parts = [`${find}(CAST(${list} AS TEXT), `, { value: fingerprint }, ") > 0"];
      if (peers.mapped) return build(`${all.peers} WHERE `, ...look);
      // Of a hundred thousand peers nearly all have one key: those are found by the index of what is written then.
      return build(
        `${all.peers} WHERE ${ONE_KEY} AND ${list} = `,
        { value: writeTexts([fingerprint]) },
        ` UNION ALL ${all.peers} WHERE ${NOT_ONE_KEY} AND `,
        ...look,
      );
    },
    peersWithToken: (hash) =>
      peers.columns.has("auth_token_hash")
        ? where(all.peers, column(peers, "auth_token_hash"), hash)
        : undefined,
    apiKeysWithToken: (hash) => where(all.api_keys, column(api_keys, "hash"), hash),
    invitation: (by) =>
      "id" in by
        ? where(all.invitations, column(invitations, "id"), by.id)
        : where(all.invitations, column(invitations, "secret_hash"), by.secretHash),
    forUpdate: (query) =>
      dialect === "sqlite" ? query : { ...query, sql: `${query.sql} FOR UPDATE` },
    audit: (after, limit) => {
      const id = column(audit, "id");
      return build(`${all.audit} WHERE ${id} > `, { value: after }, ` ORDER BY ${id} DESC LIMIT `, {
        value: limit,
      });
    },
    notifications: (after, limit) => {
      const id = column(notifications, "id");
      return build(
        `SELECT ${id}, ${column(notifications, "channel")}, ${column(notifications, "payload")} FROM ${notifications.quoted} WHERE ${id} > `,
        { value: after },
        ` ORDER BY ${id} LIMIT `,
        { value: limit },
      );
    },
    putPeer: (entry) =>
      upsert("peers", "peer_id", peerKey, entry.peerId.toLowerCase(), writePeer(entry)),
    putApiKey: (entry) =>
      upsert("api_keys", "prefix", column(api_keys, "prefix"), entry.prefix, writeApiKey(entry)),
    putCredential: (provider, value) =>
      upsert(
        "credentials",
        "provider",
        column(credentials, "provider"),
        provider,
        writeCredential(provider, value),
      ),
    putInvitation: (invitation) =>
      upsert(
        "invitations",
        "id",
        column(invitations, "id"),
        invitation.id,
        writeInvitation(invitation),
      ),
    deletePeer: (peerId) => where(`DELETE FROM ${peers.quoted}`, peerKey, peerId.toLowerCase()),
    deleteApiKey: (prefix) =>
      where(`DELETE FROM ${api_keys.quoted}`, column(api_keys, "prefix"), prefix),
    deleteCredential: (provider) =>
      where(`DELETE FROM ${credentials.quoted}`, column(credentials, "provider"), provider),
    deleteInvitation: (id) =>
      where(`DELETE FROM ${invitations.quoted}`, column(invitations, "id"), id),
    addAudit: ({ at, actor, action, subject, detail }) => {
      const names = ["at", "actor", "action", "subject", "detail"];
      return build(
        `INSERT INTO ${audit.quoted} (${names.map((name) => column(audit, name)).join(", ")}) VALUES (`,
        { value: Math.round(at) },
        ", ",
        { value: actor },
        ", ",
        { value: action },
        ", ",
        { value: subject },
        ", ",
        { value: JSON.stringify(detail) },
        ")",
      );
    },
    notify: (names, wallTime) => {
      const { channel, payload } = formatNotification(names);
      const columns = ["channel", "payload", "created_at"].map((name) =>
        column(notifications, name),
      );
      return build(
        `INSERT INTO ${notifications.quoted} (${columns.join(", ")}) VALUES (`,
        { value: channel },
        ", ",
        { value: payload },
        ", ",
        { value: Math.round(wallTime) },
        `) RETURNING ${column(notifications, "id")}`,
      );
    },
    notifyChannel: (names, change) => {
      if (dialect !== "postgres") return undefined;
      const { channel } = formatNotification(names);
      const message = formatMessage(names, change);
      return build("SELECT pg_notify(", { value: channel }, ", ", { value: message }, ")");
    },
    pruneNotifications: (newest) => {
      const id = column(notifications, "id");
      return build(`DELETE FROM ${notifications.quoted} WHERE ${id} <= `, {
        value: newest - KEPT_NOTIFICATIONS,
      });
    },
    pruneAudit: build(
      `DELETE FROM ${audit.quoted} WHERE ${column(audit, "id")} <= (SELECT max(${column(audit, "id")}) - ${KEPT_AUDIT} FROM ${audit.quoted})`,
    ),
  };
}

/** Text, and values between. */
type Parts = readonly (string | { readonly value: SqlValue })[];

function statement(dialect: SqlDialect, parts: Parts): SqlStatement {
  const values: SqlValue[] = [];
  let sql = "";
  for (const part of parts) {
    if (typeof part === "string") {
      sql += part;
      continue;
    }
    values.push(part.value);
    sql += dialect === "sqlite" ? "?" : `$${values.length}`;
  }
  return { sql, values };
}
