/**
 * Bare `ws` with JSON: no RPC, only what one would write in an afternoon. `call-ws.ts server | client URL`
 *
 * @module
 */

import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { type Caller, produce, work } from "../call-work.ts";

interface Message {
  readonly id: number;
  readonly text?: string;
  readonly follow?: { readonly count: number; readonly size: number };
  readonly end?: true;
}

const [role, url = ""] = process.argv.slice(2);
if (role === "server") await work(await serve(), undefined);
else await work("", await caller());

async function serve(): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  server.on("connection", (socket) => {
    socket.on("message", (data: Buffer) => {
      const { id, text, follow } = JSON.parse(data.toString()) as Message;
      if (follow === undefined) socket.send(JSON.stringify({ id, text }));
      else void send(socket, id, follow.count, follow.size);
    });
  });
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function send(socket: WebSocket, id: number, count: number, size: number): Promise<void> {
  for await (const text of produce(count, size)) {
    socket.send(JSON.stringify({ id, text }));
    // As much in memory as a socket takes, and no more.
    if (socket.bufferedAmount > 2 ** 20) {
      await new Promise<void>((resolve) =>
        socket.send(JSON.stringify({ id: -1 }), () => resolve()),
      );
    }
  }
  socket.send(JSON.stringify({ id, end: true }));
}

async function caller(): Promise<Caller> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, "open");
  let ids = 0;
  const pending = new Map<number, (message: Message) => void>();
  socket.on("message", (data: Buffer) => {
    const message = JSON.parse(data.toString()) as Message;
    pending.get(message.id)?.(message);
  });
  return {
    echo(text) {
      const id = ++ids;
      return new Promise((resolve) => {
        pending.set(id, (message) => {
          pending.delete(id);
          resolve(message.text ?? "");
        });
        socket.send(JSON.stringify({ id, text }));
      });
    },
    async *follow(count, size) {
      const id = ++ids;
      const queue: Message[] = [];
      let wake = (): void => {};
      pending.set(id, (message) => {
        queue.push(message);
        wake();
      });
      socket.send(JSON.stringify({ id, follow: { count, size } }));
      for (;;) {
        while (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        for (const message of queue.splice(0)) {
          if (message.end === true) return void pending.delete(id);
          yield message.text ?? "";
        }
      }
    },
  };
}
