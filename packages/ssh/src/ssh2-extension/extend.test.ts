import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Clock, systemClock } from "@alknet/core/clock";
import { FakeClock } from "@alknet/core/testing";
import ssh2 from "ssh2";
import { ML_KEM_EXCHANGE } from "../ml-kem-exchange.ts";
import { exec } from "../test-exec.ts";
import { HOST } from "../test-keys.ts";
import {
  ALGORITHMS,
  batchWrites,
  type ExtendedClient,
  extendSshClient,
  extendSshServer,
} from "./extend.ts";

const MiB = 2 ** 20;
const PLAIN: ssh2.KexAlgorithm[] = ["curve25519-sha256"];

test("a client and a server agree on ML-KEM, and on X25519 where one of them has no more", async () => {
  for (const [client, server, agreed] of [
    [ALGORITHMS.kex, ALGORITHMS.kex, ML_KEM_EXCHANGE],
    [PLAIN, ALGORITHMS.kex, PLAIN[0]],
    [ALGORITHMS.kex, PLAIN, PLAIN[0]],
  ] as const) {
    await using it = await connect({ clientKex: client, serverKex: server });
    assert.deepEqual(it.exchanges, [agreed]);
  }
});

test("a server's key may be looked at for a while", async () => {
  const hostVerifier = (_key: Buffer, verify: (isIt: boolean) => void) => {
    setImmediate(verify, true);
    return undefined as unknown as boolean;
  };
  await using it = await connect({ hostVerifier });
  assert.deepEqual(it.exchanges, [ML_KEM_EXCHANGE]);
  assert.equal(await text(await it.exec("hello")), "hello");
});

test("keys are changed by either side while data is under way, and nothing is lost", async () => {
  for (const rekeys of [{ clientRekeyAfter: MiB }, { serverRekeyAfter: MiB }]) {
    await using it = await connect(rekeys);
    const sent = randomBytes(8 * MiB);
    const channel = await it.exec("cat");
    channel.end(sent);
    assert.equal(sha256(await buffer(channel)), sha256(sent));
    assert.ok(it.exchanges.length > 2, `${it.exchanges.length} exchanges`);
    assert.deepEqual(new Set(it.exchanges), new Set([ML_KEM_EXCHANGE]));
  }
});

test("while keys are changed, messages that mean nothing may come, and data that should have waited", async () => {
  await using it = await connect({});
  const [here, there] = await it.forward();
  for (const [sender, from, to] of [
    [it.client, there, here],
    [it.server, here, there],
  ] as const) {
    const { _protocol: protocol } = insidesOf(sender);
    const { id } = (from as unknown as { outgoing: { id: number } }).outgoing;
    protocol.rekey();
    // IGNORE, UNIMPLEMENTED, DEBUG and CHANNEL_DATA, between KEXINIT and what follows it.
    for (const number of [2, 3, 4, 94]) {
      const packet = protocol._cipher.allocPacket(10);
      packet.fill(0, 5, 15).writeUInt8(number, 5);
      if (number === 94) packet.writeUInt8(id, 9);
      if (number === 94) packet.write("\x01x", 13, "latin1");
      protocol._cipher.encrypt(packet);
    }
    const [data] = (await once(to, "data")) as [Buffer];
    assert.equal(String(data), "x");
    assert.equal(await text(await it.exec("hello")), "hello");
  }
  assert.equal(it.exchanges.length, 3);
});

test("a change of keys that does not end, ends the connection", async () => {
  const clock = new FakeClock();
  await using it = await connect({ serverClock: clock });
  const failed = once(it.server, "error");
  // The client goes on, but answers no more.
  insidesOf(it.client)._protocol._cipher.encrypt = () => {};
  it.server.rekey();
  clock.advance(29_999);
  assert.equal(it.serverStream.writableEnded, false);
  clock.advance(1);
  assert.match(String((await failed)[0]), /keys were not exchanged/);
});

