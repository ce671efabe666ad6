/** A client that comes back, over real sockets and by the machine's clock, to a node that is started again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEndpoint, type Endpoint } from "@alknet/core/endpoint";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { freePort } from "@alknet/core/testing-port";
import { z } from "zod";
import { CALL_ALPN, callHandler } from "./call-handler.ts";
import { callSession } from "./call-session.ts";
import { client } from "./client.ts";
import { operation } from "./operation.ts";
import { withEventId } from "./output-stream.ts";
import { reconnectingClient } from "./reconnecting-client.ts";
import { createRegistry } from "./registry.ts";

const nothing = z.object({});

/** Which of its lives answers; what it had under way dies with it. */
function lives() {
  const at = { life: 0, begun: Promise.withResolvers<void>() };
  const handler = (): number | Promise<number> => {
    at.begun.resolve();
    return at.life === 1 ? new Promise(() => {}) : at.life;
  };
  const rest = { input: nothing, output: z.number(), handler };
  const query = operation({ name: "lives/query", type: "query", ...rest });
  const mutation = operation({ name: "lives/mutation", type: "mutation", ...rest });
  const follow = operation({
    name: "lives/follow",
    type: "subscription",
    input: nothing,
    output: z.number(),
    resumable: true,
    async *handler(_, { lastEventId, signal }) {
      const next = Number(lastEventId ?? 0) + 1;
      yield withEventId(String(next), next);
      await new Promise((_done, fail) => signal.addEventListener("abort", fail));
    },
  });
  const registry = createRegistry([query, mutation, follow]);
  return { at, registry };
}

for (const transport of ["quic", "tcp"] as const) {
  test(`a node that is started again on its port is found again over ${transport}`, async () => {
    const [den, laptop] = [createIdentity(), createIdentity()];
    const { at, registry } = lives();
    const scopes = ["call:invoke:lives/*"];
    const peers = [{ peerId: "laptop", fingerprints: [laptop.fingerprint], scopes, enabled: true }];
    const start = async (port: number): Promise<Endpoint> => {
      const node = await createEndpoint({
        identity: den,
        identities: staticIdentities(peers),
        handlers: [callHandler({ registry })],
        listen: [`127.0.0.1:${port}`],
      });
      at.life += 1;
      return node;
    };
    const port = await freePort();
    let node = await start(port);
    await using dialing = await createEndpoint({
      identity: laptop,
      identities: staticIdentities([]),
      handlers: [],
      listen: [],
    });
    const target = `${den.fingerprint}@127.0.0.1:${port}`;
    const lost: unknown[] = [];
    await using reconnect = reconnectingClient({
      dial: async (signal) =>
        callSession(
          await dialing.dialer.dial(target, CALL_ALPN, { signal, transports: [transport] }),
        ),
      onlost: (reason) => lost.push(reason),
    });
    try {
      const { lives: calls } = client<typeof registry>(reconnect);
      const items = calls.follow();
      assert.equal((await items.next()).value, 1);
      const query = reconnect.call("lives/query", {});
      await at.begun.promise;
      at.begun = Promise.withResolvers();
      const mutation = assert.rejects(reconnect.call("lives/mutation", {}), {
        code: "INTERNAL",
        message: "connection closed",
      });
      await at.begun.promise;

      await node[Symbol.asyncDispose]();
      node = await start(port);
      assert.equal(await query, 2);
      await mutation;
      assert.equal((await items.next()).value, 2);
      assert.equal(await calls.mutation(), 2);
      await items.return();
      assert.ok(lost.length > 0);
    } finally {
      await reconnect.close();
      await node[Symbol.asyncDispose]();
    }
  });
}
