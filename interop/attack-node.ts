/**
 * A node in a process of its own, to be attacked: `alknet/ping`, `alknet/source`, which sends without end, and
 * `alknet/sink`, which never reads.
 *
 *     node --expose-gc attack-node.ts '{"peer":"ed25519:…","handshakeTimeout":5000}'
 *
 * Says over IPC where it is, and after that answers "look" with what it holds (and collects its garbage),
 * "count" with what changes fast, and "close" by closing.
 *
 * @module
 */

import { once } from "node:events";
import process from "node:process";
import { createEndpoint } from "@alknet/core/endpoint";
import type { ProtocolHandler } from "@alknet/core/handler";
import { createIdentity } from "@alknet/core/identity-file";
import type { Caps } from "@alknet/core/limit-values";
import { staticIdentities } from "@alknet/core/static-identities";
import { pingHandler } from "@alknet/core/ping";
import { native } from "@alknet/quic/native";

export interface NodeSettings {
  /** Fingerprint of the peer that it knows. */
  readonly peer: string;
  readonly handshakeTimeout: number;
  /** Of QUIC, milliseconds. @default 30_000 */
  readonly idleTimeout?: number | undefined;
  /** Address blocks without limits and penalties. */
  readonly exempt?: readonly string[] | undefined;
  readonly caps?: Partial<Caps> | undefined;
}

export interface NodePlace {
  readonly port: number;
  readonly fingerprint: string;
}

/** What it holds, garbage apart. */
export interface NodeHoldings {
  readonly pending: number;
  readonly connections: number;
  readonly blocks: number;
  /** What the QUIC engine has, connections that only wait for their last packets to die out among them. */
  readonly engine: {
    readonly connections: number;
    readonly handshakes: number;
    readonly streams: number;
  };
  /** Open sockets, timers and other handles, by kind. */
  readonly resources: readonly string[];
  /** Bytes. */
  readonly rss: number;
  /** Bytes: JavaScript's heap, and what it holds outside. */
  readonly heap: number;
  /** How often each has been told, by the kind of the event and its reason. */
  readonly events: Readonly<Record<string, number>>;
}

export interface NodeCount {
  /** Handshakes that are pending. */
  readonly pending: number;
  readonly connections: number;
  /** Time of the processor that it has used, in milliseconds. */
  readonly processor: number;
}

const settings = JSON.parse(process.argv[2] ?? "{}") as NodeSettings;

const ZEROS = Buffer.alloc(256 * 1024);

const source: ProtocolHandler = {
  alpns: ["alknet/source"],
  access: "peers",
  tls: "node",
  async handle(connection) {
    const stream = await connection.accept();
    if (stream === undefined) return;
    stream.on("error", () => {});
    stream.resume();
    const closed = once(stream, "close");
    let drained = (): void => {};
    stream.on("drain", () => drained());
    while (!stream.destroyed) {
      if (stream.write(ZEROS)) continue;
      await Promise.race([new Promise<void>((resolve) => (drained = resolve)), closed]);
    }
  },
};

const sink: ProtocolHandler = {
  alpns: ["alknet/sink"],
  access: "peers",
  tls: "node",
  async handle(connection) {
    const stream = await connection.accept();
    stream?.on("error", () => {});
    await connection.closed;
  },
};

const events: Record<string, number> = {};
const identity = createIdentity();
const node = await createEndpoint({
  identity,
  identities: staticIdentities([
    { peerId: "peer", fingerprints: [settings.peer], scopes: [], enabled: true },
  ]),
  handlers: [pingHandler(), source, sink],
  listen: ["127.0.0.1:0"],
  handshakeTimeout: settings.handshakeTimeout,
  limits: { exempt: settings.exempt, caps: settings.caps },
  transport: { idleTimeout: settings.idleTimeout },
  onevent(event) {
    const reason = "reason" in event && typeof event.reason === "string" ? ` ${event.reason}` : "";
    const name = `${event.kind}${reason}`;
    events[name] = (events[name] ?? 0) + 1;
  },
});

/** How the engine names the first endpoint of a process: the node has but one. */
const FIRST_ENDPOINT = 1 << 22;

function holdings(): NodeHoldings {
  if (global.gc === undefined) throw new Error("expected --expose-gc");
  global.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo().filter((name) => name !== "Immediate");
  const { connections, handshakes, streams } = native.endpointInfo(FIRST_ENDPOINT);
  const engine = { connections, handshakes, streams };
  return { ...node.limits.stats(), engine, resources, rss, heap: heapUsed + external, events };
}

function count(): NodeCount {
  const { user, system } = process.cpuUsage();
  const { pending, connections } = node.limits.stats();
  return { pending, connections, processor: (user + system) / 1_000 };
}

process.on("message", (question: "look" | "count" | "close") => {
  if (question === "look") process.send?.(holdings());
  else if (question === "count") process.send?.(count());
  else void node.close().then(() => process.disconnect?.());
});
const [place] = node.addresses;
process.send?.({ port: place?.port ?? 0, fingerprint: identity.fingerprint } satisfies NodePlace);
