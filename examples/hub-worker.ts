/**
 * A worker of the hub: it dials, and is called on the connection that it has made. It comes back by itself.
 * `npm exec -- node examples/hub-worker.ts FOLDER ADDRESS [NAME]`.
 *
 * @module
 */

import process from "node:process";
import { CALL_ALPN } from "@alknet/call/call-handler";
import { callSession } from "@alknet/call/call-session";
import { createDispatch } from "@alknet/call/dispatch";
import { reconnectingClient } from "@alknet/call/reconnecting-client";
import { createEndpoint } from "@alknet/core/endpoint";
import { staticIdentities } from "@alknet/core/static-identities";
import { keyOf, peer } from "./hub-keys.ts";
import { worker } from "./hub-operations.ts";

const [folder = ".", address = "", name = "worker-1"] = process.argv.slice(2);

await using node = await createEndpoint({
  identity: keyOf(folder, name),
  // Whoever connects, the hub alone may call.
  identities: staticIdentities([peer(folder, "hub", ["call:invoke:frames/*"])]),
  handlers: [],
  listen: ["127.0.0.1:0"],
});
const dispatch = createDispatch({ registry: worker(name) });
await using _hub = reconnectingClient({
  async dial(signal) {
    const options = { signal, transports: ["quic"] } as const;
    return callSession(await node.dialer.dial(address, CALL_ALPN, options), { dispatch });
  },
  onlost: (reason, delay) => console.error(`again in ${Math.round(delay)} ms:`, reason),
});
await new Promise((resolve) => process.once("SIGTERM", resolve).once("SIGINT", resolve));
