/**
 * Random calls on the engine's exports themselves: live, stale and invented numbers, wrong types, lengths that
 * do not fit. A worker of `quic-boundary.ts`. Any answer and any error will do, but a crash.
 *
 * @module
 */

import { parentPort, workerData } from "node:worker_threads";
import { native, Record } from "@alknet/quic/native";
import { selfSigned } from "@alknet/quic/self-signed";
import { randomOf } from "./random.ts";

const { seed, seconds } = workerData as { seed: number; seconds: number };
const random = randomOf(seed);
const collect = (globalThis as { gc?: () => void }).gc;

const identity = selfSigned();
/** An endpoint, and what it has told of. */
interface Known {
  id: number;
  port: number;
  connections: number[];
  streams: number[];
}

/** Numbers that were given out, of any kind and age. */
const numbers: number[] = [0];
let endpoints: Known[] = [];
const serverTls: number[] = [];
const clientTls: number[] = [];
let calls = 0;
let threw = 0;
let records = 0;
let connected = 0;

type Call = (...args: unknown[]) => unknown;
const exported = native as unknown as Readonly<Record<string, Call>>;

function remember(pool: number[], number: number): void {
  for (const list of [pool, numbers]) {
    list.push(number);
    // The oldest have had their chance of being used when stale.
    if (list.length > 200) list.splice(0, 50);
  }
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(16);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** Anything at all. */
function garbage(): unknown {
  return random.pick<() => unknown>([
    () => undefined,
    () => null,
    () => Number.NaN,
    () => -1,
    () => 2 ** 32,
    () => 2 ** 53,
    () => 1e308,
    () => 2n ** 70n,
    () => "text",
    () => "127.0.0.1",
    () => "\ud800",
    () => true,
    () => ({}),
    () => [],
    () => [[]],
    () => Symbol("x"),
    () => () => random.below(5),
    () => {
      throw new Error("a getter's");
    },
    () => new Uint8Array(random.below(5_000)),
    () => new Uint8Array(new SharedArrayBuffer(64)),
    () => new Float64Array(9),
    () => new DataView(new ArrayBuffer(8)),
    () => new ArrayBuffer(8),
    detached,
    () => new Uint8Array(3 * 2 ** 20),
    () => new Proxy({}, { get: () => garbage() }),
  ])?.();
}

/** One that fits, mostly. */
function from(pool: readonly number[] | undefined): number {
  if (random.oneIn(8)) return random.pick(numbers) ?? 0;
  if (random.oneIn(20)) return random.below(2 ** 31) * 2;
  return random.pick(pool ?? []) ?? 0;
}

/** An endpoint and a connection or stream of it. */
function target(of: "connections" | "streams"): [number, number] {
  const known = random.pick(endpoints);
  return [known?.id ?? 0, from(known?.[of])];
}

const anEndpoint = (): number => from(endpoints.map(({ id }) => id));
const bytes = (most: number): Buffer => random.bytes(random.below(most));
const flag = (): boolean => random.oneIn(2);
const code = (): number => random.pick([0, 1, 2 ** 31, 2 ** 62, -1, Number.NaN])!;

const SANE = {
  idleTimeout: 5_000,
  keepAlive: 100,
  handshakeTimeout: 2_000,
  maxStreams: 16,
  streamReceiveWindow: 2 ** 16,
  receiveWindow: 2 ** 18,
  sendWindow: 2 ** 16,
  initialMtu: 1_200,
  mtuUpperBound: 1_452,
  congestion: 0,
  datagramBuffer: 10_000,
};

function transport(): object {
  if (random.below(4) > 0) return SANE;
  const value = (): number => random.pick([0, 1, 1_000, 2 ** 20, 2 ** 62, -5, Number.NaN])!;
  return {
    idleTimeout: random.pick([0, 300, 2 ** 62]),
    keepAlive: value(),
    handshakeTimeout: random.pick([100, 2 ** 62]),
    maxStreams: value() > 1_000 ? 64 : value(),
    streamReceiveWindow: value(),
    receiveWindow: value(),
    sendWindow: value(),
    initialMtu: value(),
    mtuUpperBound: value(),
    congestion: random.below(5),
    datagramBuffer: value(),
  };
}

/** Arguments that make sense. */
const sensible: Readonly<Record<string, () => unknown[]>> = {
  serverTls: () => [
    {
      certificates: [identity.certificate],
      privateKey: identity.privateKey,
      clientCertificate: random.below(4),
      rawPublicKeys: flag(),
    },
  ],
  clientTls: () => [
    {
      alpn: random.oneIn(9) ? [] : [Buffer.from("a"), random.bytes(1 + random.below(200))],
      trust: random.pick([0, 3, 3, 7]),
      trusted: [identity.publicKey],
      rawPublicKeys: random.oneIn(9),
      ...(flag() ? { certificates: [identity.certificate], privateKey: identity.privateKey } : {}),
    },
  ],
  forgetServerTls: () => [from(serverTls)],
  forgetClientTls: () => [from(clientTls)],
  bind: () => [
    {
      address: random.pick(["127.0.0.1", "127.0.0.1", "::", "nowhere"]),
      port: 0,
      socketBuffer: random.pick([0, 1, 2 ** 20, 2 ** 31]),
      server: !random.oneIn(5),
      transport: transport(),
      ...(random.oneIn(3) ? { resetKey: bytes(64) } : {}),
    },
    wake,
    () => decide(random.oneIn(9) ? random.below(5) : 0),
    () => decide(from(serverTls) * 4096),
  ],
  endpointInfo: () => [anEndpoint()],
  rebind: () => [anEndpoint(), "127.0.0.1", 0, random.below(2 ** 20)],
  addressChanged: () => [anEndpoint()],
  stopAccepting: () => [random.oneIn(200) ? anEndpoint() : 0],
  setReferenced: () => [anEndpoint(), flag()],
  closeAll: () => [random.oneIn(100) ? anEndpoint() : 0, code(), bytes(3_000)],
  destroy: () => [anEndpoint()],
  flush: () => [anEndpoint()],
  drain: () => [anEndpoint(), ...slabs()],
  takeFailure: () => [anEndpoint()],
  dropHandshake: () => [anEndpoint(), random.below(100)],
  connect: () => [
    anEndpoint(),
    from(clientTls),
    random.pick(["127.0.0.1", "127.0.0.1", "::1", "0.0.0.0"]),
    random.pick(endpoints)?.port ?? 9,
    random.pick([undefined, "name.test", "127.0.0.1", ""]),
    transport(),
  ],
  connectionInfo: () => target("connections"),
  closeReason: () => target("connections"),
  streamIds: () => target("connections"),
  close: () => [...target("connections"), code(), bytes(3_000)],
  dropConnection: () => target("connections"),
  release: () => target("connections"),
  statistics: () => target("connections"),
  exportKeyingMaterial: () => [
    ...target("connections"),
    bytes(300),
    bytes(300),
    random.below(10_000),
  ],
  setLimits: () => [...target("connections"), code(), code(), code()],
  sendDatagram: () => [...target("connections"), bytes(3_000)],
  maxDatagram: () => target("connections"),
  flushStreams: () => target("connections"),
  open: () => [...target("connections"), flag(), bytes(30_000), flag()],
  write: () => [...target("streams"), bytes(random.oneIn(10) ? 3_000_000 : 9_000), random.oneIn(3)],
  reset: () => [...target("streams"), code()],
  stop: () => [...target("streams"), code()],
  flow: () => [...target("streams"), flag()],
  watch: () => target("streams"),
  panicInCall: () => [anEndpoint()],
  panicInConnection: () => [...target("connections"), flag()],
};

function slabs(): unknown[] {
  const header = new Uint32Array(random.pick([0, 3, 4, 4, 4, 9])!);
  if (header.length > 2 && random.oneIn(4)) {
    header[1] = random.below(100_000);
    header[2] = random.below(100_000);
  }
  const large = Buffer.alloc(random.pick([0, 1_000, 9_000, 70_000, 262_144])!);
  const small = random.oneIn(9) ? large : Buffer.alloc(random.pick([0, 100, 4_096, 65_536])!);
  return [header, new Uint32Array(random.pick([0, 7, 8, 100, 4_096])!), large, small];
}

/** What `admit` and `configure` answer. */
function decide(usual: number): number {
  if (random.oneIn(10)) operate();
  if (random.oneIn(12)) return garbage() as number;
  return usual;
}

const header = new Uint32Array(4);
const batch = new Uint32Array(400);
const large = Buffer.alloc(70_000);
const small = Buffer.alloc(9_000);

function wake(): void {
  for (const known of endpoints) {
    if (random.oneIn(8)) operate();
    header.fill(0);
    try {
      native.drain(known.id, header, batch, large, small);
    } catch {
      continue;
    }
    for (let at = 0; at < header[0]! * 4; at += 4) {
      records++;
      const [kind, id, stream] = [batch[at]!, batch[at + 1]!, batch[at + 2]!];
      if (kind === Record.CONNECTED) {
        connected++;
        remember(known.connections, id);
      } else if (kind === Record.OPENED) {
        remember(known.streams, stream);
      }
    }
  }
}

const names = Object.keys(exported).filter((name) => typeof exported[name] === "function");
/** Calls that end much, or write to stderr. */
const rare: Readonly<Record<string, number>> = {
  bind: 3,
  destroy: 40,
  close: 4,
  dropConnection: 10,
  release: 4,
  forgetServerTls: 5,
  forgetClientTls: 5,
  rebind: 30,
  panicInCall: 100,
  panicInConnection: 100,
};

function operate(): void {
  const name = random.pick(names)!;
  if (!random.oneIn(rare[name] ?? 1) || (name === "bind" && endpoints.length > 6)) return;
  calls++;
  try {
    const made = sensible[name];
    const args =
      made !== undefined && random.below(8) > 0
        ? made()
        : Array.from({ length: random.below(7) }, () => (flag() ? anEndpoint() : garbage()));
    if (random.oneIn(12)) args[random.below(args.length + 1)] = garbage();
    keep(name, args, exported[name]!(...args));
  } catch {
    threw++;
  }
}

function keep(name: string, args: unknown[], answer: unknown): void {
  const known = endpoints.find(({ id }) => id === args[0]);
  if (name === "rebind" && known !== undefined) known.port = native.endpointInfo(known.id).port;
  if (typeof answer !== "number") return;
  if (name === "serverTls") remember(serverTls, answer);
  else if (name === "clientTls") remember(clientTls, answer);
  else if (name === "connect" && known !== undefined) remember(known.connections, answer);
  else if (name === "open" && known !== undefined && answer > 0) {
    remember(known.streams, answer % 2 ** 32);
  } else if (name === "bind") {
    const { port } = native.endpointInfo(answer);
    endpoints.push({ id: answer, port, connections: [], streams: [] });
  }
}

const end = performance.now() + seconds * 1_000;
let rounds = 0;
while (performance.now() < end) {
  const until = Math.min(end, performance.now() + 3_000);
  while (performance.now() < until) {
    for (let count = random.below(60); count > 0; count--) operate();
    await new Promise((resolve) => setImmediate(resolve));
    if (random.oneIn(40)) collect?.();
  }
  for (const { id } of endpoints) native.destroy(id);
  endpoints = [];
  for (const id of serverTls.splice(0)) native.forgetServerTls(id);
  for (const id of clientTls.splice(0)) native.forgetClientTls(id);
  collect?.();
  rounds++;
}
const done = { kind: "raw", rounds, calls, threw, records, connected };
parentPort?.postMessage({ seed, done });
