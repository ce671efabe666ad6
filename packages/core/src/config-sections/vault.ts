/**
 * `[vault]`: when the vault locks itself, and what opens it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ConfigVault, DEFAULT_LOCK_AFTER, DEFAULT_VAULT } from "../config.ts";
import { formatDuration } from "../duration.ts";
import { LOCK_AFTER_PATTERN, LOCK_AFTER_RANGE, parseLockAfter } from "../lock-after.ts";
import { file, flag, parses, section, sentence } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const vault: ConfigPart<ConfigVault> = part(
  section("The vault, if there is one: when it locks, and what opens it.", {
    lock_after: z
      ._default(
        z.string().check(parses(parseLockAfter), z.meta({ pattern: LOCK_AFTER_PATTERN })),
        formatDuration(DEFAULT_LOCK_AFTER),
      )
      .check(
        z.meta({
          description: `Time without use after which the vault locks itself. ${sentence(LOCK_AFTER_RANGE)}`,
        }),
      ),
    keyring: flag(
      "`true`: a key in the system's keyring opens the vault: `alknet vault unlock-key add --keyring`.",
      DEFAULT_VAULT.keyring,
    ),
    key_file: file(
      "File with a key that opens the vault, from this file's folder on if it does not begin with `/`: `alknet vault unlock-key add --file FILE` makes it.",
      "/etc/alknet/vault.key",
    ),
  }).check(({ value, issues }) => {
    if (!value.keyring || value.key_file === undefined) return;
    const message = "cannot use key_file beside keyring: expected one of them";
    issues.push({ code: "custom", message, input: value, path: ["key_file"] });
  }),
  (vault, fileAt) =>
    Object.freeze({
      lockAfter: parseLockAfter(vault.lock_after),
      keyring: vault.keyring,
      keyFile: fileAt(vault.key_file),
    }),
);
