/**
 * A node with one handler, and a peer that says hello to it: `npm exec -- node examples/hello-echo.ts`.
 *
 * With a ticket as argument, hello goes to `alknet/echo` of that node, by the key that `alknet id` prints:
 * `npm exec -- node examples/hello-echo.ts TICKET`.
 *
 * @module
 */

import { homedir, tmpdir } from "node:os";
import process from "node:process";
import { text } from "node:stream/consumers";
import { createEndpoint } from "@alknet/core/endpoint";
import { homePaths } from "@alknet/core/home";
import { createIdentity, loadOrCreateIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { echo } from "./echo.ts";

const [ticket] = process.argv.slice(2);
const den = createIdentity();
const laptop = ticket === undefined ? createIdentity() : ownIdentity();

// Whoever may come in: by key, with rights. The echo asks for none.
const peers = [{ peerId: "laptop", fingerprints: [laptop.fingerprint], scopes: [], enabled: true }];
await using node = await createEndpoint({
  identity: den,
  identities: staticIdentities(peers),
  handlers: [echo()],
  listen: ["127.0.0.1:0"],
});

const target = ticket ?? `${den.fingerprint}@127.0.0.1:${node.addresses[0]!.port}`;
const { stream } = await node.dialer.open(target, "alknet/echo", { identity: laptop });
stream.end("hello");
console.log(await text(stream));

/** The key of the node that `alknet` runs here. */
function ownIdentity() {
  const { env, platform } = process;
  const system = { env, platform, userHome: homedir(), temporary: tmpdir() };
  return loadOrCreateIdentity(homePaths({ ...system, uid: process.getuid?.() }).identity);
}
