/**
 * A hub: what its workers can do, it offers to whoever may. `npm exec -- node examples/hub.ts FOLDER`; then
 * `hub-worker.ts` and `hub-caller.ts` with the same folder, and what this one prints.
 *
 * @module
 */

import process from "node:process";
import { CALL_ALPN, callHandler } from "@alknet/call/call-handler";
import { createCallPeers } from "@alknet/call/call-peers";
import { createEndpoint } from "@alknet/core/endpoint";
import { silentLogger } from "@alknet/core/log";
import { staticIdentities } from "@alknet/core/static-identities";
import { keyOf, peer } from "./hub-keys.ts";
import { hub } from "./hub-operations.ts";

const [folder = "."] = process.argv.slice(2);
const identity = keyOf(folder, "hub");

// Workers bring operations, and may call none. Alice may call what there is to render with.
const identities = staticIdentities([
  peer(folder, "worker-1", []),
  peer(folder, "worker-2", []),
  peer(folder, "alice", ["call:invoke:frames/*", "call:invoke:hub/*"]),
]);

const calls = callHandler({
  registry: hub,
  peers: createCallPeers(),
  imports: ({ id }) => (id.startsWith("worker-") ? { expose: true } : undefined),
  logger: {
    ...silentLogger,
    info: (fields, message) => console.log(JSON.stringify({ message, ...fields })),
    warn: (fields, message) => console.error(message, fields),
  },
});

await using node = await createEndpoint({
  identity,
  identities,
  handlers: [calls],
  listen: ["127.0.0.1:0"],
});
const address = `${identity.fingerprint}@127.0.0.1:${node.addresses[0]!.port}`;
console.log(JSON.stringify({ message: "listening", alpn: CALL_ALPN, address }));
await new Promise((resolve) => process.once("SIGTERM", resolve).once("SIGINT", resolve));
