/**
 * Ports that stock `ssh` forwards: by `-L` or `-D`, through OpenSSH's server or ours.
 *
 * Configuration, keys and known hosts are made for the run, in a folder that goes with it; nothing of
 * the user's or the machine's own is read.
 *
 * @module
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startSshServer } from "../interop/ssh-server.ts";
import { freePort } from "@alknet/core/testing-port";
import { killAtExit, type Spawn, startNode, type Worker } from "./worker.ts";

const OUR_SERVER = new URL("ssh-worker.ts", import.meta.url);

/** A port forwarded by `ssh`. */
export interface Forwarded extends AsyncDisposable {
  /** Where the client connects, e.g. `127.0.0.1:40001`. */
  readonly address: string;
  /** The server, and the client. */
  readonly pids: readonly number[];
}

export interface ForwardOptions {
  /** `host:port` as the server reaches it, or `socks`: where each client asks for. */
  target: string;
  /** @default OpenSSH's own choice, chacha20-poly1305@openssh.com in 9.2 */
  cipher?: string | undefined;
  /** @default {@linkcode opensshServer} */
  startServer?: StartServer | undefined;
  /** Where the server listens, and where the client's programs run. @default 127.0.0.1 and here */
  serverAddress?: string | undefined;
  spawnServer?: Spawn | undefined;
  spawnClient?: Spawn | undefined;
}

/** A server, for one key. */
export type StartServer = (options: ServerOptions) => Promise<SshServer>;

export interface ServerOptions {
  /** Whom it lets in: the path of a public key. */
  readonly userKey: string;
  readonly address: string;
  readonly spawn: Spawn;
}

export interface SshServer extends AsyncDisposable {
  readonly port: number;
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
  readonly pid: number;
}

export const opensshServer: StartServer = async ({ userKey, ...options }) => {
  const server = await startSshServer([readFileSync(userKey, "utf8").trim()], options);
  const { port, hostKey, program } = server;
  const close = (): PromiseLike<void> => server[Symbol.asyncDispose]();
  return { port, hostKey, pid: program.pid, [Symbol.asyncDispose]: close };
};

/** Ours, and the worker that it is. */
export async function ourServer({
  userKey,
  address,
  spawn: spawnThere,
}: ServerOptions): Promise<SshServer & { readonly worker: Worker }> {
  const hostKeyFile = makeKey(join(userKey, ".."), "our-host");
  const worker = await startNode(OUR_SERVER, [hostKeyFile, userKey, address], {
    spawn: spawnThere,
  });
  return {
    port: Number(worker.ready),
    hostKey: readFileSync(`${hostKeyFile}.pub`, "utf8").trim(),
    pid: worker.pid,
    worker,
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

/** Start a server and a client that forwards a port through it. */
export async function sshForward(options: ForwardOptions): Promise<Forwarded> {
  const { serverAddress = "127.0.0.1", target, cipher } = options;
  const { startServer = opensshServer, spawnServer = spawn, spawnClient = spawn } = options;
  await using made = new AsyncDisposableStack();
  const login = made.use(makeLogin());
  const asked = { userKey: `${login.key}.pub`, address: serverAddress, spawn: spawnServer };
  const server = made.use(await startServer(asked));
  login.know(serverAddress, server);
  const address = `127.0.0.1:${await freePort()}`;
  const words = [
    ...login.words(server.port, cipher),
    ...["-N", "-v", "-o", "ExitOnForwardFailure=yes"],
    ...(target === "socks" ? ["-D", address] : ["-L", `${address}:${target}`]),
    `${userInfo().username}@${serverAddress}`,
  ];
  const client = spawnClient("ssh", words, { stdio: ["ignore", "ignore", "pipe"] });
  killAtExit(client);
  made.defer(() => ended(client));
  await said(client, "Entering interactive session", "ssh");
  const owned = made.move();
  return {
    address,
    pids: [server.pid, client.pid ?? -1],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A user's key and known hosts, in a folder of their own. */
export interface Login extends Disposable {
  /** The path of the private key. */
  readonly key: string;
  know(address: string, server: { readonly port: number; readonly hostKey: string }): void;
  /** What `ssh` is told to use these and nothing else. */
  words(port: number, cipher?: string): string[];
}

export function makeLogin(): Login {
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
  const key = makeKey(folder, "user");
  const known = join(folder, "known_hosts");
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  return {
    key,
    know: (address, { port, hostKey }) =>
      writeFileSync(known, `[${address}]:${port} ${hostKey}\n`, { flag: "a" }),
    words: (port, cipher) => [
      ...["-F", "none", "-i", key, "-p", String(port)],
      ...set("UserKnownHostsFile", known),
      ...set("GlobalKnownHostsFile", "none"),
      ...set("StrictHostKeyChecking", "yes"),
      ...set("IdentitiesOnly", "yes"),
      ...set("IdentityAgent", "none"),
      ...set("ControlPath", "none"),
      ...(cipher === undefined ? [] : ["-c", cipher]),
    ],
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** For the result, e.g. `ssh -L, OpenSSH 9.2p1`. */
export function sshPeerName(cipher = "default cipher", what = "ssh -L"): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  const version = /OpenSSH_([0-9a-z.]+)/.exec(stderr ?? "")?.[1] ?? "?";
  return `${what}, OpenSSH ${version}, ${cipher}`;
}

/** The path of a new private key, without a passphrase. */
function makeKey(folder: string, name: string): string {
  const path = join(folder, name);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path]);
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
