/**
 * Our side of the SSH benches: `alknet/ssh` on plain TCP, for one peer, who may run programs and reach ports of this
 * machine.
 *
 *     ssh-worker.ts HOST_KEY_FILE USER_PUBLIC_KEY_FILE [ADDRESS [ACCOUNT]]
 *
 * Without an account to run as, that is the one that runs the bench, root too: sshd runs as it beside us.
 *
 * - `stats`: what is held, in bytes, and how many forwarded connections there are
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { USERS } from "@alknet/core/login-name";
import { staticIdentities } from "@alknet/core/static-identities";
import { nodeAccounts, ownAccount } from "@alknet/ssh/account";
import { ssh } from "@alknet/ssh/ssh";
import { outbound } from "@alknet/tunnel/outbound";
import { obey } from "./commands.ts";

const [hostKeyFile = "", userKeyFile = "", address = "127.0.0.1", account] = process.argv.slice(2);
const { fingerprint } = parseSshPublicKey(readFileSync(userKeyFile, "utf8").trim());
const identities = staticIdentities([
  {
    peerId: "bench",
    fingerprints: [fingerprint],
    scopes: ["ssh:exec", "tunnel:dial:localhost:*"],
    resources: account === undefined ? {} : { [USERS]: [account] },
    enabled: true,
  },
]);
const way = outbound();
const hostKey = readFileSync(hostKeyFile, "utf8");
const accounts = account === undefined ? () => ownAccount() : nodeAccounts;
const server = ssh({ hostKey, accounts, outbound: way });
const listener = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  void server.serve(socket, { identities });
});
await new Promise<void>((resolve) => listener.listen(0, address, resolve));
const { port } = listener.address() as AddressInfo;
await obey(String(port), {
  stats() {
    for (let round = 0; round < 3; round++) globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    return { held: heapUsed + external, resident: rss, flows: way.flows };
  },
});
