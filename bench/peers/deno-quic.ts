/**
 * Deno's QUIC, both ends in one process: the same commands as `quic-worker.ts` takes.
 *
 *     deno run --unstable-net -A --no-check deno-quic.ts CERTIFICATE.pem KEY.pem ROOT.pem
 *
 * Deno cannot ask for a client's certificate, nor pin a key: the server's is checked against a root,
 * and the client shows none. That is in the handshake only, which is not measured here.
 *
 * @module
 */

/** The part of Deno's unstable API that is used here, as of 2.9. */
interface BidirectionalStream {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
}
interface Connection {
  createBidirectionalStream(): Promise<BidirectionalStream>;
  incomingBidirectionalStreams: ReadableStream<BidirectionalStream>;
  close(): void;
}
declare const Deno: {
  args: string[];
  readTextFileSync(path: string): string;
  stdin: { readable: ReadableStream<Uint8Array> };
  exit(status: number): never;
  QuicEndpoint: new (options: { hostname: string; port: number }) => {
    addr: { port: number };
    listen(options: {
      cert: string;
      key: string;
      alpnProtocols: string[];
    }): AsyncIterable<{ accept(): Promise<Connection> }>;
  };
  connectQuic(options: {
    hostname: string;
    port: number;
    alpnProtocols: string[];
    caCerts: string[];
  }): Promise<Connection>;
};

const SINK = 1;
const ANSWER = 2;
const MESSAGE = 100;
const CHUNK = 65_536;
const ALPN = "alknet-bench";

const [certificate = "", key = "", root = ""] = Deno.args;
const endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 });
const listener = endpoint.listen({
  cert: Deno.readTextFileSync(certificate),
  key: Deno.readTextFileSync(key),
  alpnProtocols: [ALPN],
});
const caCerts = [Deno.readTextFileSync(root)];
void serve();
console.log(`READY 127.0.0.1:${endpoint.addr.port}`);

let rest = "";
for await (const bytes of Deno.stdin.readable) {
  const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) console.log(JSON.stringify(await command(line)));
}
Deno.exit(0);

async function command(line: string): Promise<{ seconds: number }> {
  const [name, ...words] = line.split(" ");
  const values = new Map(words.map((word) => word.split("=") as [string, string]));
  const count = Number(values.get("count") ?? values.get("bytes"));
  if (name === "bulk") return bulk(count);
  if (name === "requests") return requests(count, Number(values.get("parallel")));
  throw new RangeError(`cannot run ${JSON.stringify(line)}: expected bulk or requests`);
}

async function bulk(bytes: number): Promise<{ seconds: number }> {
  const connection = await connect();
  const chunk = new Uint8Array(CHUNK).fill(SINK);
  const begin = performance.now();
  const stream = await connection.createBidirectionalStream();
  const writer = stream.writable.getWriter();
  for (let left = bytes; left > 0; left -= CHUNK) {
    await writer.write(left < CHUNK ? chunk.subarray(0, left) : chunk);
  }
  await writer.close();
  const answer = await readAll(stream.readable);
  const seconds = (performance.now() - begin) / 1000;
  const counted = new DataView(answer.buffer).getBigUint64(0, true);
  if (counted !== BigInt(bytes)) throw new Error(`the server counted ${counted} of ${bytes} bytes`);
  connection.close();
  return { seconds };
}

async function requests(count: number, parallel: number): Promise<{ seconds: number }> {
  const connection = await connect();
  const request = new Uint8Array(MESSAGE).fill(ANSWER);
  const begin = performance.now();
  const one = async (): Promise<void> => {
    for (let left = Math.floor(count / parallel); left > 0; left -= 1) {
      const stream = await connection.createBidirectionalStream();
      const writer = stream.writable.getWriter();
      await writer.write(request);
      await writer.close();
      const answer = await readAll(stream.readable);
      if (answer.length !== MESSAGE) throw new Error(`an answer of ${answer.length} bytes`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, one));
  const seconds = (performance.now() - begin) / 1000;
  connection.close();
  return { seconds };
}

function connect(): Promise<Connection> {
  return Deno.connectQuic({
    hostname: "localhost",
    port: endpoint.addr.port,
    alpnProtocols: [ALPN],
    caCerts,
  });
}

async function serve(): Promise<void> {
  for await (const incoming of listener) {
    void incoming.accept().then(streams);
  }
}

async function streams(connection: Connection): Promise<void> {
  try {
    for await (const stream of connection.incomingBidirectionalStreams) void work(stream);
  } catch {
    // The client has closed the connection.
  }
}

async function work(stream: BidirectionalStream): Promise<void> {
  let wanted = 0;
  let total = 0;
  for await (const chunk of stream.readable) {
    if (total === 0) wanted = chunk[0] ?? 0;
    total += chunk.length;
  }
  const answer = new Uint8Array(wanted === SINK ? 8 : MESSAGE);
  if (wanted === SINK) new DataView(answer.buffer).setBigUint64(0, BigInt(total), true);
  const writer = stream.writable.getWriter();
  await writer.write(answer);
  await writer.close();
}

async function readAll(readable: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
