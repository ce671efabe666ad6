/**
 * What a peer or a token may do; `[roles]`, names for lists of it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { MAX_PER_PEER } from "../peers.ts";
import { parseScope } from "../scope.ts";
import { NO_ROLES, parseScopeEntry, type Roles } from "../scope-entry.ts";
import { listOf, named, oneOrMore, text } from "./forms.ts";
import { NAME_PATTERN, parseRoleName } from "./names.ts";
import { type ConfigPart, part } from "./part.ts";

export const scopes: z.ZodMiniUnion<readonly [z.ZodMiniString, z.ZodMiniArray<z.ZodMiniString>]> =
  oneOrMore(
    text(
      { description: "A scope or `@role`, for ever or `until` a time in UTC." },
      parseScopeEntry,
    ),
    {
      description:
        "What it may do: scopes (`service:action[:resource]`) and roles (`@NAME`), each for ever or with ` until 2026-12-31T18:00:00Z` after it. Without any it is known, and may do nothing.",
      examples: [["tunnel:dial:localhost:5432", "@developer until 2026-12-31T18:00:00Z"]],
    },
    MAX_PER_PEER,
  );

const ROLE_EXAMPLES = [["tunnel:dial:db.internal:5432", "git:read"]];

export const roles: ConfigPart<Roles> = part(
  named(
    "Names for lists of scopes: `NAME = [scopes]`. A peer or token has them by `@NAME`.",
    { pattern: NAME_PATTERN, parse: parseRoleName },
    oneOrMore(
      text({ description: "A scope." }, parseScope),
      {
        description: "Scopes of the role; no roles, and for ever.",
        examples: ROLE_EXAMPLES,
      },
      MAX_PER_PEER,
    ),
  ),
  (roles) => {
    const lists = Object.entries(roles).map(([role, scopes]) => [role, listOf(scopes)] as const);
    return lists.length === 0 ? NO_ROLES : new Map(lists);
  },
);
