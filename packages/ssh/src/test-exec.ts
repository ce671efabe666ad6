/**
 * For tests of this package: a command over there, by ssh2's own client.
 *
 * @module
 */

import type { Client, ClientChannel } from "ssh2";

export function exec(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) =>
      error === undefined ? resolve(channel) : reject(error),
    );
  });
}