test("keys that are changed again and again, with nothing between, end the connection", async () => {
  await using it = await connect({ serverClock: new FakeClock() });
  const failed = once(it.server, "error");
  it.client.on("error", () => {});
  it.client.on("handshake", () => setImmediate(() => insidesOf(it.client)._protocol.rekey()));
  insidesOf(it.client)._protocol.rekey();
  assert.match(String((await failed)[0]), /again and again/);
  assert.ok(it.exchanges.length < 30, `${it.exchanges.length} exchanges`);
});

test("both directions of a channel wait for their reader, whoever has opened it", async () => {
  await using it = await connect({});
  const forwarded = await it.forward();
  const session = await it.exec("nothing");
  const ends = [...forwarded, session, ...it.sessions];
  assert.equal(ends.length, 4);
  for (const end of ends) {
    const written = await fill(end);
    // A window, and what a stream keeps before it says stop.
    assert.ok(written >= 2 * MiB && written <= 5 * MiB, `${written} bytes went`);
  }
});

test("little is under way to a server on a short line while somebody types on the connection", async () => {
  // Its time stands still: a round trip takes none.
  await using it = await connect({ serverClock: new FakeClock() });
  const bulk = await it.exec("nothing");
  const [reader] = it.sessions;
  assert.ok(reader !== undefined);
  const { outgoing } = bulk as unknown as { outgoing: { window: number } };
  const read = async (): Promise<number> => {
    bulk.write(Buffer.alloc(4 * MiB));
    let left = 4 * MiB;
    reader.on("data", (data: Buffer) => (left -= data.length));
    while (left > 0) await turn();
    reader.removeAllListeners("data");
    await turns(50);
    return outgoing.window;
  };
  const typing = it.extended.typing();
  const window = await read();
  assert.ok(window > 0 && window <= MiB / 2, `${window} bytes may come`);
  typing[Symbol.dispose]();
  assert.ok((await read()) > MiB / 2);
});

test("a keystroke goes past bulk that waits for the transport; a flood of them waits too", async () => {
  await using it = await connect({});
  const bulk = await it.exec("nothing");
  const typed = await it.exec("nothing");
  const [ofBulk, ofTyped] = it.sessions;
  assert.ok(ofBulk !== undefined && ofTyped !== undefined);
  bulk.resume();
  typed.resume();
  // Nobody takes from the transport any more.
  it.serverStream._write = () => {};
  it.serverStream._writev = () => {};
  await fill(ofBulk);
  const waits = it.serverStream.writableLength;
  assert.ok(waits >= MiB / 4, `${waits} bytes wait`);
  const small = await fill(ofTyped, 1_024);
  assert.ok(small > 1_024 && it.serverStream.writableLength < (3 / 4) * MiB, `${small} bytes went`);
});

test("packets are small while a peer on a long line has a server wait for small credits, and then only", async () => {
  const long = Object.assign(new FakeClock(), { time: 0, now: () => (long.time += 5) });
  for (const [serverClock, whileHeldUp] of [
    [long, 8_192],
    [new FakeClock(), 32_768],
  ] as const) {
    await using it = await connect({ serverClock });
    await it.exec("nothing");
    const [writer] = it.sessions;
    assert.ok(writer !== undefined);
    const { _protocol: protocol } = insidesOf(it.client);
    let came: number[] = [];
    // Read by nobody, and not granted again.
    protocol._handlers["CHANNEL_DATA"] = (_protocol, _id, data) =>
      void came.push((data as Buffer).length);
    const { id } = (writer as unknown as { incoming: { id: number } }).incoming;
    writer.write(Buffer.alloc(5 * MiB));
    for (const [credit, most] of [
      [0, 32_768],
      [MiB / 8, whileHeldUp],
      [MiB, 32_768],
      [MiB / 8, whileHeldUp],
      // More than is written.
      [3 * MiB, 32_768],
      [MiB / 8, 32_768],
    ] as const) {
      came = [];
      if (credit > 0) protocol.channelWindowAdjust(id, credit);
      await turns(50);
      if (came.length === 0) writer.write(Buffer.alloc(MiB / 8));
      await turns(50);
      assert.deepEqual(new Set(came), new Set([most]), `after a credit of ${credit}`);
    }
  }
});

