/**
 * Our side of `ssh-flows`: `alknet/ssh` on plain TCP, which connects one peer to ports of this machine.
 *
 *     ssh-flows-worker.ts HOST_KEY_FILE USER_PUBLIC_KEY_FILE
 *
 * - `stats`: what is held, in bytes, and how many flows there are
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { staticIdentities } from "@alknet/core/static-identities";
import { ownAccount } from "@alknet/ssh/account";
import { ssh } from "@alknet/ssh/ssh";
import { outbound } from "@alknet/tunnel/outbound";

const [hostKeyFile = "", userKeyFile = ""] = process.argv.slice(2);
const { fingerprint } = parseSshPublicKey(readFileSync(userKeyFile, "utf8").trim());
const identities = staticIdentities([
  {
    peerId: "bench",
    fingerprints: [fingerprint],
    scopes: ["tunnel:dial:localhost:*"],
    enabled: true,
  },
]);
const way = outbound();
const hostKey = readFileSync(hostKeyFile, "utf8");
const server = ssh({ hostKey, accounts: () => ownAccount(), outbound: way });
const listener = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  void server.serve(socket, { identities });
});
listener.listen(0, "127.0.0.1", () => {
  console.log(`READY ${(listener.address() as AddressInfo).port}`);
});
createInterface({ input: process.stdin })
  .on("line", () => {
    for (let round = 0; round < 3; round++) globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    console.log(JSON.stringify({ held: heapUsed + external, resident: rss, flows: way.flows }));
  })
  .once("close", () => process.exit());
