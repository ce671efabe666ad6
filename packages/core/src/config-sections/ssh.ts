/**
 * `[ssh]`: SSH's own port, and what is allowed to all.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ConfigSsh, DEFAULT_SSH, DEFAULT_SSH_PORT } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { parseHostPort } from "../host.ts";
import { count, duration, file, listOf, oneOrMore, quoted, section, text } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const ssh: ConfigPart<ConfigSsh> = part(
  section("SSH: its own port, if it is to have one, and what is allowed to all.", {
    listen: z.optional(
      oneOrMore(
        text({ description: "`address:port`" }, (it) => parseHostPort(it, DEFAULT_SSH_PORT)),
        {
          description: `Where to serve SSH to clients that do not go through Alknet, by their SSH keys: \`ssh -p ${DEFAULT_SSH_PORT}\`. Without it: nowhere, and peers come by Alknet's port alone. The port is ${DEFAULT_SSH_PORT} unless it is given.`,
          examples: ["127.0.0.1:2222", ["127.0.0.1:2222", "[::1]:2222"]],
        },
        64,
      ),
    ),
    host_key: file(
      "File with the host key, Ed25519 as OpenSSH keeps it and not encrypted, from this file's folder on if it does not begin with `/`. Without it: the vault's if the node's identity is, else `ssh_host_ed25519_key` in the data folder.",
      "/etc/ssh/ssh_host_ed25519_key",
    ),
    accept_env: z
      ._default(
        z.array(text({ description: "`LANG`, `LC_*`" }, parseEnvPattern)).check(z.maxLength(256)),
        [...DEFAULT_SSH.acceptEnv],
      )
      .check(z.meta({ description: "Variables that a client may set." })),
    record: file(
      "Folder for recordings of all sessions on a terminal (asciicast v2), from this file's folder on if it does not begin with `/`. Without it: nothing is recorded.",
      "/var/lib/alknet/sessions",
    ),
    attempts: count("Tries to log in on one connection.", DEFAULT_SSH.limits.attempts, 1_000),
    auth_deadline: duration(
      "Time until somebody has to be logged in.",
      DEFAULT_SSH.limits.authDeadline,
      [100, 600_000],
    ),
    channels: count("Channels of one connection at once.", DEFAULT_SSH.limits.channels, 65_536),
    channels_per_peer: z.optional(
      z.int().check(
        z.gte(1),
        z.lte(1_000_000),
        z.meta({
          description:
            "Channels of one peer at once, over all its connections. Without it: 4096, or `channels` if that is more.",
        }),
      ),
    ),
    sessions_per_peer: count(
      "Programs of one peer at once, over all its connections.",
      DEFAULT_SSH.limits.sessionsPerPeer,
      65_536,
    ),
  }),
  (ssh, fileAt) =>
    Object.freeze({
      listen: Object.freeze(
        listOf(ssh.listen ?? []).map((text) => parseHostPort(text, DEFAULT_SSH_PORT)),
      ),
      hostKey: fileAt(ssh.host_key),
      acceptEnv: Object.freeze(ssh.accept_env),
      record: fileAt(ssh.record),
      limits: Object.freeze({
        attempts: ssh.attempts,
        authDeadline: parseDuration(ssh.auth_deadline),
        channels: ssh.channels,
        channelsPerPeer: ssh.channels_per_peer,
        sessionsPerPeer: ssh.sessions_per_peer,
      }),
    }),
);

function parseEnvPattern(pattern: string): void {
  if (/^[A-Za-z_*][A-Za-z0-9_*]{0,127}$/.test(pattern)) return;
  throw new SyntaxError(
    `cannot use variable ${quoted(pattern)}: expected a name such as "LANG", or "LC_*"`,
  );
}
