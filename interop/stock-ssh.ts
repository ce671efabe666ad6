/**
 * Stock OpenSSH and what runs it, against real nodes: found by peers' names as `alknet ssh-config` sets that up, with no
 * keys, no known hosts, and nobody to ask.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { freePort } from "@alknet/core/testing-port";
import { follow, type Ended, type Program } from "./program.ts";
import { CANNOT_MAKE_ACCOUNTS, makeAccount } from "./system-account.ts";

const ALKNET = fileURLToPath(new URL("../alknet", import.meta.url));

/** A node that runs. Disposing stops it; its folder stays. */
export interface StockNode extends AsyncDisposable {
  /** Its `ALKNET_HOME`. */
  readonly folder: string;
  /** Where it is dialed, and where it serves SSH as such. */
  readonly address: string;
  readonly sshPort: number;
  /** Run `alknet WORDS` for it. */
  alknet(...words: string[]): Promise<Ended>;
  /** Wait for a line in its log. */
  logged(pattern: RegExp): Promise<unknown>;
  /** Stop it, and start it anew. */
  restart(): Promise<void>;
}

export interface StockSsh extends AsyncDisposable {
  /** Called `Den` by the client, who is its peer `laptop`. */
  readonly node: StockNode;
  /** Login name that the client has there, and the folder where its commands begin. */
  readonly login: string;
  readonly loginFolder: string;
  /** Of the client. */
  at(name: string): string;
  /** `-F` and the file that `alknet ssh-config --install` has made. */
  readonly config: readonly string[];
  /** Run a command of this machine as the client, with no terminal to ask at. */
  run(command: string, ...words: string[]): Program;
  /** Run `ssh` with these words, as the client. */
  ssh(...words: string[]): Program;
  /** Run `alknet WORDS` as the client. */
  alknet(...words: string[]): Promise<Ended>;
}

/** @param scopes of the client. */
export async function startStockSsh(
  scopes: readonly string[],
  keys: readonly string[] = [],
): Promise<StockSsh> {
  const folder = mkdtempSync(join(tmpdir(), "alk-stock-"));
  await using started = new AsyncDisposableStack();
  started.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [client, home] = [join(folder, "client"), join(folder, "home")];
  for (const each of [client, home]) mkdirSync(each, { mode: 0o700 });
  const account = CANNOT_MAKE_ACCOUNTS === false ? started.use(makeAccount()) : undefined;
  const own = userInfo();
  const login = account?.name ?? own.username;
  const identity = loadOrCreateIdentity(join(client, "identity.key")).fingerprint;
  const running = started.use(new Running(home));
  const node = started.use(
    await startNode(running, join(folder, "den"), [
      "[peers.laptop]",
      `fingerprints = ${JSON.stringify([identity, ...keys])}`,
      `scopes = ${JSON.stringify(scopes)}`,
      `user = ${JSON.stringify(login)}`,
    ]),
  );
  const { fingerprint } = loadOrCreateIdentity(join(node.folder, "identity.key"));
  writeFileSync(
    join(client, "alknet.toml"),
    `[peers.Den]\nfingerprint = "${fingerprint}"\naddresses = ["${node.address}"]\n`,
  );
  const at = (name: string): string => join(client, name);
  const config = ["-F", at("user-config")];
  const alknet = (...words: string[]) => running.start(client, ALKNET, words).ended;
  const installed = await alknet("ssh-config", "--install", "--file", at("user-config"));
  if (installed.status !== 0) throw new Error(installed.stderr);
  const ends = started.move();
  return {
    node,
    login,
    loginFolder: account?.home ?? own.homedir,
    at,
    config,
    run: (command, ...words) => running.start(client, command, words),
    ssh: (...words) => running.start(client, "ssh", [...config, "-l", login, ...words]),
    alknet,
    [Symbol.asyncDispose]: () => ends.disposeAsync(),
  };
}

/** Programs of one test; disposing stops those that run still. */
class Running implements AsyncDisposable {
  readonly #programs = new Set<Program>();
  readonly #home: string;

  /** @param home for all of them, and empty. */
  constructor(home: string) {
    this.#home = home;
  }

  start(folder: string, command: string, words: readonly string[]): Program {
    const { PATH, LANG, ALKNET_QUIC_ADDON } = process.env;
    const env = { PATH, LANG, ALKNET_QUIC_ADDON, HOME: this.#home, ALKNET_HOME: folder };
    // A session of its own: who wanted to ask something would find no terminal.
    const child: ChildProcess = spawn(command, words, {
      ...{ cwd: folder, env, detached: true },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const program = follow(child, [command, ...words].join(" "));
    this.#programs.add(program);
    void program.ended.then(() => this.#programs.delete(program));
    return program;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs].map((program) => program.stop()));
  }
}

async function startNode(
  running: Running,
  folder: string,
  peers: readonly string[],
): Promise<StockNode> {
  mkdirSync(folder, { mode: 0o700 });
  const address = `127.0.0.1:${await freePort()}`;
  const sshPort = await freePort();
  const lines = [`listen = "${address}"`, `ssh.listen = "127.0.0.1:${sshPort}"`, ...peers, ""];
  writeFileSync(join(folder, "alknet.toml"), lines.join("\n"));
  let program = running.start(folder, ALKNET, ["up", "--json"]);
  await program.waitFor(/"msg":"ready"/);
  return {
    folder,
    address,
    sshPort,
    alknet: (...words) => running.start(folder, ALKNET, words).ended,
    logged: (pattern) => program.waitFor(pattern),
    async restart() {
      await program.stop();
      program = running.start(folder, ALKNET, ["up", "--json"]);
      await program.waitFor(/"msg":"ready"/);
    },
    async [Symbol.asyncDispose]() {
      await program.stop();
    },
  };
}

/** The host keys that `ssh` is told of. */
export function pinned({ at }: Pick<StockSsh, "at">): string[] {
  return readFileSync(at("ssh_known_hosts"), "utf8").trimEnd().split("\n");
}
