/**
 * `[[api_keys]]`: tokens that are identities by themselves.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ApiKeyEntry, parseTokenHash, parseTokenPrefix } from "../api-key.ts";
import { listOf, table, text } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";
import { scopes } from "./scopes.ts";

export const HASH_PATTERN = "^sha256:[0-9a-f]{64}$";

/** RFC 3339 in UTC or with an offset; or TOML's own date-time with one. */
const moment = z
  .custom<string | Date>(
    (value) => isMoment(value),
    "expected a time with its zone: 2026-12-31T18:00:00Z",
  )
  .check(
    z.meta({
      description: "From when on it is no good, with its zone. Without it: never.",
      type: "string",
      format: "date-time",
      examples: ["2026-12-31T18:00:00Z"],
    }),
  );

const apiKey = table("A token that is an identity by itself, for programs that hold no key.", {
  prefix: text(
    {
      description: "First 8 characters of the token; they name the key, and are no secret.",
      pattern: "^alk_[A-Za-z0-9_-]{4}$",
    },
    parseTokenPrefix,
  ),
  hash: text(
    { description: "`sha256:` and the SHA-256 of the whole token in hex.", pattern: HASH_PATTERN },
    parseTokenHash,
  ),
  scopes: z.optional(scopes),
  description: z.optional(
    z.string().check(z.maxLength(256), z.meta({ description: "What it is for." })),
  ),
  expires_at: z.optional(moment),
});

export const apiKeys: ConfigPart<readonly ApiKeyEntry[]> = part(
  z
    .prefault(z.array(apiKey).check(z.maxLength(100_000)), [])
    .check(z.meta({ description: "Tokens for programs: a table `[[api_keys]]` each." })),
  (keys): readonly ApiKeyEntry[] => keys.map(toApiKey),
);

function toApiKey(table: z.output<typeof apiKey>): ApiKeyEntry {
  const { prefix, hash, scopes = [], description, expires_at: end } = table;
  return {
    prefix,
    hash,
    scopes: listOf(scopes),
    ...(description === undefined ? {} : { description }),
    ...(end === undefined ? {} : { expiresAt: momentOf(end) }),
  };
}

function isMoment(value: unknown): boolean {
  return momentOf(value as string | Date) !== undefined;
}

/** Seconds since 1970 of what `expires_at` accepts; `undefined` for all else. */
function momentOf(value: string | Date): number | undefined {
  // What TOML calls local has no zone, and prints none.
  const written = value instanceof Date ? isoOf(value) : value;
  if (typeof written !== "string") return undefined;
  const shape =
    /^[0-9]{4}-[0-9]{2}-([0-9]{2})[Tt ][0-9:]{8}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$/;
  const day = shape.exec(written)?.[1];
  if (day === undefined) return undefined;
  const time = Date.parse(written.replace(" ", "T").toUpperCase());
  // 2026-02-30 would be a day in March.
  const midnight = Date.parse(`${written.slice(0, 10)}T00:00:00Z`);
  if (!(time >= 0) || new Date(midnight).getUTCDate() !== Number(day)) return undefined;
  return Math.floor(time / 1_000);
}

function isoOf(date: Date): string | undefined {
  try {
    return date.toISOString();
  } catch {
    // A date that is none.
    return undefined;
  }
}
