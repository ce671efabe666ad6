/**
 * The SSH host key of this node: an Ed25519 key of its own, of the vault or of a file, in OpenSSH's format.
 *
 * It is not the node's identity: what SSH signs with it must never pass for something that TLS has signed.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { Config } from "@alknet/core/config";
import type { Home } from "@alknet/core/home";
import { createPrivateFile, readPrivateFile } from "@alknet/core/private-file";
import { ed25519PublicKey } from "@alknet/vault/derived-key";
import { opensshPrivateKeyFile, sshFingerprint } from "@alknet/vault/openssh-key";
import { OpensshKeyError, readOpensshKeyFile } from "@alknet/vault/openssh-key-file";
import { wipe } from "@alknet/vault/wipe";
import { CommandError } from "./command-error.ts";
import { shellWord } from "./shell-word.ts";
import { sshFiles } from "./ssh-files.ts";

/** A host key. The private part is hidden from `JSON` and `inspect`. */
export interface HostKey {
  /** The private key as OpenSSH keeps it, unencrypted. */
  readonly file: string;
  /** `SHA256:` and base64, as `ssh` shows it. */
  readonly fingerprint: string;
}

/**
 * What this node shows to clients of SSH: the key of the file that `[ssh] host_key` names, else the vault's, else one of
 * its own, made at first.
 *
 * @returns `undefined` if SSH is not served.
 * @throws as {@linkcode loadOrCreateHostKey}
 */
export function nodeHostKey(
  home: Pick<Home, "identity">,
  { handlers, ssh }: Pick<Config, "handlers" | "ssh">,
  ofVault: HostKey | undefined,
): HostKey | undefined {
  if (!handlers.includes("ssh")) return undefined;
  if (ssh.hostKey === undefined && ofVault !== undefined) return ofVault;
  return loadOrCreateHostKey(ssh.hostKey ?? sshFiles(home).hostKey);
}

/** The host key of a seed of 32 bytes, which is wiped. */
export function hostKeyOf(seed: Uint8Array): HostKey {
  const publicKey = ed25519PublicKey(seed);
  const bytes = opensshPrivateKeyFile(seed, publicKey, "");
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  wipe(seed, bytes);
  const key = { fingerprint: sshFingerprint(publicKey) };
  return Object.freeze(Object.defineProperty(key, "file", { value, enumerable: false })) as HostKey;
}

/**
 * Read the host key at `path`, or make one there if there is no file.
 *
 * @throws {CommandError} `HOST_KEY_UNUSABLE`: it is no such key, encrypted, open to others, or the system refused.
 */
export function loadOrCreateHostKey(path: string): HostKey {
  const found = load(path);
  if (found !== undefined) return found;
  const seed = randomBytes(32);
  const file = opensshPrivateKeyFile(seed, ed25519PublicKey(seed), "");
  try {
    createPrivateFile(path, file);
  } catch (error) {
    throw unusable(path, `cannot make it: ${(error as Error).message}`, look(path), error);
  } finally {
    wipe(seed, file);
  }
  // Not what was just written: somebody may have been faster.
  const made = load(path);
  if (made !== undefined) return made;
  throw unusable(path, "it was there, and is gone again", look(path));
}

/** `undefined` if there is no file. */
function load(path: string): HostKey | undefined {
  let found: ReturnType<typeof readPrivateFile>;
  try {
    found = readPrivateFile(path);
  } catch (error) {
    throw unusable(path, `cannot read it: ${(error as Error).message}`, look(path), error);
  }
  if (found === undefined) return undefined;
  const { text, openTo } = found;
  let key: HostKey;
  try {
    key = hostKeyOf(readOpensshKeyFile(text));
  } catch (error) {
    if (!(error instanceof OpensshKeyError)) throw error;
    // Not its cause: there is a key around it.
    const isKey = text.includes("PRIVATE KEY-----");
    throw unusable(path, error.message, isKey ? HINTS[error.code](path) : NO_KEY);
  }
  // Only now: what is no key may have to be open to others.
  if (openTo === undefined) return key;
  const why = `others can read or change it (mode ${openTo}); expected 0600`;
  throw unusable(path, why, `chmod 600 ${shellWord(path)}`);
}

const NO_KEY = "restore it, or name another file: host_key in [ssh] of alknet.toml";

const HINTS: Readonly<Record<OpensshKeyError["code"], (path: string) => string>> = {
  KEY_ENCRYPTED: (path) => `take the passphrase off: ssh-keygen -p -N '' -f ${shellWord(path)}`,
  KEY_TYPE: (path) =>
    `name another file, with a key of this kind: ssh-keygen -t ed25519 -N '' -f ${shellWord(`${path}_ed25519`)}`,
  KEY_INVALID: (path) =>
    `if it is a key: ssh-keygen -p -N '' -f ${shellWord(path)}; else restore it, or move it away to get a new one`,
};

const look = (path: string): string => `look who may read it: ls -l ${shellWord(path)}`;

function unusable(path: string, why: string, hint: string, cause?: unknown): CommandError {
  const text = `cannot use SSH host key ${JSON.stringify(path)}: ${why}`;
  return new CommandError(text, { code: "HOST_KEY_UNUSABLE", hint, cause });
}
