/**
 * Who calls what the hub offers, typed: `npm exec -- node examples/hub-caller.ts FOLDER ADDRESS`.
 *
 * @module
 */

import process from "node:process";
import { CALL_ALPN } from "@alknet/call/call-handler";
import { callSession } from "@alknet/call/call-session";
import { client } from "@alknet/call/client";
import { createEndpoint } from "@alknet/core/endpoint";
import { staticIdentities } from "@alknet/core/static-identities";
import { keyOf, peer } from "./hub-keys.ts";
import type { Hub, Worker } from "./hub-operations.ts";

const [folder = ".", address = ""] = process.argv.slice(2);

await using node = await createEndpoint({
  identity: keyOf(folder, "alice"),
  identities: staticIdentities([peer(folder, "hub", [])]),
  handlers: [],
  listen: ["127.0.0.1:0"],
});
const options = { transports: ["quic"] } as const;
await using session = callSession(await node.dialer.dial(address, CALL_ALPN, options));

// The hub's own operation, and those of its workers, by the same connection.
const hub = client<Hub>(session);
const frames = client<Worker>(session).frames;

console.log(JSON.stringify(await frames.render({ frame: 7 })));
for await (const percent of frames.progress({ frame: 7 })) console.log(percent);
for (const frame of await hub.hub.render({ frames: 4 })) console.log(JSON.stringify(frame));
