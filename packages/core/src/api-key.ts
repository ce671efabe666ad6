/**
 * Bearer tokens, and API keys: identities that are a token.
 *
 * ```text
 * token  = "alk_" 32 letters or digits of base32, lower case    (160 random bits)
 * prefix = its first 8 characters: names the key, and is no secret
 * hash   = "sha256:" 64 hex digits, of the whole token's bytes
 * ```
 *
 * Only the hash is kept, so a token is shown once, when it is made.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { encodeBase32 } from "./base32.ts";
import { type InvalidText, invalidText } from "./invalid-text.ts";
import { parseScopeEntry } from "./scope-entry.ts";

/** A token that is an identity by itself: for programs that hold no key. Named by its prefix. */
export interface ApiKeyEntry {
  /** First 8 characters of the token, `alk_` among them. Unique. */
  readonly prefix: string;
  /** `sha256:` and 64 lower-case hex digits, over the token's bytes. */
  readonly hash: string;
  readonly scopes: readonly string[];
  /** What it is for; at most 256 characters. */
  readonly description?: string | undefined;
  /** Seconds since 1970 UTC; from then on it is expired. */
  readonly expiresAt?: number | undefined;
}

export const TOKEN_PREFIX: string = "alk_";

/** Longest token looked at, in bytes. */
export const MAX_TOKEN: number = 4_096;

/** Most scopes of one key. */
const MAX_SCOPES = 1_024;

/** Longest description, in UTF-16 code units. */
const MAX_DESCRIPTION = 256;

/** A new token. 160 random bits. */
export function createToken(): string {
  return TOKEN_PREFIX + encodeBase32(randomBytes(20));
}

/** What is kept of a token. */
export function hashToken(token: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(token).digest("hex")}`;
}

/** The prefix by which the key of `token` is named. */
export function tokenPrefix(token: string): string {
  return token.slice(0, 8);
}

/** @throws {InvalidText} `TOKEN_HASH_INVALID` */
export function parseTokenHash(text: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return text;
  throw invalidText(
    "TOKEN_HASH_INVALID",
    "token hash",
    text,
    'expected "sha256:" and 64 lower-case hex digits',
  );
}

/** @throws {InvalidText} `TOKEN_PREFIX_INVALID` */
export function parseTokenPrefix(text: string): string {
  if (/^alk_[A-Za-z0-9_-]{4}$/.test(text)) return text;
  throw prefixInvalid(text);
}

/**
 * Check an entry.
 *
 * @throws {InvalidText} `TOKEN_PREFIX_INVALID`, `TOKEN_HASH_INVALID`, `SCOPE_INVALID`
 * @throws {RangeError} if a field is too long, or the time is none.
 */
export function parseApiKey(entry: ApiKeyEntry): ApiKeyEntry {
  const { prefix, hash, scopes, description, expiresAt } = entry;
  if (scopes.length > MAX_SCOPES) {
    throw new RangeError(`cannot use API key ${prefix}: more than ${MAX_SCOPES} scopes`);
  }
  for (const scope of scopes) parseScopeEntry(scope);
  if (description !== undefined && description.length > MAX_DESCRIPTION) {
    const expected = `at most ${MAX_DESCRIPTION} characters`;
    throw new RangeError(`cannot use API key ${prefix}: expected as description ${expected}`);
  }
  if (expiresAt !== undefined && !(Number.isSafeInteger(expiresAt) && expiresAt >= 0)) {
    throw new RangeError(
      `cannot use API key ${prefix}: expected as end whole seconds since 1970, got ${expiresAt}`,
    );
  }
  return Object.freeze({
    prefix: parseTokenPrefix(prefix),
    hash: parseTokenHash(hash),
    scopes: Object.freeze([...scopes]),
    ...(description === undefined ? {} : { description }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  });
}

function prefixInvalid(text: string): InvalidText {
  const expected = 'expected "alk_" and 4 letters or digits';
  return invalidText("TOKEN_PREFIX_INVALID", "token prefix", text, expected);
}
