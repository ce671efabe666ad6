/**
 * Our side of the call benches: operations served by `alknet/call`, and who calls them.
 *
 *     call-worker.ts server carrier=unix|tcp|quic certificate=F key=F peer=F [validate=none]
 *     call-worker.ts client carrier=unix|tcp|quic certificate=F key=F peer=F to=ADDRESS
 *
 * On a Unix socket the caller is its owner; on the others two nodes know each other by key.
 *
 * @module
 */

import { createPrivateKey, randomUUID, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { callHandler } from "@alknet/call/call-handler";
import { callSession } from "@alknet/call/call-session";
import { client } from "@alknet/call/client";
import { operation } from "@alknet/call/operation";
import { createRegistry } from "@alknet/call/registry";
import type { CallSession } from "@alknet/call/session";
import { ownerContext } from "@alknet/core/access";
import { createDialer } from "@alknet/core/dialer";
import { createEndpoint } from "@alknet/core/endpoint";
import { fingerprintOfPublicKey } from "@alknet/core/fingerprint";
import { formatHostPort } from "@alknet/core/host";
import { identityFromKey } from "@alknet/core/identity-file";
import type { PeerEntry } from "@alknet/core/peers";
import { staticIdentities } from "@alknet/core/static-identities";
import { unixConnection } from "@alknet/core/unix-connection";
import { bind } from "@alknet/quic/endpoint";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import * as z from "zod";
import { type Caller, produce, SMALL, work } from "./call-work.ts";
import { number, parseWords, text, usage } from "./commands.ts";

const ALPN = "alknet/call";
const now = (): number => Number(process.hrtime.bigint());

const [role, ...words] = process.argv.slice(2);
const given = parseWords(words);
const carrier = text(given, "carrier");
const checked = given.get("validate") !== "none";

const Text = z.object({ text: z.string() });
/** The same type, and lets everything through. */
const anything: StandardSchemaV1<z.infer<typeof Text>> = {
  "~standard": {
    version: 1,
    vendor: "bench",
    validate: (value) => ({ value: value as { text: string } }),
  },
};
const echoed: StandardSchemaV1<z.infer<typeof Text>> = checked ? Text : anything;

/** Told once, when the handler that waits is told to stop: when, on the machine's clock. */
let stopped = Promise.withResolvers<number>();

const registry = createRegistry([
  operation({
    name: "bench/echo",
    type: "query",
    input: echoed,
    output: echoed,
    handler: ({ text: given }) => ({ text: given }),
  }),
  operation({
    name: "bench/follow",
    type: "subscription",
    input: z.object({ count: z.number(), size: z.number() }),
    output: z.string(),
    handler: ({ count, size }) => produce(count, size),
  }),
  operation({
    name: "bench/ticks",
    type: "subscription",
    input: z.object({ every: z.number() }),
    output: z.number(),
    async *handler({ every }, { signal }) {
      // Nanoseconds of the machine's clock, which is that of both processes.
      for await (const _ of setInterval(every, undefined, { signal })) yield now();
    },
  }),
  operation({
    name: "bench/wait",
    type: "query",
    input: z.object({}),
    output: z.object({}),
    // A long poll that nothing ever comes of.
    handler: () => new Promise<Record<string, never>>(() => {}),
  }),
  operation({
    name: "bench/until-stopped",
    type: "mutation",
    input: z.object({}),
    output: z.object({}),
    async handler(_, { signal }) {
      stopped = Promise.withResolvers();
      signal.addEventListener("abort", () => stopped.resolve(now()));
      await stopped.promise;
      return {};
    },
  }),
  operation({
    name: "bench/stopped",
    type: "query",
    input: z.object({}),
    output: z.number(),
    handler: () => stopped.promise,
  }),
]);

if (role === "server") await work(await (carrier === "unix" ? serveSocket() : serve()), undefined);
else await callThrough(await (carrier === "unix" ? openSocket() : dial()));

async function serveSocket(): Promise<string> {
  const handler = callHandler({ registry, checkOutput: checked });
  const path = join(tmpdir(), `alknet-bench-${randomUUID()}.sock`);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void handler.handle(
      unixConnection({ side: "server", socket, alpn: ALPN, auth: ownerContext() }),
    );
  });
  server.listen(path);
  await once(server, "listening");
  return path;
}

