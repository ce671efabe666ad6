/**
 * Which tables and columns a store is in: ours, or those that somebody already has.
 *
 * ```ts
 * import { resolveTables } from "@alknet/store-sql/table-mapping";
 *
 * resolveTables({
 *   peers: { name: "users", columns: { peer_id: "login", fingerprints: "keys", scopes: "rights" } },
 * });
 * ```
 *
 * @module
 */

/** Columns of each table, and whether one can be done without. */
const COLUMNS = {
  peers: {
    peer_id: "needed",
    fingerprints: "needed",
    auth_token_hash: "optional",
    scopes: "optional",
    resources: "optional",
    display_name: "optional",
    enabled: "optional",
    addresses: "optional",
  },
  api_keys: {
    prefix: "needed",
    hash: "needed",
    scopes: "optional",
    description: "optional",
    expires_at: "optional",
  },
  credentials: {
    provider: "needed",
    key_version: "needed",
    salt: "needed",
    iv: "needed",
    data: "needed",
  },
  invitations: {
    id: "needed",
    secret_hash: "needed",
    peer_id: "needed",
    scopes: "needed",
    adds_key: "needed",
    created_at: "needed",
    expires_at: "needed",
    created_by: "needed",
    used_at: "needed",
    used_by: "needed",
  },
  notifications: {
    id: "needed",
    channel: "needed",
    payload: "needed",
    created_at: "needed",
  },
  audit: {
    id: "needed",
    at: "needed",
    actor: "needed",
    action: "needed",
    subject: "needed",
    detail: "needed",
  },
} as const;

type Columns = typeof COLUMNS;

/** Our name of a table. */
export type TableName = keyof Columns;

/** Our name of a column of a table. */
export type ColumnName<T extends TableName> = Extract<keyof Columns[T], string>;

type Needed<T extends TableName> = {
  [C in keyof Columns[T]]: Columns[T][C] extends "needed" ? C : never;
}[keyof Columns[T]];

/** Where a table of ours is. */
export interface MappedTable<T extends TableName> {
  /** As the database calls it; at most 128 characters. */
  readonly name?: string | undefined;
  /** Where the database has such a thing: `public`, or the name of an attached file. */
  readonly schema?: string | undefined;
  /**
   * Our names of columns, and theirs. A column that is not named is not there: it reads as nothing (a peer
   * is enabled, and has no scopes), and to write something else into it is refused. Left out: all columns, under
   * our names.
   */
  readonly columns?:
    | ({ readonly [C in Needed<T>]: string } & {
        readonly [C in Exclude<keyof Columns[T], Needed<T>>]?: string | undefined;
      })
    | undefined;
}

/** Tables that are named otherwise than ours. */
export type TableMapping = { readonly [T in TableName]?: MappedTable<T> | undefined };

/** A table with its names quoted, ready to be put into a statement. */
export interface ResolvedTable {
  /** For messages. */
  readonly label: string;
  readonly quoted: string;
  /** Quoted, by our name; `undefined`: not there. */
  readonly columns: ReadonlyMap<string, string>;
  /** Somebody named it or its columns: it is theirs, and we do not make it. */
  readonly mapped: boolean;
}

export type ResolvedTables = { readonly [T in TableName]: ResolvedTable };

export const TABLE_NAMES: readonly TableName[] = Object.freeze(Object.keys(COLUMNS) as TableName[]);

/**
 * Check a mapping, which may come from a program without types, and quote its names.
 *
 * @param unmapped where tables are that are not mapped: what is put before their names, and their schema.
 * @throws {TypeError} that names the table and the column.
 */
export function resolveTables(
  mapping: TableMapping = {},
  unmapped: { readonly prefix?: string; readonly schema?: string } = {},
): ResolvedTables {
  for (const name of Object.keys(mapping)) {
    if (!Object.hasOwn(COLUMNS, name)) {
      throw new TypeError(
        `cannot map table ${JSON.stringify(name)}: expected one of ${TABLE_NAMES.join(", ")}`,
      );
    }
  }
  const entries = TABLE_NAMES.map((name) => [name, resolveTable(name, mapping[name], unmapped)]);
  return Object.freeze(Object.fromEntries(entries) as Record<TableName, ResolvedTable>);
}

/** Our names of a table's columns, in the order in which rows are read. */
export function columnsOf<T extends TableName>(table: T): readonly ColumnName<T>[] {
  return Object.keys(COLUMNS[table]) as ColumnName<T>[];
}

/**
 * Quote a name so that whatever is in it stays a name.
 *
 * @throws {TypeError} if no database would take it.
 */
export function quoteName(name: string): string {
  if (typeof name !== "string" || name === "" || name.length > MAX_NAME || !isPlain(name)) {
    const shown = JSON.stringify(String(name).slice(0, 100));
    throw new TypeError(
      `cannot use ${shown} as the name of a table or column: expected 1 to ${MAX_NAME} characters, none of them a control character`,
    );
  }
  return `"${name.replaceAll('"', '""')}"`;
}

const MAX_NAME = 128;

function isPlain(name: string): boolean {
  // A lone surrogate cannot be written as UTF-8, and would become another name.
  // oxlint-disable-next-line no-control-regex
  return !/[\u0000-\u001f\u007f]/.test(name) && name.isWellFormed();
}

function resolveTable<T extends TableName>(
  table: T,
  mapped: MappedTable<T> | undefined,
  { prefix = "", schema: ourSchema }: { readonly prefix?: string; readonly schema?: string },
): ResolvedTable {
  const ours: MappedTable<T> = { name: `${prefix}${table}`, schema: ourSchema };
  const { name = ours.name!, schema, columns } = mapped ?? ours;
  const known: Readonly<Record<string, "needed" | "optional">> = COLUMNS[table];
  const names: Readonly<Record<string, string | undefined>> =
    (columns as Readonly<Record<string, string | undefined>> | undefined) ??
    Object.fromEntries(Object.keys(known).map((column) => [column, column]));
  for (const column of Object.keys(names)) {
    if (Object.hasOwn(known, column)) continue;
    throw new TypeError(
      `cannot map column ${JSON.stringify(column)} of ${table}: expected one of ${Object.keys(known).join(", ")}`,
    );
  }
  const resolved = new Map<string, string>();
  for (const [column, need] of Object.entries(known)) {
    const theirs = names[column];
    if (theirs !== undefined) resolved.set(column, quoteName(theirs));
    else if (need === "needed") {
      throw new TypeError(`cannot map table ${table}: expected a name for its column ${column}`);
    }
  }
  if (new Set(resolved.values()).size < resolved.size) {
    throw new TypeError(`cannot map table ${table}: two of its columns have one name`);
  }
  return Object.freeze({
    label: name,
    quoted: schema === undefined ? quoteName(name) : `${quoteName(schema)}.${quoteName(name)}`,
    columns: resolved,
    mapped: mapped !== undefined,
  });
}
