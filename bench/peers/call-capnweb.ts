/**
 * Cap'n Web over WebSocket; what is followed comes as its `ReadableStream`, which has flow control.
 * `call-capnweb.ts server | client URL`
 *
 * @module
 */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { newWebSocketRpcSession, RpcTarget } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";
import { type Caller, produce, work } from "../call-work.ts";

class Service extends RpcTarget {
  echo(text: string): string {
    return text;
  }

  follow(count: number, size: number): ReadableStream<string> {
    return ReadableStream.from(produce(count, size));
  }
}

const [role, url = ""] = process.argv.slice(2);
if (role === "server") await work(await serve(), undefined);
else await work("", await caller());

async function serve(): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  server.on("connection", (socket) => {
    newWebSocketRpcSession(socket as never, new Service());
  });
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function caller(): Promise<Caller> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, "open");
  const remote = newWebSocketRpcSession<Service>(socket as never);
  return {
    async echo(text) {
      return await remote.echo(text);
    },
    async *follow(count, size) {
      const stream = await remote.follow(count, size);
      for await (const item of stream as AsyncIterable<string>) yield item;
    },
  };
}
