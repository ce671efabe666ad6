/**
 * A real sshd on a port of its own, which lets in whoever has one of the authorized keys.
 *
 * Nothing of the machine's own configuration is read.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@alknet/core/testing-port";
import type { Spawn } from "../bench/worker.ts";
import { follow, type Program } from "./program.ts";

export interface SshServer extends AsyncDisposable {
  readonly port: number;
  /** `ssh-ed25519 AAAA…`, of its host key. */
  readonly hostKey: string;
  readonly program: Program;
}

export interface SshServerOptions {
  /** @default 127.0.0.1 */
  readonly address?: string | undefined;
  /** Starts programs elsewhere. @default here */
  readonly spawn?: Spawn | undefined;
}

/** @param authorized lines of `authorized_keys` */
export async function startSshServer(
  authorized: readonly string[],
  { address = "127.0.0.1", spawn: spawnThere = spawn }: SshServerOptions = {},
): Promise<SshServer> {
  const folder = mkdtempSync(join(tmpdir(), "alknet-sshd-"));
  const at = (name: string): string => join(folder, name);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at("host")]);
  writeFileSync(at("authorized_keys"), authorized.map((line) => `${line}\n`).join(""));
  const port = await freePort();
  const settings = [
    `ListenAddress ${address}:${port}`,
    `HostKey ${at("host")}`,
    // A user other than root cannot read ours.
    `AuthorizedKeysFile ${at("authorized_keys")} .ssh/authorized_keys`,
    "AuthenticationMethods publickey",
    "PidFile none",
    // The folder is in a temporary folder, which is open to others.
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "AllowAgentForwarding yes",
    // It counts those that have just ended, too.
    "MaxSessions 64",
    "LogLevel VERBOSE",
  ];
  writeFileSync(at("config"), settings.map((line) => `${line}\n`).join(""));
  // It insists on its own full path, and on this folder where it runs as root.
  if (process.getuid?.() === 0 && !existsSync("/run/sshd")) {
    execFileSync("mkdir", ["-m", "755", "-p", "/run/sshd"]);
  }
  const path = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].find(existsSync);
  if (path === undefined) throw new Error("cannot find sshd (Debian: openssh-server)");
  const child = spawnThere(path, ["-D", "-e", "-f", at("config")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const program = follow(child, "sshd");
  const close = async (): Promise<void> => {
    await program[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await program.waitFor(/Server listening on/);
  } catch (error) {
    await close();
    throw error;
  }
  const hostKey = readFileSync(at("host.pub"), "utf8").trim();
  return { port, hostKey, program, [Symbol.asyncDispose]: close };
}
