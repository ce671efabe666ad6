/**
 * Random calls on endpoints, connections and streams, in one thread. A worker of `quic-boundary.ts`.
 *
 * What it may get is an error with a code of ours, or a misuse error of Node's streams; anything else,
 * a thing left behind at the end, or an end that does not come, fails.
 *
 * @module
 */

import { once } from "node:events";
import { parentPort, workerData } from "node:worker_threads";
import type { QuicConnection } from "@alknet/quic/connection";
import { bind, type QuicEndpoint } from "@alknet/quic/endpoint";
import { selfSigned } from "@alknet/quic/self-signed";
import type { QuicStream, RawStream } from "@alknet/quic/stream";
import { TlsClientConfig, TlsServerConfig } from "@alknet/quic/tls";
import { randomOf } from "./random.ts";

const { seed, seconds } = workerData as { seed: number; seconds: number };
const random = randomOf(seed);
const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error("cannot fuzz: expected node --expose-gc");

const LOOPBACK = "127.0.0.1";
const MOST = { endpoints: 5, connections: 24, streams: 300 };
/** Errors that misuse earns. */
const EXPECTED =
  /^(QUIC_|EINVAL|ABORT_ERR|ERR_STREAM_|ERR_INVALID_ARG|ERR_METHOD_NOT_IMPLEMENTED|EADDRINUSE)/;
const FUZZ = "thrown by the fuzzer";

const identity = selfSigned({ names: ["fuzz.test"] });
const certificates = [identity.certificate];
const { privateKey, publicKey } = identity;
const serverConfigs = (["none", "request", "require"] as const).map(
  (clientCertificate) =>
    new TlsServerConfig({ certificates, privateKey, clientCertificate, rawPublicKeys: true }),
);
const clientConfigs = [
  new TlsClientConfig({ alpn: ["a", "b"], verify: { publicKeys: [publicKey] } }),
  new TlsClientConfig({
    alpn: ["a"],
    verify: { dangerouslyAcceptAny: true },
    certificates,
    privateKey,
  }),
  new TlsClientConfig({
    alpn: ["b"],
    verify: { publicKeys: [publicKey] },
    privateKey,
    rawPublicKeys: true,
  }),
  new TlsClientConfig({ alpn: ["refused"], verify: { publicKeys: [publicKey] } }),
  new TlsClientConfig({ alpn: ["a"], verify: { publicKeys: [] } }),
];

let endpoints: QuicEndpoint[] = [];
/** Calls on these should do no harm. */
let closed: QuicEndpoint[] = [];
/** Endpoints that live without anybody holding them. */
let serving: QuicEndpoint[] = [];
let connections: QuicConnection[] = [];
let streams: RawStream[] = [];
let duplexes: QuicStream[] = [];
/** Whatever was begun and must come to an end. */
const pending = new Set<Promise<unknown>>();
const calls = new Map<string, number>();
let ticks = 0;

function fail(error: unknown): never {
  parentPort?.postMessage({ seed, failed: error instanceof Error ? error.stack : String(error) });
  // One is enough: what comes after it says nothing.
  process.exit(1);
}

process.on("uncaughtException", (error) => {
  if (error.message !== FUZZ) fail(error);
});

function isExpected(error: unknown): boolean {
  if (error instanceof RangeError) return true;
  const { name, code, message } = error as { name?: unknown; code?: unknown; message?: unknown };
  if (name === "AbortError" || name === "TimeoutError") return true;
  if (typeof message === "string" && message.includes("inside its own admit")) return true;
  return typeof code === "string" && EXPECTED.test(code);
}

function track(promise: Promise<unknown>): void {
  const settled = promise.catch((error: unknown) => {
    if (!isExpected(error)) fail(error);
  });
  pending.add(settled);
  void settled.then(() => pending.delete(settled));
}

/** Now and then a listener throws. */
function listener(): void {
  ticks++;
  if (random.oneIn(400)) throw new Error(FUZZ);
}

function anEndpoint(): QuicEndpoint | undefined {
  return random.oneIn(20) ? random.pick(closed) : random.pick(endpoints);
}

