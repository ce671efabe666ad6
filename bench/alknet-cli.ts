/**
 * Real nodes for the benches: the command line, from this checkout, with folders of their own.
 *
 * @module
 */

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Congestion, DEFAULT_QUIC } from "@alknet/core/config";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { homePaths } from "@alknet/core/home";
import { createVaultFile } from "@alknet/vault/vault-file";
import { vaultClient } from "../packages/alknet/src/vault-agent-client.ts";
import { type Spawn, startWorker, type Worker } from "./worker.ts";

/** What people call: finds the runtime, and runs the sources. */
export const ALKNET: string = fileURLToPath(new URL("../alknet", import.meta.url));

/** Two nodes that know each other: `server` may be dialed, `client` may dial the targets. */
export interface Homes extends Disposable {
  readonly server: string;
  readonly client: string;
}

/**
 * Make the folders. `address` is where the server listens and is dialed, with its port; `congestion` is that of
 * QUIC, of both.
 */
export function makeHomes(
  address: string,
  targets: readonly string[],
  congestion: Congestion = DEFAULT_QUIC.congestion,
): Homes {
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-homes-"));
  const home = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(path);
    chmodSync(path, 0o700);
    return path;
  };
  const server = home("server");
  const client = home("client");
  const fingerprint = (path: string): string =>
    loadOrCreateIdentity(join(path, "identity.key")).fingerprint;
  const quoted = (texts: readonly string[]): string =>
    texts.map((text) => JSON.stringify(text)).join(", ");
  writeFileSync(
    join(server, "alknet.toml"),
    [
      `listen = [${quoted([address])}]`,
      `quic.congestion = "${congestion}"`,
      "[peers.client]",
      `fingerprint = "${fingerprint(client)}"`,
      `scopes = [${quoted(targets.map((target) => `tunnel:dial:${target}`))}]`,
      "",
    ].join("\n"),
  );
  writeFileSync(
    join(client, "alknet.toml"),
    [
      `quic.congestion = "${congestion}"`,
      "[peers.server]",
      `fingerprint = "${fingerprint(server)}"`,
      `addresses = [${quoted([address])}]`,
      "",
    ].join("\n"),
  );
  return {
    server,
    client,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** `alknet up`, until it is ready. */
export function alknetUp(
  home: string,
  options: { spawn?: Spawn | undefined } = {},
): Promise<Worker> {
  return startWorker(ALKNET, ["up", "--json"], {
    ...options,
    env: { ALKNET_HOME: home },
    isReady: (line) => (line.startsWith("{") ? line : undefined),
  });
}

/** `alknet forward` of a free local port to `target` behind the server. Ready: the local address. */
export function alknetForward(
  home: string,
  target: string,
  options: { transport: "quic" | "tcp"; udp?: boolean | undefined; spawn?: Spawn | undefined },
): Promise<Worker> {
  const words = ["forward", "server", `127.0.0.1:0:${target}`, `--${options.transport}`, "--json"];
  if (options.udp === true) words.push("--udp");
  return startWorker(ALKNET, words, {
    spawn: options.spawn,
    env: { ALKNET_HOME: home },
    isReady(line) {
      if (!line.startsWith("{")) return undefined;
      // Its own JSON.
      const { forwards } = JSON.parse(line) as { forwards: { listen: string }[] };
      return forwards[0]?.listen;
    },
  });
}

/** `alknet socks` through the server, on a free local port. Ready: its address. */
export function alknetSocks(home: string, options: { transport: "quic" | "tcp" }): Promise<Worker> {
  const words = ["socks", "server", "--listen", "127.0.0.1:0", `--${options.transport}`, "--json"];
  return startWorker(ALKNET, words, {
    env: { ALKNET_HOME: home },
    // Its own JSON.
    isReady: (line) => (JSON.parse(line) as { listen?: string }).listen,
  });
}

/** `alknet vault agent` of a vault that is made in `folder`, unlocked. Ready is its socket for SSH. */
export async function vaultAgent(folder: string): Promise<Worker> {
  const home = homePaths({
    env: { ALKNET_HOME: folder },
    platform: process.platform,
    userHome: folder,
    temporary: folder,
    uid: process.getuid?.(),
  });
  const secrets = { entropy: new Uint8Array(32), seed: new Uint8Array(64).fill(1) };
  const names = [{ kind: "ssh", name: "default", confirm: false }] as const;
  using file = await createVaultFile(
    home.vault,
    { ...secrets, passphraseUsed: false, names },
    Buffer.from("bench"),
  );
  const agent = await startWorker(ALKNET, ["vault", "agent", "--json"], {
    env: { ALKNET_HOME: folder },
    isReady: (line) => (JSON.parse(line) as { sshAgentSocket: string }).sshAgentSocket,
  });
  await vaultClient(home).unlock({ unlockKey: await file.addUnlockKey("bench") });
  return agent;
}
