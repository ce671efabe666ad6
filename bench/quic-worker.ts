/**
 * Our engine's side of the QUIC benches: the same commands and the same work on the wire as
 * `native/bench-peer`, so that either can be put at either end.
 *
 *     quic-worker.ts server certificate=F key=F [api=raw|duplex] [TRANSPORT...]
 *     quic-worker.ts client certificate=F key=F peer=F to=HOST:PORT [api=raw|duplex] [TRANSPORT...]
 *     quic-worker.ts both   ...      a server, and a client of it, on two endpoints of one process
 *
 * TRANSPORT: buffer=BYTES streams=N mtu=N idle=MS keepalive=MS
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { QuicConnection } from "@alknet/quic/connection";
import { bind, type QuicEndpoint } from "@alknet/quic/endpoint";
import type { EndpointOptions } from "@alknet/quic/endpoint-options";
import type { QuicStream, RawStream } from "@alknet/quic/stream";
import { TlsClientConfig, TlsServerConfig } from "@alknet/quic/tls";
import { inParallel, number, obey, parseWords, stopwatch, text, usage } from "./commands.ts";

const ALPN = "alknet-bench";
/** Take everything, then answer with the count of bytes, u64, little-endian. */
const SINK = 1;
/** Take everything, then answer with {@linkcode MESSAGE} bytes. */
const ANSWER = 2;
const MESSAGE = 100;
const CHUNK = 65_536;

const [role = "", ...rest] = process.argv.slice(2);
const given = parseWords(rest);
const duplex = given.get("api") === "duplex";
const request = Buffer.alloc(MESSAGE, ANSWER);
const counts = { connections: 0, open: 0 };
const held: { connection: QuicConnection; stream: RawStream | undefined }[] = [];
let stalling: NodeJS.Timeout | undefined;

const server = role === "client" ? undefined : serve();
const client = role === "server" ? undefined : dialer();
await obey(server === undefined ? "" : `127.0.0.1:${server.address.port}`, {
  bulk: (words) => bulk(number(words, "bytes")),
  requests: (words) => requests(number(words, "count"), number(words, "parallel")),
  handshakes: (words) => handshakes(number(words, "count"), number(words, "parallel")),
  hold: (words) => hold(number(words, "count"), words.get("stream") === "yes"),
  stall: (words) => stall(number(words, "block"), number(words, "every")),
  stats: () => ({ ...counts, ...usage() }),
});

// ---- serving

function serve(): QuicEndpoint {
  const tls = new TlsServerConfig({ ...identity(), clientCertificate: "require" });
  return bind({
    ...endpointOptions(),
    server: {
      configure: () => ({ tls, alpn: ALPN }),
      connection(connection) {
        counts.connections += 1;
        counts.open += 1;
        void connection.closed.then(() => {
          counts.open -= 1;
        });
        if (duplex) void answerDuplexes(connection);
        else connection.onstream = answerRaw;
      },
    },
  });
}

function answerRaw(stream: RawStream): void {
  let wanted = 0;
  let total = 0;
  stream.ondata = (data, fin) => {
    if (total === 0) wanted = data[0] ?? 0;
    total += data.length;
    if (fin) stream.end(answerTo(wanted, total));
  };
}

async function answerDuplexes(connection: QuicConnection): Promise<void> {
  for (;;) {
    const stream = await connection.accept();
    if (stream === undefined) return;
    let wanted = 0;
    let total = 0;
    stream.on("data", (data: Buffer) => {
      if (total === 0) wanted = data[0] ?? 0;
      total += data.length;
    });
    stream.on("end", () => stream.end(answerTo(wanted, total)));
    // The client counts what is missing.
    stream.on("error", () => {});
  }
}

function answerTo(wanted: number, total: number): Buffer {
  if (wanted !== SINK) return request;
  const answer = Buffer.alloc(8);
  answer.writeBigUInt64LE(BigInt(total));
  return answer;
}

// ---- dialing

interface Dialer {
  endpoint: QuicEndpoint;
  connect(): Promise<QuicConnection>;
}

function dialer(): Dialer {
  const endpoint = bind(endpointOptions());
  const certificate = new X509Certificate(readFileSync(text(given, "peer")));
  const tls = new TlsClientConfig({
    ...identity("client"),
    alpn: [ALPN],
    verify: { publicKeys: [certificate.publicKey.export({ type: "spki", format: "der" })] },
  });
  const to = server === undefined ? text(given, "to") : `127.0.0.1:${server.address.port}`;
  const [address = "", port] = to.split(":");
  const target = { address, port: Number(port), tls, serverName: "localhost" };
  return { endpoint, connect: () => endpoint.connect(target) };
}

function dial(): Promise<QuicConnection> {
  if (client === undefined) throw new Error("cannot dial: this process is a server only");
  return client.connect();
}

