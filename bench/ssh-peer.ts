/**
 * The peer of the tunnel benches: a real OpenSSH server, and `ssh -L` through it.
 *
 * Configuration, keys and known hosts are made for the run, in a folder that goes with it; nothing of
 * the user's or the machine's own is read.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "./free-port.ts";
import { killAtExit, type Spawn } from "./worker.ts";

/** A port forwarded by `ssh -L`. */
export interface Forwarded extends AsyncDisposable {
  /** Where the client connects, e.g. `127.0.0.1:40001`. */
  readonly address: string;
  readonly sshd: ChildProcess;
  readonly ssh: ChildProcess;
}

export interface ForwardOptions {
  /** `host:port` as the server reaches it. */
  target: string;
  /** @default OpenSSH's own choice, chacha20-poly1305@openssh.com in 9.2 */
  cipher?: string | undefined;
  /** Where the server listens, and where the client's programs run. @default 127.0.0.1 and here */
  serverAddress?: string | undefined;
  spawnServer?: Spawn | undefined;
  spawnClient?: Spawn | undefined;
}

/** Start a server and a client that forwards a port through it. */
export async function sshForward(options: ForwardOptions): Promise<Forwarded> {
  const sshd = findSshd();
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
  const hostKey = makeKey(folder, "host");
  const userKey = makeKey(folder, "user");
  const { serverAddress = "127.0.0.1", spawnServer = spawn, spawnClient = spawn } = options;
  const port = await freePort();
  const forwardedPort = await freePort();
  const user = userInfo().username;

  const config = join(folder, "sshd_config");
  writeFileSync(
    config,
    [
      `ListenAddress ${serverAddress}:${port}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${userKey}.pub`,
      "AuthenticationMethods publickey",
      "PidFile none",
      // The folder is in a temporary folder, which is open to others.
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin yes",
      "AllowTcpForwarding yes",
      "",
    ].join("\n"),
  );
  const known = join(folder, "known_hosts");
  const hostPublic = readFileSync(`${hostKey}.pub`, "utf8");
  writeFileSync(known, `[${serverAddress}]:${port} ${hostPublic}`);

  const server = spawnServer(sshd, ["-D", "-e", "-f", config], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  const words = [
    ...["-F", "none", "-N", "-v", "-i", userKey, "-p", String(port)],
    ...set("UserKnownHostsFile", known),
    ...set("GlobalKnownHostsFile", "none"),
    ...set("StrictHostKeyChecking", "yes"),
    ...set("IdentitiesOnly", "yes"),
    ...set("IdentityAgent", "none"),
    ...set("ControlPath", "none"),
    ...set("ExitOnForwardFailure", "yes"),
    ...(options.cipher === undefined ? [] : ["-c", options.cipher]),
    ...["-L", `127.0.0.1:${forwardedPort}:${options.target}`, `${user}@${serverAddress}`],
  ];
  let client: ChildProcess | undefined;
  const close = async (): Promise<void> => {
    await ended(client);
    await ended(server);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    killAtExit(server);
    await said(server, "Server listening on", "sshd");
    client = spawnClient("ssh", words, { stdio: ["ignore", "ignore", "pipe"] });
    killAtExit(client);
    await said(client, "Entering interactive session", "ssh");
  } catch (error) {
    await close();
    throw error;
  }
  return {
    address: `127.0.0.1:${forwardedPort}`,
    sshd: server,
    ssh: client,
    [Symbol.asyncDispose]: close,
  };
}

/** For the result, e.g. `ssh -L, OpenSSH 9.2p1`. */
export function sshPeerName(cipher = "default cipher"): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  const version = /OpenSSH_([0-9a-z.]+)/.exec(stderr ?? "")?.[1] ?? "?";
  return `ssh -L, OpenSSH ${version}, ${cipher}`;
}

function findSshd(): string {
  // It insists on its own full path, and is seldom in a user's PATH.
  const path = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].find(existsSync);
  if (path === undefined) {
    throw new Error("cannot find sshd: install it (Debian: openssh-server)");
  }
  // What a package's start script would make: sshd will not run as root without it.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  return path;
}

function makeKey(folder: string, name: string): string {
  const path = join(folder, name);
  const words = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path];
  const { status, stderr, error } = spawnSync("ssh-keygen", words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`cannot make a key: ${error?.message ?? stderr}`);
  return path;
}

/** Wait until a program has written `text` to stderr, and go on reading, so that it never blocks on it. */
function said(child: ChildProcess, text: string, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (child.stderr === null) throw new TypeError("expected a pipe");
    const last: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      last.push(line);
      if (last.length > 20) last.shift();
      if (line.includes(text)) resolve();
    });
    child.once("error", reject);
    child.once("close", (status, signal) => {
      reject(new Error(`${name} ended with ${status ?? signal}:\n${last.join("\n")}`));
    });
  });
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.kill();
  });
}
