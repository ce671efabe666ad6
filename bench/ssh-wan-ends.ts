/**
 * Two machines far from each other with a node and OpenSSH's server at the far end, both of which let one login in
 * for the same account.
 *
 * @module
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSshServer } from "../interop/ssh-server.ts";
import { makeAccount } from "../interop/system-account.ts";
import { ALKNET, alknetUp, makeHomes } from "./alknet-cli.ts";
import { openWan, type Wan, type WanOptions } from "./wan.ts";

const PORT = 7433;

export interface SshWan extends AsyncDisposable {
  readonly wan: Wan;
  /** Of the account, which both servers put people into. */
  readonly home: string;
  /** `alknet ssh` to the node over QUIC, from the near end; what to run follows. */
  readonly alknet: readonly string[];
  /** Stock `ssh` to sshd, likewise. */
  readonly ssh: readonly string[];
  /** Stock `ssh` to the node by `alknet proxy` over QUIC, likewise. */
  readonly proxied: readonly string[];
}

export interface SshWanOptions extends WanOptions {
  congestion: "bbr" | "cubic";
}

/** Lay the line and start both servers. Congestion control is the same for QUIC and for TCP. */
export async function openSshWan(options: SshWanOptions): Promise<SshWan> {
  await using made = new AsyncDisposableStack();
  const account = made.use(makeAccount());
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  const key = join(folder, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
  const wan = made.use(await openWan(options));
  const { farAddress, spawnFar } = wan;

  mkdirSync(join(account.home, ".ssh"));
  copyFileSync(`${key}.pub`, join(account.home, ".ssh/authorized_keys"));
  // sshd lets nobody in whose account is locked.
  execFileSync("usermod", ["--password", "*", account.name]);
  const sshd = made.use(await startSshServer([], { address: farAddress, spawn: spawnFar }));
  const known = join(folder, "known");
  writeFileSync(known, `[${farAddress}]:${sshd.port} ${sshd.hostKey}\n`);

  const homes = made.use(makeHomes(`${farAddress}:${PORT}`, [], options.congestion));
  const config = join(homes.server, "alknet.toml");
  const rights = 'scopes = ["ssh:shell", "ssh:exec"]';
  writeFileSync(config, readFileSync(config, "utf8").replace("scopes = []", rights));
  appendFileSync(config, `user = "${account.name}"\n`);
  made.use(await alknetUp(homes.server, { spawn: spawnFar }));

  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  const ssh = [
    ...["ssh", "-F", "none", "-p", String(sshd.port), "-i", key],
    ...set("UserKnownHostsFile", known),
    ...set("GlobalKnownHostsFile", "none"),
    ...set("IdentitiesOnly", "yes"),
    ...set("IdentityAgent", "none"),
    ...[`${account.name}@${farAddress}`],
  ];
  const home = `ALKNET_HOME=${homes.client}`;
  const alknet = ["env", home, ALKNET, "ssh", "--quic", "server"];
  const sshConfig = join(folder, "ssh_config");
  writeFileSync(sshConfig, execFileSync("env", [home, ALKNET, "ssh-config"]));
  const proxy = set("ProxyCommand", `${ALKNET} proxy --quic %h`);
  const proxied = ["env", home, "ssh", "-F", sshConfig, ...proxy, "server.alk"];
  const owned = made.move();
  return {
    ...{ wan, home: account.home, alknet, ssh, proxied },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** For the result, e.g. `ssh, OpenSSH 9.2p1`. */
export function opensshName(): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  return `ssh, OpenSSH ${/OpenSSH_([0-9a-z.]+)/.exec(stderr)?.[1] ?? "?"}`;
}