test("what has waited comes whole, once it is read", async () => {
  await using it = await connect({});
  const [here, there] = await it.forward();
  const sent = randomBytes(8 * MiB);
  here.end(sent);
  there.end(sent);
  const got = await Promise.all([buffer(here), buffer(there)]);
  for (const each of got) assert.equal(sha256(each), sha256(sent));
});

test("a server that sends more than the client's window is left", async () => {
  await using it = await connect({});
  const [here] = await it.forward();
  const failed = once(it.client, "error");
  it.server.on("error", () => {});
  const { outgoing } = here as unknown as { outgoing: { id: number } };
  for (let sent = 0; sent < 4 * MiB; sent += 32_768) {
    insidesOf(it.server)._protocol.channelData(outgoing.id, Buffer.alloc(32_768));
  }
  assert.match(String((await failed)[0]), /more came than the window allows/);
});

test("a server writes a client's stderr beside its stdout, and the client's windows count both", async () => {
  await using it = await connect({});
  const channel = await it.exec("nothing");
  const [session] = it.sessions;
  assert.ok(session !== undefined);
  const size = 3 * MiB;
  session.stderr.end(Buffer.alloc(size, "e"));
  session.end(Buffer.alloc(size, "o"));
  const [out, error] = await Promise.all([text(channel), text(channel.stderr)]);
  assert.deepEqual([out.length, error.length], [size, size]);
});

test("requests are answered while a channel stands, also beside a program, and nothing comes behind its CLOSE", async () => {
  await using it = await connect({});
  const { _protocol: protocol } = insidesOf(it.client);
  const came: string[] = [];
  for (const name of ["CHANNEL_FAILURE", "CHANNEL_WINDOW_ADJUST", "CHANNEL_CLOSE"]) {
    const handle = protocol._handlers[name];
    assert.ok(handle !== undefined);
    protocol._handlers[name] = (...args) => {
      came.push(name);
      handle(...args);
    };
  }
  const session = await it.exec("nothing");
  const [forwarded, there] = await it.forward();
  for (const [far, near] of [
    [it.sessions[0], session],
    [forwarded, there],
  ] as const) {
    assert.ok(far !== undefined);
    const { id } = (near as unknown as { outgoing: { id: number } }).outgoing;
    came.length = 0;
    protocol.subsystem(id, "none", true);
    while (came.length < 1) await turn();
    assert.deepEqual(came, ["CHANNEL_FAILURE"]);
    for (let sent = 0; sent < 2 * MiB; sent += 32_768) {
      protocol.channelData(id, Buffer.alloc(32_768));
    }
    while (far.readableLength < 2 * MiB) await turn();
    // What has come is read, and the request is on its way, while the CLOSE is too.
    protocol.subsystem(id, "none", true);
    (far as ssh2.ServerChannel).close();
    far.on("error", () => {}).resume();
    assert.equal(await text(await it.exec("hello")), "hello");
    assert.ok(came.includes("CHANNEL_CLOSE"));
    const behind = came.slice(came.indexOf("CHANNEL_CLOSE") + 1, came.lastIndexOf("CHANNEL_CLOSE"));
    assert.deepEqual(behind, []);
  }
});

test("a channel to the client's agent is opened by openAgent(), or refused", async () => {
  await using it = await connect({});
  await assert.rejects(it.extended.openAgent(), /open failure/i);
});

/** Write to a channel whose peer does not read, until nothing goes any more. @returns bytes that went, with the last piece. */
async function fill(channel: Duplex, size: number = 64 * 1024): Promise<number> {
  let written = 0;
  const piece = Buffer.alloc(size);
  for (;;) {
    const went = new Promise<boolean>((resolve) => {
      channel.write(piece, () => resolve(true));
      // A pair in memory passes on what there is within a few turns.
      void turns(50).then(() => resolve(false));
    });
    written += piece.length;
    if (!(await went)) return written;
  }
}

async function turns(count: number): Promise<void> {
  for (let each = 0; each < count; each++) await turn();
}

interface Ends extends AsyncDisposable {
  readonly client: ssh2.Client;
  readonly server: ssh2.Connection;
  readonly serverStream: Duplex;
  readonly extended: ExtendedClient;
  /** Channels of sessions at the server's end. */
  readonly sessions: ssh2.ServerChannel[];
  /** Names of the exchanges of keys that have ended. */
  readonly exchanges: readonly string[];
  exec(command: string): Promise<ssh2.ClientChannel>;
  /** Open a channel from the server. @returns its ends, the server's first. */
  forward(): Promise<[Duplex, Duplex]>;
}

