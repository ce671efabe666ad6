/**
 * A real node with a port of SSH's own (`[ssh] listen`), for clients that know nothing of Alknet: they log in by a key that
 * is a peer's, and are told beforehand which host key there is.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { type StockSsh, startStockSsh } from "./stock-ssh.ts";

export interface SshPort extends StockSsh {
  /** Of 127.0.0.1. */
  readonly port: number;
  /** A private key in OpenSSH's format that logs in; the public one is beside it, in `.pub`. */
  readonly key: string;
  /** As `ssh` writes it: `SHA256:…`. */
  readonly hostKey: string;
  /** A `known_hosts` that has the host key, and nothing else. */
  readonly knownHosts: string;
}

/**
 * @param scopes of the client.
 * @param others makes further keys of the client in a folder, and tells the public ones, each a line of OpenSSH's.
 */
export async function startSshPort(
  scopes: readonly string[],
  others: (folder: string) => readonly string[] = () => [],
): Promise<SshPort> {
  await using started = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "alk-port-"));
  started.defer(() => rmSync(folder, { recursive: true, force: true }));
  const keygen = (...words: string[]): string =>
    execFileSync("ssh-keygen", words, { encoding: "utf8" }).trim();
  const key = join(folder, "key");
  keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key);
  const keys = [keygen("-y", "-f", key), ...others(folder)];
  const it = started.use(
    await startStockSsh(
      scopes,
      keys.map((line) => parseSshPublicKey(line).fingerprint),
    ),
  );
  const host = keygen("-y", "-f", join(it.node.folder, "ssh_host_ed25519_key"));
  const knownHosts = join(folder, "known_hosts");
  writeFileSync(knownHosts, `[127.0.0.1]:${it.node.sshPort} ${host}\n`);
  const [, hostKey = ""] = keygen("-l", "-f", knownHosts).split(" ");
  const ends = started.move();
  return {
    ...it,
    port: it.node.sshPort,
    key,
    hostKey,
    knownHosts,
    [Symbol.asyncDispose]: () => ends.disposeAsync(),
  };
}