/** Send `bytes` on one stream of a new connection, until the server has said that it has them all. */
async function bulk(bytes: number): Promise<object> {
  const connection = await dial();
  const chunk = Buffer.alloc(CHUNK, SINK);
  const watch = stopwatch();
  const answer = duplex
    ? await bulkDuplex(await connection.open(), chunk, bytes)
    : await bulkRaw(connection.openRaw(), chunk, bytes);
  const time = watch();
  const counted = answer.readBigUInt64LE();
  if (counted !== BigInt(bytes)) throw new Error(`the server counted ${counted} of ${bytes} bytes`);
  const { mtu, lostPackets: lost, congestionWindow, rtt } = connection.stats();
  connection.close();
  return { ...time, mtu, lost, congestionWindow, rtt };
}

function bulkRaw(stream: RawStream, chunk: Buffer, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const answer: Buffer[] = [];
    stream.ondata = (data, fin) => {
      answer.push(data);
      if (fin) resolve(Buffer.concat(answer));
    };
    stream.onclose = (reason) => reject(new Error(`the connection ended: ${reason.kind}`));
    let left = bytes;
    const fill = (): void => {
      while (left > 0) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!stream.write(part)) return;
      }
      stream.ondrain = undefined;
      stream.end();
    };
    stream.ondrain = fill;
    fill();
  });
}

function bulkDuplex(stream: QuicStream, chunk: Buffer, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const answer: Buffer[] = [];
    stream.on("data", (data: Buffer) => answer.push(data));
    stream.on("end", () => resolve(Buffer.concat(answer)));
    stream.on("error", reject);
    let left = bytes;
    const fill = (): void => {
      while (left > 0) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!stream.write(part)) return;
      }
      stream.off("drain", fill);
      stream.end();
    };
    stream.on("drain", fill);
    fill();
  });
}

/** `count` requests, each on a stream of its own, `parallel` at a time, on one connection. */
async function requests(count: number, parallel: number): Promise<object> {
  const connection = await dial();
  const one = duplex ? requestDuplex : requestRaw;
  const watch = stopwatch();
  await inParallel(count, parallel, async () => {
    const length = await one(connection);
    if (length !== MESSAGE) throw new Error(`an answer of ${length} bytes, expected ${MESSAGE}`);
  });
  const time = watch();
  connection.close();
  return time;
}

function requestRaw(connection: QuicConnection): Promise<number> {
  return new Promise((resolve, reject) => {
    let length = 0;
    const stream = connection.openRaw(request, true);
    stream.ondata = (data, fin) => {
      length += data.length;
      if (fin) resolve(length);
    };
    stream.onclose = (reason) => reject(new Error(`the connection ended: ${reason.kind}`));
  });
}

async function requestDuplex(connection: QuicConnection): Promise<number> {
  const stream = await connection.open();
  return new Promise((resolve, reject) => {
    let length = 0;
    stream.on("data", (data: Buffer) => {
      length += data.length;
    });
    stream.on("end", () => resolve(length));
    stream.on("error", reject);
    stream.end(request);
  });
}

/** `count` connections, `parallel` at a time, each closed at once. */
async function handshakes(count: number, parallel: number): Promise<object> {
  const watch = stopwatch();
  await inParallel(count, parallel, async () => {
    (await dial()).close();
  });
  return watch();
}

/** Open `count` more connections, and keep them; with one open stream each, if wanted. */
async function hold(count: number, withStream: boolean): Promise<object> {
  for (let left = count; left > 0; left -= 1) {
    const connection = await dial();
    // What nobody holds is collected, and closed.
    held.push({ connection, stream: withStream ? connection.openRaw(request) : undefined });
    counts.open += 1;
    void connection.closed.then(() => {
      counts.open -= 1;
    });
  }
  return { held: held.length };
}

// ---- either

/** From now on block this thread for `block` ms in every `every`; 0: no more. */
function stall(block: number, every: number): object {
  clearInterval(stalling);
  if (block > 0) {
    stalling = setInterval(() => {
      // Busy, as a program that computes is; not asleep.
      const end = performance.now() + block;
      while (performance.now() < end);
    }, every);
  }
  return {};
}

function identity(of = "server"): { certificates: Uint8Array[]; privateKey: Uint8Array } {
  // A process that is both has the client's under names of its own.
  const prefix = role === "both" && of === "client" ? "client-" : "";
  return {
    certificates: [readFileSync(text(given, `${prefix}certificate`))],
    privateKey: readFileSync(text(given, `${prefix}key`)),
  };
}

function endpointOptions(): EndpointOptions {
  const streams = given.get("streams");
  const mtu = given.get("mtu");
  const idle = given.get("idle");
  const keepAlive = given.get("keepalive");
  const buffer = given.get("buffer");
  return {
    address: "127.0.0.1",
    ...(buffer === undefined ? {} : { socketBuffer: Number(buffer) }),
    transport: {
      ...(streams === undefined ? {} : { maxStreams: Number(streams) }),
      ...(mtu === undefined ? {} : { mtuUpperBound: Number(mtu) }),
      ...(idle === undefined ? {} : { idleTimeout: Number(idle) }),
      ...(keepAlive === undefined ? {} : { keepAlive: Number(keepAlive) }),
    },
  };
}
