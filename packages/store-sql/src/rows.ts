/**
 * Entries and the rows that they are: which column holds what.
 *
 * Rows are read in the order of `columnsOf()`; a column that a table does not have reads as `null`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { type ApiKeyEntry, parseApiKey } from "@alknet/core/api-key";
import { parsePeer, type PeerEntry } from "@alknet/core/peers";
import type { AuditEntry, EncryptedData, Invitation, Loaded } from "@alknet/core/store-backend";
import { checkCredential } from "@alknet/core/store-rules";
import {
  readBoolean,
  readBytes,
  readCount,
  readOptionalCount,
  readOptionalText,
  readRecord,
  readText,
  readTextLists,
  readTexts,
  saysTexts,
  writeTexts,
} from "./column.ts";
import type { SqlRow, SqlValue } from "./sql-driver.ts";
import type { ColumnName, TableName } from "./table-mapping.ts";

/** Values by our name of the column. */
export type Values<T extends TableName> = Readonly<Record<ColumnName<T>, SqlValue>>;

/** Lists that many rows share, by their text: 100,000 peers have few different rights. */
export class SharedTexts {
  readonly #lists = new Map<string, readonly string[]>();

  read(column: string, value: unknown): readonly string[] {
    const known = typeof value === "string" ? this.#lists.get(value) : undefined;
    if (known !== undefined) return known;
    const list = Object.freeze([...readTexts(column, value)]);
    // What is long is seldom shared, and what is many is not shared at all.
    if (typeof value === "string" && value.length <= 512 && this.#lists.size < 4_096) {
      this.#lists.set(value, list);
    }
    return list;
  }
}

/** `known` is what was read before: the same object is given again if the row says the same. */
export function readPeer(
  row: SqlRow,
  known?: (peerId: string) => PeerEntry | undefined,
  shared: SharedTexts = new SharedTexts(),
): Loaded {
  const [name, fingerprints, tokenHash, scopes, resources, displayName, enabled, addresses] = row;
  const before = typeof name === "string" ? known?.(name) : undefined;
  if (
    before !== undefined &&
    before.peerId === name &&
    saysTexts(fingerprints, before.fingerprints) &&
    saysTexts(scopes, before.scopes) &&
    saysTexts(addresses, before.addresses ?? []) &&
    (before.tokenHash ?? null) === tokenHash &&
    (before.displayName ?? null) === displayName &&
    saysEnabled(enabled, before.enabled) &&
    resources === null &&
    isEmpty(before.resources)
  ) {
    return { kind: "peer", entry: before };
  }
  return reading(`peer ${subject(name)}`, () => {
    const token = readOptionalText("auth_token_hash", tokenHash);
    const shownName = readOptionalText("display_name", displayName);
    const entry = parsePeer({
      peerId: readText("peer_id", name),
      fingerprints: readTexts("fingerprints", fingerprints),
      scopes: shared.read("scopes", scopes),
      resources: readTextLists("resources", resources),
      enabled: enabled === null || enabled === undefined ? true : readBoolean("enabled", enabled),
      addresses: readTexts("addresses", addresses),
      ...(token === undefined ? {} : { tokenHash: token }),
      ...(shownName === undefined ? {} : { displayName: shownName }),
    });
    return {
      kind: "peer",
      entry: before !== undefined && isDeepStrictEqual(before, entry) ? before : entry,
    };
  });
}

export function writePeer(entry: PeerEntry): Values<"peers"> {
  const { peerId, fingerprints, tokenHash, scopes, resources = {}, displayName } = entry;
  const { enabled, addresses = [] } = entry;
  return {
    peer_id: peerId,
    fingerprints: writeTexts(fingerprints),
    auth_token_hash: tokenHash ?? null,
    scopes: writeTexts(scopes),
    resources: isEmpty(resources) ? null : JSON.stringify(resources),
    display_name: displayName ?? null,
    enabled: enabled ? 1 : 0,
    addresses: addresses.length === 0 ? null : writeTexts(addresses),
  };
}