async function openSocket(): Promise<CallSession> {
  const socket = connect({ path: text(given, "to"), allowHalfOpen: true });
  await once(socket, "connect");
  return callSession(unixConnection({ side: "client", socket, alpn: ALPN, auth: ownerContext() }));
}

async function serve(): Promise<string> {
  const endpoint = await createEndpoint({
    identity: identity(),
    identities: staticIdentities([peer("client")]),
    handlers: [callHandler({ registry, checkOutput: checked })],
    listen: ["127.0.0.1:0"],
  });
  const [address] = endpoint.addresses;
  if (address === undefined) throw new Error("the endpoint has no address");
  return formatHostPort(address);
}

async function dial(): Promise<CallSession> {
  const dialer = createDialer({
    identity: identity(),
    identities: staticIdentities([peer("server", [text(given, "to")])]),
    bind: () => bind({ address: "127.0.0.1" }),
  });
  const transport = carrier === "quic" ? "quic" : "tcp";
  return callSession(await dialer.dial("server", ALPN, { transports: [transport] }));
}

/** Through the typed client, as a program would. */
async function callThrough(session: CallSession): Promise<void> {
  const { bench } = client<typeof registry>(session);
  const caller: Caller = {
    async echo(sent) {
      return (await bench.echo({ text: sent })).text;
    },
    follow: (count, size) => bench.follow({ count, size }),
  };
  const waits: Promise<unknown>[] = [];
  await work("", caller, {
    async hold(line) {
      const count = Number(text(line, "count"));
      for (let left = count; left > 0; left -= 1) {
        waits.push(session.call("bench/wait", {}, { timeout: Infinity }).catch(() => {}));
      }
      // What is sent behind them comes behind them.
      await caller.echo("");
      return { ...usage(), open: session.stats().outgoing };
    },
    async aborts(line) {
      const delays: number[] = [];
      for (let left = number(line, "count"); left > 0; left -= 1) {
        const controller = new AbortController();
        const { signal } = controller;
        const call = session.call("bench/until-stopped", {}, { signal }).catch(() => {});
        // On the same stream: what is behind it has come after it.
        await caller.echo("");
        const aborted = now();
        controller.abort();
        await call;
        delays.push(((await bench.stopped({})) - aborted) / 1e6);
      }
      delays.sort((one, other) => one - other);
      const at = (share: number): number => delays[Math.floor(delays.length * share)]!;
      return { p50: at(0.5), p99: at(0.99) };
    },
    async ticks(line) {
      const count = number(line, "count");
      const until = now() + number(line, "seconds") * 1e9;
      // Never read, and never at its end: what it may have under way is under way soon.
      const slow =
        text(line, "slow") === "yes" ? bench.follow({ count: 1e9, size: SMALL }) : undefined;
      await slow?.next();
      const delays: number[] = [];
      const follow = async (): Promise<void> => {
        for await (const at of bench.ticks({ every: 100 })) {
          const received = now();
          delays.push((received - at) / 1e6);
          if (received > until) return;
        }
      };
      await Promise.all(Array.from({ length: count }, follow));
      await slow?.return();
      delays.sort((one, other) => one - other);
      return { items: delays.length, p99: delays[Math.floor(delays.length * 0.99)] };
    },
  });
}

function identity() {
  const key = readFileSync(text(given, "key"));
  return identityFromKey(createPrivateKey({ key, format: "der", type: "pkcs8" }));
}

function peer(peerId: string, addresses: string[] = []): PeerEntry {
  const { publicKey } = new X509Certificate(readFileSync(text(given, "peer")));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const fingerprint = fingerprintOfPublicKey(spki.subarray(-32));
  const scopes = ["call:invoke:bench/*"];
  return { peerId, fingerprints: [fingerprint], scopes, enabled: true, addresses };
}
