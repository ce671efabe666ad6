/**
 * Servers, and for each how two sessions with it are begun: one that is bulk, and one on a terminal that is typed in.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { freePort } from "@alknet/core/testing-port";
import { CANNOT_MAKE_ACCOUNTS, makeAccount } from "../interop/system-account.ts";
import { ALKNET, alknetUp, type Homes, makeHomes } from "./alknet-cli.ts";
import { makeLogin, opensshServer, ourServer } from "./ssh-peer.ts";

const ADDRESS = "127.0.0.1";

/** Words that a command for the far end is added to. */
export interface Way {
  readonly bulk: readonly string[];
  readonly typing: readonly string[];
}

export interface EchoWays extends AsyncDisposable {
  /** Stock `ssh`, both sessions on one connection; and each on its own. */
  readonly ours: Way;
  readonly "ours-beside": Way;
  readonly sshd: Way;
  readonly "sshd-beside": Way;
  /** `alknet ssh` over QUIC, twice. */
  readonly quic: Way;
}

export async function startEchoWays(): Promise<EchoWays> {
  await using made = new AsyncDisposableStack();
  const login = made.use(makeLogin());
  const asked = { userKey: `${login.key}.pub`, address: ADDRESS, spawn };
  const servers = {
    ours: made.use(await ourServer(asked)),
    sshd: made.use(await opensshServer(asked)),
  };
  for (const server of Object.values(servers)) login.know(ADDRESS, server);
  const homes = made.use(makeHomes(`${ADDRESS}:${await freePort()}`, []));
  const account = CANNOT_MAKE_ACCOUNTS === false ? made.use(makeAccount()) : undefined;
  mayRun(homes, account?.name);
  made.use(await alknetUp(homes.server));

  const place = `${userInfo().username}@${ADDRESS}`;
  const ssh = (name: keyof typeof servers): readonly string[] => [
    ...["ssh", ...login.words(servers[name].port)],
    // From 9.5 on it sends what is typed every 20 ms.
    ...["-o", "IgnoreUnknown=ObscureKeystrokeTiming", "-o", "ObscureKeystrokeTiming=no"],
  ];
  const beside = (words: readonly string[], to: string): Way => ({
    bulk: [...words, to],
    typing: [...words, "-tt", to],
  });
  const shared = (name: keyof typeof servers): Way => {
    const master = join(dirname(login.key), name);
    return {
      bulk: [...ssh(name), "-M", "-S", master, place],
      // Without that connection there shall be none.
      typing: [...ssh(name), "-S", master, "-o", "ProxyCommand=false", "-tt", place],
    };
  };
  const alknet = ["env", `ALKNET_HOME=${homes.client}`, ALKNET, "ssh", "--quic"];
  const owned = made.move();
  return {
    ours: shared("ours"),
    "ours-beside": beside(ssh("ours"), place),
    sshd: shared("sshd"),
    "sshd-beside": beside(ssh("sshd"), place),
    quic: beside(alknet, "server"),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** @param user as whom the client's programs run; `undefined`: as who runs the node. */
function mayRun({ server }: Homes, user: string | undefined): void {
  const config = join(server, "alknet.toml");
  const text = readFileSync(config, "utf8");
  writeFileSync(config, text.replace("scopes = []", 'scopes = ["ssh:exec"]'));
  if (user !== undefined) appendFileSync(config, `user = "${user}"\n`);
}
