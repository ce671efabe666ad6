/**
 * tRPC 11 over WebSocket. `call-trpc.ts server | client URL`
 *
 * @module
 */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createTRPCClient, createWSClient, wsLink } from "@trpc/client";
import { initTRPC } from "@trpc/server";
import { applyWSSHandler } from "@trpc/server/adapters/ws";
import { WebSocket, WebSocketServer } from "ws";
import * as z from "zod";
import { type Caller, produce, work } from "../call-work.ts";

const t = initTRPC.create();
const router = t.router({
  echo: t.procedure
    .input(z.object({ text: z.string() }))
    .query(({ input }) => ({ text: input.text })),
  follow: t.procedure
    .input(z.object({ count: z.number(), size: z.number() }))
    .subscription(({ input }) => produce(input.count, input.size)),
});

const [role, url = ""] = process.argv.slice(2);
if (role === "server") await work(await serve(), undefined);
else await work("", caller());

async function serve(): Promise<string> {
  const wss = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  applyWSSHandler({ wss, router });
  await once(wss, "listening");
  return `ws://127.0.0.1:${(wss.address() as AddressInfo).port}`;
}

function caller(): Caller {
  // That of Node would be a second implementation to measure; this is the faster one.
  const client = createWSClient({ url, WebSocket: WebSocket as never });
  const trpc = createTRPCClient<typeof router>({ links: [wsLink({ client })] });
  return {
    async echo(text) {
      return (await trpc.echo.query({ text })).text;
    },
    async *follow(count, size) {
      const queue: string[] = [];
      let ended = false;
      let wake = (): void => {};
      trpc.follow.subscribe(
        { count, size },
        {
          onData(text: string) {
            queue.push(text);
            wake();
          },
          onComplete() {
            ended = true;
            wake();
          },
          onError(error) {
            throw error;
          },
        },
      );
      for (;;) {
        while (queue.length === 0 && !ended) await new Promise<void>((done) => (wake = done));
        if (queue.length === 0) return;
        yield* queue.splice(0);
      }
    },
  };
}
