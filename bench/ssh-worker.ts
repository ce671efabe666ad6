/**
 * Our side of the SSH benches: `alknet/ssh` on plain TCP, for one peer.
 *
 *     ssh-worker.ts HOST_KEY_FILE USER_PUBLIC_KEY_FILE
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { staticIdentities } from "@alknet/core/static-identities";
import { ownAccount } from "@alknet/ssh/account";
import { ssh } from "@alknet/ssh/ssh";

const [hostKeyFile = "", userKeyFile = ""] = process.argv.slice(2);
const { fingerprint } = parseSshPublicKey(readFileSync(userKeyFile, "utf8").trim());
const identities = staticIdentities([
  { peerId: "bench", fingerprints: [fingerprint], scopes: ["ssh:exec"], enabled: true },
]);
// The account that runs the bench, root too: sshd runs as it beside us.
const server = ssh({ hostKey: readFileSync(hostKeyFile, "utf8"), accounts: () => ownAccount() });
const listener = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  void server.serve(socket, { identities });
});
listener.listen(0, "127.0.0.1", () => {
  console.log(`READY ${(listener.address() as AddressInfo).port}`);
});
process.stdin.resume().once("end", () => process.exit());
