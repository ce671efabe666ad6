/**
 * Checks of SSH: who may log in and has no account, whether there are terminals, and who reaches its port.
 *
 * @module
 */

import type { Identity } from "@alknet/core/access";
import type { Config } from "@alknet/core/config";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import { USERS } from "@alknet/core/login-name";
import { hasSsh } from "../account-notes.ts";
import { isPublicAddress } from "../own-addresses.ts";
import { recordingsHint, whyUnusable } from "../recordings-folder.ts";
import { shellWord } from "../shell-word.ts";
import { printable } from "../terminal.ts";
import type { Finding } from "./finding.ts";

export interface CheckedSsh {
  readonly config: Pick<Config, "ssh" | "handlers" | "path" | "peers">;
  /** Who is let in, with the scopes that count. */
  readonly identities: readonly Identity[];
  /** Whether the node runs as root, if it is the one who asks that runs it. */
  readonly isRoot: boolean;
  /** Why there are no terminals, if there are none. */
  readonly noTerminals: string | undefined;
}

export function checkSsh({ config, identities, isRoot, noTerminals }: CheckedSsh): Finding[] {
  if (!config.handlers.includes("ssh")) return [];
  const mayLogIn = identities.filter(({ scopes }) => hasSsh(scopes));
  const found = isRoot ? mayLogIn.filter(hasNoUser).map((each) => withoutUser(each, config)) : [];
  if (noTerminals !== undefined && mayLogIn.length > 0) found.push(withoutTerminals(noTerminals));
  const open = config.ssh.listen.filter(({ host }) => isPublicAddress(host));
  const { record } = config.ssh;
  const why = record === undefined ? undefined : whyUnusable(record);
  if (why !== undefined) {
    const text = printable(`no session on a terminal begins: cannot record in ${record}: ${why}`);
    found.push({ check: "ssh", state: "problem", text, fix: recordingsHint(config.path) });
  }
  return [...found, ...open.map((each) => openToAll(each, config))];
}

function hasNoUser({ resources }: Identity): boolean {
  return (resources[USERS] ?? []).length === 0;
}

function withoutUser({ id }: Identity, { peers, path }: CheckedSsh["config"]): Finding {
  const inFile = peers.some(({ peerId }) => peerId === id);
  return {
    check: "ssh",
    state: "warning",
    text: printable(`${id} may use SSH, and has no account: the node runs as root`),
    fix: inFile
      ? `add user = "NAME" to [peers.${id}] in ${path}`
      : `alknet peers set ${shellWord(printable(id))} --user NAME`,
  };
}

function withoutTerminals(text: string): Finding {
  const fix = "commands run all the same; for shells: npm install @lydell/node-pty";
  return { check: "ssh", state: "warning", text, fix };
}

function openToAll(listen: HostPort, { path }: CheckedSsh["config"]): Finding {
  return {
    check: "ssh",
    state: "warning",
    text: `${formatHostPort(listen)} takes SSH from everybody who reaches this machine; keys are asked for`,
    fix: `peers reach it without that port; if it is not meant: listen = "127.0.0.1:${listen.port}" in [ssh] of ${path}`,
  };
}