interface ConnectOptions {
  readonly clientKex?: ssh2.Algorithms["kex"];
  readonly serverKex?: ssh2.Algorithms["kex"];
  readonly clientRekeyAfter?: number;
  readonly serverRekeyAfter?: number;
  readonly serverClock?: Clock;
  readonly hostVerifier?: (key: Buffer, verify: (isIt: boolean) => void) => boolean;
}

/** A client and a server, both extended, that are logged in. `cat` is a command there; others are what it answers. */
async function connect(options: ConnectOptions): Promise<Ends> {
  const [clientStream, serverStream] = duplexPair();
  const { serverClock = systemClock, hostVerifier = () => true } = options;
  const sessions: ssh2.ServerChannel[] = [];
  let extended: ExtendedClient | undefined;
  const kex = options.serverKex ?? ALGORITHMS.kex;
  const accepted = Promise.withResolvers<ssh2.Connection>();
  const server = new ssh2.Server({
    hostKeys: [HOST.privateKey],
    algorithms: { ...ALGORITHMS, kex },
  });
  server.on("connection", (connection) => {
    const { serverRekeyAfter: rekeyAfter } = options;
    extended = extendSshServer(connection, { clock: serverClock, channels: 16, rekeyAfter });
    connection.on("authentication", (request) => request.accept());
    connection.on("request", (accept) => accept?.());
    connection.on("session", (accept) =>
      accept().on("exec", (take, _refuse, { command }) => {
        const channel = extended?.adopt(take()) as ssh2.ServerChannel;
        if (command === "cat") channel.pipe(channel);
        else if (command === "nothing") sessions.push(channel);
        else channel.end(command);
      }),
    );
    accepted.resolve(connection);
  });
  batchWrites(serverStream);
  server.injectSocket(serverStream as never);

  const client = new ssh2.Client();
  const algorithms = { ...ALGORITHMS, kex: options.clientKex ?? ALGORITHMS.kex };
  const exchanges: string[] = [];
  client.on("handshake", ({ kex: name }) => exchanges.push(name));
  client.connect({ sock: clientStream as never, username: "me", algorithms, hostVerifier });
  const { clientRekeyAfter: rekeyAfter } = options;
  extendSshClient(client, { clock: systemClock, channels: 16, rekeyAfter });
  await once(client, "ready");
  const connection = await accepted.promise;
  assert.ok(extended !== undefined);
  return {
    client,
    server: connection,
    serverStream,
    extended,
    sessions,
    exchanges,
    exec: (command) => exec(client, command),
    async forward() {
      await new Promise<void>((resolve, reject) => {
        client.forwardIn("127.0.0.1", 1, (error) =>
          error === undefined ? resolve() : reject(error),
        );
      });
      const there = new Promise<Duplex>((resolve) => {
        client.once("tcp connection", (_info, accept) => resolve(accept()));
      });
      const here = new Promise<Duplex>((resolve, reject) => {
        connection.forwardOut("127.0.0.1", 1, "127.0.0.1", 2, (error, channel) =>
          error === undefined ? resolve(channel) : reject(error),
        );
      });
      return [await here, await there];
    },
    async [Symbol.asyncDispose]() {
      client.on("error", () => {});
      connection.on("error", () => {});
      clientStream.destroy();
      serverStream.destroy();
      await turn();
    },
  };
}

/** To do what a peer of good manners does not. */
function insidesOf(connection: ssh2.Client | ssh2.Connection) {
  return connection as unknown as {
    _protocol: {
      _cipher: { allocPacket(length: number): Buffer; encrypt: (packet: Buffer) => void };
      rekey(): void;
      channelData(channel: number, data: Buffer): void;
      channelWindowAdjust(channel: number, amount: number): void;
      subsystem(channel: number, name: string, wantReply: boolean): void;
      _handlers: Record<string, ((...args: unknown[]) => void) | undefined>;
    };
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
