/**
 * What this node's identity is, and where it comes from: the file that `identity` of the configuration names, else the
 * vault if there is one, else `identity.key`.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import {
  type Fingerprint,
  fingerprintOfPublicKey,
  parseFingerprint,
} from "@alknet/core/fingerprint";
import type { Home } from "@alknet/core/home";
import { loadOrCreateIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { IDENTITY_PATH } from "@alknet/vault/derivation-path";
import type { Context } from "./context.ts";
import { askNode } from "./control.ts";
import { hasVault } from "./has-vault.ts";

/** Where the identity comes from: a file with the key, or the vault's file. */
export type IdentitySource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "vault"; readonly path: string };

export function identitySource(
  home: Pick<Home, "identity" | "vault">,
  { identity }: Pick<Config, "identity">,
): IdentitySource {
  if (identity !== undefined) return { kind: "file", path: identity };
  if (hasVault(home)) return { kind: "vault", path: home.vault };
  return { kind: "file", path: home.identity };
}

/**
 * This node's identity, with its private key. One in a file is made if there is none.
 *
 * @throws {IdentityError}
 * @throws as `openVault`: `VAULT_LOCKED` (exit code 5) if it is the vault's, and nothing opens that.
 */
export async function nodeIdentity(context: Context, config: Config): Promise<NodeIdentity> {
  const source = identitySource(context.home, config);
  if (source.kind === "file") return loadOrCreateIdentity(source.path);
  const { openVault } = await import("./open-vault.ts");
  const { vaultKeys } = await import("./vault-keys.ts");
  using opened = await openVault(context, config);
  return (await vaultKeys(opened.vault)).identity;
}

/**
 * The fingerprint of {@linkcode nodeIdentity}.
 *
 * @throws as {@linkcode nodeIdentity}
 */
export async function nodeFingerprint(context: Context, config: Config): Promise<Fingerprint> {
  const source = identitySource(context.home, config);
  if (source.kind === "file") return loadOrCreateIdentity(source.path).fingerprint;
  const known = await knownFingerprint(context.home, config);
  if (known !== undefined) return known;
  const { openVault } = await import("./open-vault.ts");
  using opened = await openVault(context, config);
  return fingerprintOfPublicKey(await opened.vault.publicKey(IDENTITY_PATH));
}

/**
 * The fingerprint of {@linkcode nodeIdentity}, if that is there and nobody has to be asked; nothing is made.
 *
 * @throws {IdentityError}
 */
export async function knownFingerprint(
  home: Home,
  config: Pick<Config, "identity">,
): Promise<Fingerprint | undefined> {
  const source = identitySource(home, config);
  if (source.kind === "file") {
    return existsSync(source.path) ? loadOrCreateIdentity(source.path).fingerprint : undefined;
  }
  const { runningVault } = await import("./running-vault.ts");
  const vault = await runningVault({ home });
  if (vault !== undefined && (await vault.status()).unlocked) {
    return fingerprintOfPublicKey(await vault.publicKey(IDENTITY_PATH));
  }
  // A node goes on when its vault locks.
  const node = await askNode(home, (it) => it.status()).catch(() => undefined);
  return node === undefined ? undefined : parseFingerprint(node.fingerprint);
}
