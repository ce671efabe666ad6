/**
 * `alknet vault rotate`: seal all credentials under a new key of the vault, in one transaction.
 *
 * @module
 */

import { MAX_KEY_VERSION } from "@alknet/vault/encrypted-data";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { tellEffect } from "../effect.ts";
import { Interrupted } from "../interrupted.ts";
import { withStore } from "../open-store.ts";
import { openVault, requireVault } from "../open-vault.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { credentialProblems, newestVersion, resealCredential } from "../sealed-credential.ts";
import { say } from "../terminal.ts";

export interface VaultRotateOptions extends PassphraseFlags {
  readonly json: boolean;
  /** Version to come to; what has it, or a higher one, is left as it is. @default one above the newest in the store */
  readonly to?: number | undefined;
}

/**
 * Interrupted or killed, all credentials are as before, or all are new. With `to`, doing it again does no harm.
 *
 * @throws {CommandError} `KEY_VERSION_INVALID`; as the vault if one of them does not open: nothing is changed then.
 */
export async function vaultRotate(
  context: Context,
  { json, to, passphraseStdin }: VaultRotateOptions,
): Promise<void> {
  const { terminal, interrupted } = context;
  requireVault(context);
  await withStore(context, "change", async ({ store, config }) => {
    const { credentials } = store;
    const newest = newestVersion(credentials);
    const version = to ?? newest + 1;
    if (version < newest || version > MAX_KEY_VERSION) {
      throw new CommandError(
        `cannot go to key version ${version}: expected ${newest} to ${MAX_KEY_VERSION}`,
        {
          code: "KEY_VERSION_INVALID",
          hint: `the next is ${newest + 1}: alknet vault rotate`,
          exitCode: ExitCode.USAGE,
        },
      );
    }
    using opened = await openVault(context, config, { passphraseStdin });
    const old = credentials.list().filter(({ value }) => value.key_version < version);
    const progress = progressOf(context, old.length);
    const resealed = await credentials
      .reseal(version, async (provider, value) => {
        if (interrupted.aborted) throw new Interrupted();
        const after = await resealCredential(opened.vault, provider, value, version);
        progress.step();
        return after;
      })
      .finally(progress.end);
    const { providers } = resealed;
    const problems = credentialProblems(store);
    if (!json) {
      for (const { subject, message } of problems) {
        say(terminal, `note: ${subject} is left as it is: ${message}`);
      }
      const count = `${providers.length} ${providers.length === 1 ? "credential" : "credentials"}`;
      say(terminal, `${count} sealed anew, under key version ${version}`);
    }
    const document = { key_version: version, providers, problems };
    await tellEffect(context, resealed, { json, document, ends: false });
  });
}

/** How far it is, on a line that is written over, if a person looks on. */
function progressOf({ terminal: { words } }: Context, total: number) {
  let done = 0;
  let shown = false;
  return {
    step(): void {
      done++;
      if (!words.isTerminal) return;
      shown = true;
      words.write(`\rsealing anew: ${done} of ${total}`);
    },
    end: (): void => {
      if (shown) words.write("\r\x1b[K");
    },
  };
}