export function readApiKey(
  row: SqlRow,
  known?: (prefix: string) => ApiKeyEntry | undefined,
): Loaded {
  const [prefix, hash, scopes, description, expiresAt] = row;
  return reading(`API key ${subject(prefix)}`, () => {
    const text = readOptionalText("description", description);
    const end = readOptionalCount("expires_at", expiresAt);
    const entry = parseApiKey({
      prefix: readText("prefix", prefix),
      hash: readText("hash", hash),
      scopes: readTexts("scopes", scopes),
      ...(text === undefined ? {} : { description: text }),
      ...(end === undefined ? {} : { expiresAt: end }),
    });
    const before = known?.(entry.prefix);
    return {
      kind: "apiKey",
      entry: before !== undefined && isDeepStrictEqual(before, entry) ? before : entry,
    };
  });
}

export function writeApiKey(entry: ApiKeyEntry): Values<"api_keys"> {
  const { prefix, hash, scopes, description, expiresAt } = entry;
  return {
    prefix,
    hash,
    scopes: writeTexts(scopes),
    description: description ?? null,
    expires_at: expiresAt ?? null,
  };
}

export function readCredential(row: SqlRow): Loaded {
  const [name, version, salt, iv, data] = row;
  return reading(`credential ${subject(name)}`, () => {
    const provider = readText("provider", name);
    const value = Object.freeze({
      key_version: readCount("key_version", version),
      salt: readBytes("salt", salt),
      iv: readBytes("iv", iv),
      data: readBytes("data", data),
    });
    checkCredential(provider, value);
    return { kind: "credential", provider, value };
  });
}

export function writeCredential(provider: string, value: EncryptedData): Values<"credentials"> {
  const { key_version, salt, iv, data } = value;
  return { provider, key_version, salt, iv, data };
}

/** @throws {ColumnError} */
export function readInvitation(row: SqlRow): Invitation {
  const [id, secretHash, peerId, scopes, addsKey, createdAt, expiresAt, ...rest] = row;
  const [createdBy, usedAt, usedBy] = rest;
  return Object.freeze({
    id: readText("id", id),
    secretHash: readText("secret_hash", secretHash),
    peerId: readOptionalText("peer_id", peerId),
    scopes: Object.freeze([...readTexts("scopes", scopes)]),
    addsKey: readBoolean("adds_key", addsKey),
    createdAt: readCount("created_at", createdAt),
    expiresAt: readCount("expires_at", expiresAt),
    createdBy: readText("created_by", createdBy),
    usedAt: readOptionalCount("used_at", usedAt),
    usedBy: readOptionalText("used_by", usedBy),
  });
}

export function writeInvitation(invitation: Invitation): Values<"invitations"> {
  const { id, secretHash, peerId, scopes, addsKey, createdAt, expiresAt } = invitation;
  const { createdBy, usedAt, usedBy } = invitation;
  return {
    id,
    secret_hash: secretHash,
    peer_id: peerId ?? null,
    scopes: writeTexts(scopes),
    adds_key: addsKey ? 1 : 0,
    created_at: Math.round(createdAt),
    expires_at: Math.round(expiresAt),
    created_by: createdBy,
    used_at: usedAt === undefined ? null : Math.round(usedAt),
    used_by: usedBy ?? null,
  };
}

/** @throws {ColumnError} */
export function readAudit(row: SqlRow): AuditEntry {
  const [id, at, actor, action, subjectName, detail] = row;
  return Object.freeze({
    id: readCount("id", id),
    at: readCount("at", at),
    actor: readText("actor", actor),
    action: readText("action", action),
    subject: readText("subject", subjectName),
    detail: Object.freeze(readRecord("detail", detail)),
  });
}

function reading(name: string, read: () => Loaded): Loaded {
  try {
    return read();
  } catch (error) {
    return { kind: "broken", subject: name, message: (error as Error).message };
  }
}

/** Of whatever is in the column of names. */
function subject(name: unknown): string {
  if (typeof name !== "string") return `(${typeof name})`;
  return /^[!-~]{1,128}$/.test(name) ? name : JSON.stringify(name.slice(0, 100));
}

function saysEnabled(value: unknown, enabled: boolean): boolean {
  if (enabled) return value === 1 || value === 1n || value === true || value === null;
  return value === 0 || value === 0n || value === false;
}

function isEmpty(record: object | undefined): boolean {
  if (record !== undefined) for (const _ in record) return false;
  return true;
}
