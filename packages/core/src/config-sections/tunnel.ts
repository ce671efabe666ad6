/**
 * `[tunnel]`: what the node connects and listens for peers with.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ConfigTunnel, DEFAULT_TUNNEL } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { count, duration, file, section, text } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const tunnel: ConfigPart<ConfigTunnel> = part(
  section(
    "How this node connects and listens for peers, in `alknet/tunnel` and in SSH; where to is in their scopes.",
    {
      flows_per_peer: count(
        "Flows of one peer at once, over all its connections.",
        DEFAULT_TUNNEL.flowsPerPeer,
        1_000_000,
      ),
      opening_per_peer: count(
        "How many of these may be on their way to a target at a time; the others wait.",
        DEFAULT_TUNNEL.openingPerPeer,
        65_536,
      ),
      deadline: duration(
        "Time for the request to come, and again for the target to answer.",
        DEFAULT_TUNNEL.deadline,
        [100, 600_000],
      ),
      listeners_per_peer: count(
        "Listeners that one peer may have this node open at once.",
        DEFAULT_TUNNEL.listenersPerPeer,
        65_536,
      ),
      proxy: z.optional(
        text(
          {
            description:
              "Proxy that all TCP which peers ask for goes through, and never around it: `socks5://[user@]host[:port]` or `http://…`. It resolves names, so that peers need a scope that names the host.",
            examples: ["socks5://alknet@proxy.example:1080"],
          },
          parseProxyUrl,
        ),
      ),
      proxy_password_file: file(
        "File with the password for `proxy`, and nothing else, from this file's folder on if it does not begin with `/`.",
        "/etc/alknet/proxy-password",
      ),
    },
  ).check(({ value, issues }) => {
    if (value.proxy !== undefined || value.proxy_password_file === undefined) return;
    const message = "cannot use proxy_password_file: expected proxy beside it";
    issues.push({ code: "custom", message, input: value, path: ["proxy_password_file"] });
  }),
  (tunnel, fileAt) =>
    Object.freeze({
      flowsPerPeer: tunnel.flows_per_peer,
      openingPerPeer: tunnel.opening_per_peer,
      deadline: parseDuration(tunnel.deadline),
      listenersPerPeer: tunnel.listeners_per_peer,
      proxy: tunnel.proxy,
      proxyPasswordFile: fileAt(tunnel.proxy_password_file),
    }),
);

/** All but its password is for who connects to judge: here only whether it is the kind of thing. */
function parseProxyUrl(url: string): void {
  if (!/^(socks5h?|http):\/\/[^/]/i.test(url)) {
    throw new SyntaxError("cannot use proxy: expected socks5://host:port or http://host:port");
  }
  if (/^[^/]*\/\/[^/?]*:[^/?]*@/.test(url)) {
    throw new SyntaxError(
      'cannot use a proxy with a password: expected it in a file, named by proxy_password_file = "…"',
    );
  }
}
