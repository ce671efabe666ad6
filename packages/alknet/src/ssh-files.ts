/**
 * Files of SSH in the data folder.
 *
 * @module
 */

import { dirname, join } from "node:path";
import type { Home } from "@alknet/core/home";

/** Absolute paths; none of them need exist. */
export interface SshFiles {
  /** This node's own host key, if it is no other's and not the vault's. */
  readonly hostKey: string;
  /** Host keys of peers, as `ssh` reads them. */
  readonly knownHosts: string;
  /** Keys of nodes that were taken by their addresses alone. */
  readonly knownNodes: string;
  /** What `ssh` is told about peers. */
  readonly config: string;
}

export function sshFiles({ identity }: Pick<Home, "identity">): SshFiles {
  const folder = dirname(identity);
  return {
    hostKey: join(folder, "ssh_host_ed25519_key"),
    knownHosts: join(folder, "ssh_known_hosts"),
    knownNodes: join(folder, "ssh_known_nodes"),
    config: join(folder, "ssh_config"),
  };
}
