/**
 * The whole of `alknet.toml`: its sections, each from its own file, and what stands before the first of them.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type Config, DEFAULT_HANDLERS, DEFAULT_LISTEN, HANDLERS } from "./config.ts";
import { apiKeys } from "./config-sections/api-keys.ts";
import { call } from "./config-sections/call.ts";
import { file, listOf, notDate, text } from "./config-sections/forms.ts";
import { limits } from "./config-sections/limits.ts";
import { log } from "./config-sections/log.ts";
import { NAME_PATTERN, parseNodeName } from "./config-sections/names.ts";
import { type ConfigPart, part } from "./config-sections/part.ts";
import { peers } from "./config-sections/peers.ts";
import { quic } from "./config-sections/quic.ts";
import { roles } from "./config-sections/scopes.ts";
import { ssh } from "./config-sections/ssh.ts";
import { store } from "./config-sections/store.ts";
import { tunnel } from "./config-sections/tunnel.ts";
import { vault } from "./config-sections/vault.ts";
import { parseHostPort } from "./host.ts";
import { DEFAULT_PORT } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";

/** All of a configuration but where it was read from. `read` throws a `PeerError` if peers or tokens clash. */
export const configDocument: ConfigPart<Omit<Config, "path">> = part(
  z.pipe(
    notDate,
    z.strictObject({
      name: z.optional(
        text(
          { description: "What this node calls itself, in its tickets.", pattern: NAME_PATTERN },
          parseNodeName,
        ),
      ),
      listen: z
        ._default(
          z.union([
            text({ description: "`address:port`" }, (address) =>
              parseHostPort(address, DEFAULT_PORT),
            ),
            z
              .array(
                text({ description: "`address:port`" }, (it) => parseHostPort(it, DEFAULT_PORT)),
              )
              .check(z.minLength(1), z.maxLength(64)),
          ]),
          [...DEFAULT_LISTEN],
        )
        .check(
          z.meta({
            description: `Where to listen, UDP and TCP alike. \`[::]\` is every address, of IPv4 too. The port is ${DEFAULT_PORT} unless it is given; 0 is any that is free.`,
            examples: [["[::]:7433", "[::]:443"]],
          }),
        ),
      identity: file(
        "File with this node's key, from this file's folder on if it does not begin with `/`. Without it: the key of the vault if there is one, else `identity.key` in the data folder.",
        "/etc/alknet/identity.key",
      ),
      handlers: z
        ._default(z.array(z.enum(HANDLERS)).check(z.maxLength(64)), [...DEFAULT_HANDLERS])
        .check(z.meta({ description: "Services that this node offers." })),
      limits: limits.schema,
      quic: quic.schema,
      roles: roles.schema,
      peers: peers.schema,
      api_keys: apiKeys.schema,
      call: call.schema,
      tunnel: tunnel.schema,
      ssh: ssh.schema,
      log: log.schema,
      store: store.schema,
      vault: vault.schema,
    }),
  ),
  (document, fileAt) => {
    const named = roles.read(document.roles, fileAt);
    // What makes identities of them has the last word on whether they hold together.
    using identities = staticIdentities(peers.read(document.peers, fileAt), {
      apiKeys: apiKeys.read(document.api_keys, fileAt),
      roles: named,
    });
    return Object.freeze({
      name: document.name,
      listen: Object.freeze(
        listOf(document.listen).map((text) => parseHostPort(text, DEFAULT_PORT)),
      ),
      identity: fileAt(document.identity),
      handlers: Object.freeze([...new Set(document.handlers)]),
      limits: limits.read(document.limits, fileAt),
      quic: quic.read(document.quic, fileAt),
      roles: named,
      peers: identities.peers,
      apiKeys: Object.freeze(identities.apiKeys),
      call: call.read(document.call, fileAt),
      tunnel: tunnel.read(document.tunnel, fileAt),
      ssh: ssh.read(document.ssh, fileAt),
      log: log.read(document.log, fileAt),
      store: store.read(document.store, fileAt),
      vault: vault.read(document.vault, fileAt),
    });
  },
);
