/**
 * `alknet token`: bearer tokens for programs that hold no key. Shown once; only a hash is kept.
 *
 * @module
 */

import { createToken, hashToken, tokenPrefix } from "@alknet/core/api-key";
import { whyPowerful } from "@alknet/core/powerful-scopes";
import { parseScopeEntry } from "@alknet/core/scope-entry";
import { parseMoment } from "@alknet/core/time-span";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { tellEffect } from "../effect.ts";
import { withStore } from "../open-store.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

export interface CreateTokenOptions extends Json {
  readonly grant: readonly string[];
  readonly expires?: string | undefined;
  readonly description?: string | undefined;
}

export async function createTokenCommand(
  context: Context,
  { grant, expires, description, json }: CreateTokenOptions,
): Promise<void> {
  const { terminal } = context;
  for (const scope of grant) parseScopeEntry(scope);
  const end = expires === undefined ? undefined : parseMoment(expires, Date.now());
  const expiresAt = end === undefined ? undefined : Math.floor(end / 1_000);
  await withStore(context, "create", async ({ store, config }) => {
    // 20 bits of prefix name it: with many tokens there will be one that is taken.
    let token = createToken();
    while (store.apiKey(tokenPrefix(token)) !== undefined) token = createToken();
    const prefix = tokenPrefix(token);
    await store.putApiKey({
      prefix,
      hash: hashToken(token),
      scopes: grant,
      ...(description === undefined ? {} : { description }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
    if (json) {
      const expiry = expiresAt === undefined ? null : new Date(expiresAt * 1_000).toISOString();
      printJson(terminal, { token, prefix, scopes: grant, description, expiresAt: expiry });
      return;
    }
    terminal.data.write(`${token}\n`);
    for (const scope of grant) {
      const why = whyPowerful(scope, config.roles);
      if (why !== undefined) say(terminal, `note: ${scope} ${why}`);
    }
    if (grant.length === 0)
      say(terminal, "note: it may do nothing yet; --grant SCOPE gives it rights");
    say(
      terminal,
      `This is the only time that it is shown. Take it back: alknet token revoke ${prefix}`,
    );
  });
}

export async function listTokens(context: Context, { json }: Json): Promise<void> {
  const { terminal } = context;
  await withStore(context, "read", async ({ store }) => {
    const tokens = store.apiKeys.map(({ prefix, scopes, description, expiresAt }) => ({
      prefix,
      scopes,
      description,
      expiresAt: expiresAt === undefined ? null : new Date(expiresAt * 1_000).toISOString(),
      expired: expiresAt !== undefined && expiresAt * 1_000 <= Date.now(),
    }));
    if (json) return printJson(terminal, { tokens });
    if (tokens.length === 0) {
      say(terminal, "No tokens yet. Make one: alknet token create --grant SCOPE");
      return;
    }
    printFields(
      terminal,
      tokens.map(({ prefix, scopes, description = "", expiresAt, expired }) => {
        const end = expiresAt === null ? "" : `  ${expired ? "expired" : "until"} ${expiresAt}`;
        const rights = scopes.length === 0 ? "nothing" : scopes.join(", ");
        return [prefix, `${rights}${end}  ${printable(description)}`.trimEnd()];
      }),
    );
  });
}

export async function revokeToken(context: Context, prefix: string, { json }: Json): Promise<void> {
  await withStore(context, "change", async ({ store }) => {
    // Whoever has the token at hand may paste it whole.
    const name = tokenPrefix(prefix);
    if (store.apiKey(name) === undefined) {
      throw new CommandError(`there is no token ${JSON.stringify(printable(name))}`, {
        code: "STORE_NOT_FOUND",
        hint: "see which there are: alknet token list",
      });
    }
    const committed = await store.removeApiKey(name);
    await tellEffect(context, committed, { json, document: { prefix: name } });
  });
}
