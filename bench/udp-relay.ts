/**
 * The peer of `forward-udp`: a plain relay in Node, which sends on what comes, and back what is answered.
 *
 *     udp-relay.ts TARGET_PORT
 *
 * Both on 127.0.0.1, one client at a time.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { UDP_SOCKET_BUFFER } from "@alknet/tunnel/bind-udp";
import { obey } from "./commands.ts";

const target = Number(process.argv[2]);
// As ours.
const buffers = { recvBufferSize: UDP_SOCKET_BUFFER, sendBufferSize: UDP_SOCKET_BUFFER };
const local = createSocket({ type: "udp4", ...buffers });
const far = createSocket({ type: "udp4", ...buffers });
local.bind(0, "127.0.0.1");
far.connect(target, "127.0.0.1");
await Promise.all([once(local, "listening"), once(far, "connect")]);
let client = 0;
local.on("message", (packet, from) => {
  client = from.port;
  far.send(packet);
});
far.on("message", (packet) => local.send(packet, client, "127.0.0.1"));
await obey(`127.0.0.1:${local.address().port}`, {});