function size(): number {
  return random.below(10) === 0 ? random.below(2_000_000) : random.below(6_000);
}

function code(): number {
  return random.pick([0, 1, 77, 2 ** 31, 2 ** 53 - 1, -1, 1.5, Number.NaN]) ?? 0;
}

function signal(): AbortSignal | undefined {
  if (random.below(3) > 0) return undefined;
  const abort = new AbortController();
  if (random.oneIn(4)) abort.abort();
  else setTimeout(() => abort.abort(), random.below(40)).unref();
  return abort.signal;
}

/** Every connection that there was: what has listeners, or a stream with any, lives though it was let go of. */
let all: WeakRef<QuicConnection>[] = [];
let finishing = false;

function adopt(connection: QuicConnection): void {
  if (finishing) return connection.close();
  all.push(new WeakRef(connection));
  connections.push(connection);
  if (random.oneIn(2)) connection.onstream = (stream) => streams.push(stream);
  if (random.oneIn(2)) connection.ondatagram = listener;
}

function listen(stream: RawStream): void {
  if (random.oneIn(2)) stream.ondata = listener;
  if (random.oneIn(2)) stream.ondrain = listener;
  if (random.oneIn(3)) stream.onreset = listener;
  if (random.oneIn(3)) stream.onstop = listener;
  if (random.oneIn(3)) stream.onfinished = listener;
  if (random.oneIn(3)) stream.onclose = listener;
  if (random.oneIn(3)) stream.oncut = listener;
}

function own(duplex: QuicStream): void {
  duplex.on("error", (error) => {
    if (!isExpected(error) && error.message !== FUZZ) fail(error);
  });
  duplexes.push(duplex);
}

function transport(): object {
  if (random.oneIn(2)) return {};
  return {
    idleTimeout: random.pick([0, 200, 5_000]),
    keepAlive: random.pick([0, 50, 10_000]),
    handshakeTimeout: random.pick([50, 10_000]),
    maxStreams: random.pick([0, 1, 3, 64]),
    streamReceiveWindow: random.pick([1, 5_000, 2 ** 20]),
    receiveWindow: random.pick([1, 9_000, 2 ** 22]),
    sendWindow: random.pick([1, 10_000, 2 ** 22]),
    mtuUpperBound: random.pick([1_200, 1_452, 9_000]),
    congestion: random.pick(["cubic", "newreno", "bbr"]),
    datagramBuffer: random.pick([0, 2_000, 2 ** 20]),
  };
}

