/**
 * A node with a handler that is put to the test, and a connection beside it that must notice nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Dialer } from "@alknet/core/dialer";
import type { ProtocolHandler } from "@alknet/core/handler";
import { ping, pingHandler } from "@alknet/core/ping";
import { dialerOf, type Site, site, type SiteOptions, type Transport } from "./attack.ts";

export interface Bench extends AsyncDisposable {
  readonly site: Site;
  readonly client: Dialer;
  /** The connection that was there before answers still, and a new one is taken. */
  bystanderIsWell(): Promise<void>;
}

/** A node that serves `handle` on `alpn`, with a connection to its `alknet/ping`. */
export async function withBystander(
  transport: Transport,
  alpn: string,
  handle: ProtocolHandler["handle"],
  options: Omit<SiteOptions, "handlers"> = {},
): Promise<Bench> {
  const handler: ProtocolHandler = { alpns: [alpn], access: "peers", tls: "node", handle };
  const place = await site({ drain: 500, ...options, handlers: [pingHandler(), handler] });
  const client = dialerOf(place.peer);
  const over = { transports: [transport] };
  const bystander = await client.dial(place.target, "alknet/ping", over);
  const stream = await bystander.open();
  let asked = 0;
  let answered = 0;
  let wake = (): void => {};
  stream.on("data", (chunk: Buffer) => {
    answered += chunk.length;
    wake();
  });
  stream.on("error", () => {});
  stream.on("close", () => wake());
  return {
    site: place,
    client,
    async bystanderIsWell() {
      stream.write(Buffer.alloc(8));
      asked += 8;
      while (answered < asked) {
        assert.ok(!stream.destroyed, "the bystander's stream has ended");
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const fresh = await client.dial(place.target, "alknet/ping", over);
      for await (const { number } of ping(fresh, { count: 1 })) assert.equal(number, 0);
      await fresh.close();
    },
    async [Symbol.asyncDispose]() {
      bystander.abort(0);
      await client.close();
      await place[Symbol.asyncDispose]();
    },
  };
}
