/**
 * What is written into configurations of `ssh` (ssh_config(5)): how peers are reached, and the lines that include that.
 *
 * Pure: no I/O.
 *
 * @module
 */

import { OWN_ACCOUNT } from "@alknet/core/login-name";
import { SUFFIX } from "./known-hosts.ts";
import { shellWord } from "./shell-word.ts";

export interface SshConfig {
  /** What starts `alknet`: a command and its first arguments. */
  readonly program: readonly string[];
  /** Variables that it has to be started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly knownHosts: string;
  /** Absolute path of `cat`. */
  readonly cat: string;
}

/** The section for all peers. */
export function sshConfigText({ program, env, knownHosts, cat }: SshConfig): string {
  const variables = Object.entries(env).map(([name, value]) => shellWord(`${name}=${value}`));
  const command = [
    ...(variables.length === 0 ? [] : ["env", ...variables]),
    ...program.map(shellWord),
    ...["proxy", "--"],
  ];
  return `# Made by alknet ssh-config. Peers of Alknet by their names: ssh laptop${SUFFIX}
Host *${SUFFIX} *${SUFFIX.toUpperCase()}
  # TLS proves the peer. The proxy writes down the host key that it shows, before ssh looks for it below.
  ProxyCommand ${percent(command.join(" "))} '%h'
  UserKnownHostsFile ${fileWord(knownHosts)}
  # Also for programs that name a file of their own; OpenSSH has it since 8.5.
  IgnoreUnknown KnownHostsCommand
  KnownHostsCommand ${percent(cat)} ${fileWord(knownHosts)}
  StrictHostKeyChecking yes
  CheckHostIP no
  # TLS has proved who asks, too: a key is needed by nobody, and a password never.
  PreferredAuthentications none,publickey
  # The account that is ours over there, whatever it is called; for another: ssh NAME@laptop${SUFFIX}
  User ${OWN_ACCOUNT}
`;
}

const BEGIN = "# alknet: begin; alknet ssh-config --remove takes these lines out\n";
const END = "# alknet: end\n";

/**
 * `text` of the user's file with the lines that include `file` at its beginning, where no section of it has begun; all
 * else as it was. Those that are there already are replaced.
 */
export function withInclude(text: string, file: string): string {
  return `${BEGIN}Include ${quotedWord(file)}\n${END}${withoutInclude(text)}`;
}

/** `text` without those lines. */
export function withoutInclude(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin + BEGIN.length);
  if (begin < 0 || end < 0) return text;
  return text.slice(0, begin) + text.slice(end + END.length);
}

/** A path as one word, where `%` begins what is put in its place. */
function fileWord(path: string): string {
  return quotedWord(percent(path));
}

/** As OpenSSH reads words since 8.7. */
function quotedWord(word: string): string {
  return /^[A-Za-z0-9_%+=:,./-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
}

function percent(text: string): string {
  return text.replaceAll("%", "%%");
}