const operations: Record<string, () => void> = {
  bind() {
    if (endpoints.length >= MOST.endpoints) return;
    const answers = ["accept", "accept", "accept", "retry", "refuse", "ignore"] as const;
    const takes = random.below(3) > 0;
    const endpoint = bind({
      address: random.pick([LOOPBACK, LOOPBACK, "::"]) ?? LOOPBACK,
      socketBuffer: random.pick([0, 10_000, 2 ** 20]),
      transport: transport(),
      ...(random.oneIn(4)
        ? {}
        : {
            server: {
              admit: (source) => {
                listener();
                if (random.oneIn(20)) operate();
                return source.validated ? "accept" : (random.pick(answers) ?? "accept");
              },
              configure: ({ alpn }) => {
                listener();
                if (random.oneIn(20)) operate();
                if (alpn[0] === undefined || alpn[0] === "refused") return { alert: 120 };
                return { tls: random.pick(serverConfigs)!, alpn: random.pick(alpn)! };
              },
              handshakeFailed: listener,
              ...(takes ? { connection: adopt } : {}),
            },
          }),
    });
    endpoints.push(endpoint);
    if (takes) serving.push(endpoint);
  },
  connect() {
    if (connections.length >= MOST.connections) return;
    const server = random.pick(endpoints);
    const client = anEndpoint();
    if (server === undefined || client === undefined) return;
    const dialing = client.connect({
      address: LOOPBACK,
      port: random.oneIn(20) ? random.below(70_000) - 10 : server.address.port,
      tls: random.pick(clientConfigs)!,
      serverName: random.pick([undefined, "fuzz.test", "not a name", "127.0.0.1"]),
      signal: signal(),
      transport: { ...transport(), handshakeTimeout: 300 },
    });
    track(dialing.then(adopt));
  },
  acceptConnection() {
    const waiting = anEndpoint()?.accept({ signal: signal() ?? AbortSignal.timeout(50) });
    if (waiting !== undefined) track(waiting.then((connection) => connection && adopt(connection)));
  },
  moveEndpoint() {
    anEndpoint()?.rebind(random.oneIn(3) ? { port: random.below(70_000) } : {});
  },
  touchEndpoint() {
    const endpoint = anEndpoint();
    if (endpoint === undefined) return;
    void [endpoint.counts, endpoint.socketBuffers, endpoint.sendErrors, endpoint.handshakeCount];
    random.pick([
      () => endpoint.addressChanged(),
      () => endpoint.flush(),
      () => endpoint.ref(),
      () => endpoint.unref(),
      () => endpoint.dropHandshake(random.below(100)),
    ])?.();
  },
  stopAccepting() {
    if (random.oneIn(10)) anEndpoint()?.stopAccepting();
  },
  closeEndpoint() {
    const endpoint = anEndpoint();
    if (endpoint === undefined || !random.oneIn(40)) return;
    track(endpoint.close({ code: random.below(3), reason: "fuzz" }));
    endpoints = endpoints.filter((other) => other !== endpoint);
    serving = serving.filter((other) => other !== endpoint);
    closed.push(endpoint);
    if (closed.length > 5) closed.shift();
  },
  open() {
    const connection = random.pick(connections);
    if (connection === undefined || streams.length >= MOST.streams) return;
    const data = random.oneIn(2) ? undefined : random.bytes(size());
    const stream = random.oneIn(3)
      ? connection.openRawUni(data, random.oneIn(2))
      : connection.openRaw(data, random.oneIn(2));
    listen(stream);
    streams.push(stream);
  },
  openDuplex() {
    const connection = random.pick(connections);
    if (connection === undefined || duplexes.length >= MOST.streams) return;
    const options = { signal: signal() ?? AbortSignal.timeout(50) };
    const opening = random.oneIn(3) ? connection.openUni(options) : connection.open(options);
    track(opening.then(own));
  },
  acceptStream() {
    const connection = random.pick(connections);
    if (connection === undefined) return;
    const options = { signal: signal() ?? AbortSignal.timeout(50) };
    const waiting = random.oneIn(3) ? connection.acceptUni(options) : connection.accept(options);
    track(waiting.then((stream) => stream && own(stream)));
  },
  datagram() {
    const connection = random.pick(connections);
    connection?.sendDatagram(random.bytes(random.below(3_000)));
    void connection?.maxDatagramSize;
  },
  touchConnection() {
    const connection = random.pick(connections);
    if (connection === undefined) return;
    random.pick([
      () => void connection.stats(),
      () => void connection.remoteAddress,
      () => void connection.peerCertificate,
      () => void connection.exportKeyingMaterial("fuzz", undefined, random.below(9_000)),
      () => connection.setLimits({ maxStreams: random.below(200) }),
      () =>
        connection.setLimits({
          receiveWindow: random.below(2 ** 22),
          sendWindow: random.below(2 ** 22),
        }),
      () => track(Promise.race([connection.flushed(), once(AbortSignal.timeout(50), "abort")])),
      () => (connection.onstream = random.oneIn(2) ? undefined : (stream) => streams.push(stream)),
    ])?.();
  },
  closeConnection() {
    if (random.oneIn(3)) random.pick(connections)?.close(code(), "x".repeat(random.below(900)));
  },
  write() {
    const stream = random.pick(streams);
    if (stream === undefined) return;
    stream.write(random.bytes(size()), random.oneIn(5));
  },
  flow() {
    const stream = random.pick(streams);
    if (stream === undefined) return;
    random.pick([
      () => stream.pause(),
      () => stream.resume(),
      () => (stream.ondata = undefined),
      () => (stream.ondata = listener),
      () => listen(stream),
    ])?.();
  },
  resetStream() {
    random.pick(streams)?.reset(code());
  },
  stopStream() {
    random.pick(streams)?.stop(code());
  },
  wrap() {
    const stream = streams.splice(random.below(Math.max(1, streams.length)), 1)[0];
    if (stream !== undefined) own(stream.toDuplex());
  },
  writeDuplex() {
    const duplex = random.pick(duplexes);
    if (duplex === undefined || duplex.writableLength > 4_000_000) return;
    if (random.oneIn(5)) duplex.end(random.bytes(size()));
    else duplex.write(random.bytes(size()));
  },
  readDuplex() {
    const duplex = random.pick(duplexes);
    if (duplex === undefined) return;
    random.pick([
      () => duplex.resume(),
      () => duplex.pause(),
      () => void duplex.read(random.below(10_000)),
      () => duplex.setEncoding("latin1"),
      () => void duplex.pipe(duplex),
      () => void duplex.unpipe(),
    ])?.();
  },
  destroyDuplex() {
    random.pick(duplexes)?.destroy(random.oneIn(2) ? new Error(FUZZ) : undefined);
  },
  letGo() {
    if (!random.oneIn(4)) return;
    const keep = (): boolean => random.below(4) > 0;
    streams = streams.filter(keep);
    duplexes = duplexes.filter(keep);
    if (random.oneIn(4)) connections = connections.filter(keep);
    if (random.oneIn(20)) {
      endpoints = endpoints.filter((endpoint) => serving.includes(endpoint) || keep());
    }
  },
};
const names = Object.keys(operations);

function operate(): void {
  const name = random.pick(names)!;
  calls.set(name, (calls.get(name) ?? 0) + 1);
  try {
    operations[name]!();
  } catch (error) {
    // A listener that is set may be called before the call returns.
    if (!isExpected(error) && (error as Error).message !== FUZZ) fail(error);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function within(what: string, promise: Promise<unknown>): Promise<void> {
  const timer = setTimeout(() => fail(new Error(`${what} did not come to an end`)), 30_000);
  await promise;
  clearTimeout(timer);
}

/** Close everything, and see that nothing is left. */
async function finish(): Promise<void> {
  finishing = true;
  for (const duplex of duplexes) duplex.destroy();
  const live = all.flatMap((connection) => connection.deref() ?? []);
  for (const connection of live) connection.close();
  await within("closed", Promise.all(live.map(({ closed }) => closed)));
  all = [];
  streams = [];
  duplexes = [];
  connections = [];
  for (const endpoint of endpoints) {
    try {
      const { streams: left, handshakes } = endpoint.counts;
      if (endpoint.connectionCount === 0 && (left > 0 || handshakes > 200)) {
        fail(new Error(`left behind: ${left} streams, ${handshakes} handshakes`));
      }
    } catch (error) {
      if (!isExpected(error)) throw error;
    }
  }
  await within("close()", Promise.all(endpoints.map((endpoint) => endpoint.close())));
  endpoints = [];
  closed = [];
  serving = [];
  await within("what was begun", Promise.all(pending));
  finishing = false;
}

const end = performance.now() + seconds * 1_000;
let rounds = 0;
while (performance.now() < end) {
  // Several lives, each from nothing to nothing.
  const until = Math.min(end, performance.now() + 5_000);
  while (performance.now() < until) {
    for (let count = random.below(40); count > 0; count--) operate();
    await turn();
    if (random.oneIn(30)) collect();
    if (random.oneIn(300)) await new Promise((resolve) => setTimeout(resolve, random.below(30)));
  }
  await finish();
  collect();
  rounds++;
}
const total = [...calls.values()].reduce((sum, count) => sum + count, 0);
parentPort?.postMessage({ seed, done: { kind: "objects", rounds, calls: total, ticks } });
// Endpoints that were dropped end by collection, and each keeps this thread alive until then.
for (let round = 0; round < 50; round++) {
  collect();
  await new Promise((resolve) => setTimeout(resolve, 10));
}
