/**
 * Handshakes that are forged well, in packets that anybody could have written, and malformed inside: each ends with
 * the right error or in silence, and costs nobody anything.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { ping, pingHandler } from "@alknet/core/ping";
import { dialerOf, type Site, site, until } from "./attack.ts";
import { captureHello, captureInitials } from "./captured.ts";
import { type Forger, forge } from "./forger.ts";
import {
  cryptoFrame,
  type InitialFrames,
  openClientInitial,
  openServerInitials,
  readFrames,
  sealInitial,
} from "./initial-packet.ts";

/** Milliseconds. */
const HANDSHAKE = 1_500;
const VICTIM = "127.0.0.78";

/** Most of a ClientHello that fits a packet with room to spare. */
const PIECE = 1_000;

/** RFC 9000 §20.1; from 0x100 on TLS alerts (RFC 9001 §4.8). */
const FRAME_ENCODING_ERROR = 0x07;
const PROTOCOL_VIOLATION = 0x0a;
const CRYPTO_BUFFER_EXCEEDED = 0x0d;
const UNEXPECTED_MESSAGE = 0x10a;
const DECODE_ERROR = 0x132;
const PROTOCOL_VERSION = 0x146;
const MISSING_EXTENSION = 0x16d;
const NO_APPLICATION_PROTOCOL = 0x178;
const ILLEGAL_PARAMETER = 0x12f;

/** Extensions (RFC 8446 §4.2), and one that nobody knows. */
const SNI = 0;
const ALPN = 16;
const UNKNOWN = 0x7777;
const NAME = "den.example";

/** A ClientHello that a node would answer, and the id that it says its client has. */
interface RealHello {
  readonly bytes: Buffer;
  readonly source: Buffer;
}

interface Case {
  /** Payloads of the Initial packets that are sent, in this order. */
  readonly payloads: (hello: RealHello) => readonly Buffer[];
  /** Code of the CONNECTION_CLOSE that comes back; "answer": a ServerHello; "silence": none, until its time is over. */
  readonly wanted: readonly number[] | "answer" | "silence";
}

const one = (data: Buffer): readonly Buffer[] => [cryptoFrame(0, data)];
/** Change one place of a ClientHello. */
const bent = (hello: RealHello, bend: (bytes: Buffer) => void): Buffer => {
  const bytes = Buffer.from(hello.bytes);
  bend(bytes);
  return bytes;
};
const pieces = (data: Buffer, length = PIECE): Buffer[] =>
  Array.from({ length: Math.ceil(data.length / length) }, (_, i) =>
    cryptoFrame(i * length, data.subarray(i * length, (i + 1) * length)),
  );
/** Where a ClientHello has its session id's length (RFC 8446 §4.1.2). */
const SESSION_ID = 4 + 2 + 32;
const tcpHello = await captureHello();
const tls12Hello = await captureHello({ maxVersion: "TLSv1.2" });
/** Without the header of the record. */
const RECORD = 5;

const cases: Record<string, Case> = {
  "garbage for a ClientHello": {
    payloads: () => one(Buffer.concat([Buffer.from([0xff]), randomBytes(600)])),
    wanted: [UNEXPECTED_MESSAGE],
  },
  "zeros for a ClientHello": {
    payloads: () => one(Buffer.alloc(600)),
    wanted: [UNEXPECTED_MESSAGE],
  },
  "a ServerHello for a ClientHello": {
    payloads: (hello) => pieces(bent(hello, (bytes) => (bytes[0] = 2))),
    wanted: [UNEXPECTED_MESSAGE],
  },
  "a ClientHello of garbage, with the right length": {
    payloads: () => one(Buffer.concat([Buffer.from([1, 0, 2, 0]), Buffer.alloc(512, 0xff)])),
    wanted: [DECODE_ERROR],
  },
  "an empty ClientHello": {
    payloads: () => one(Buffer.from([1, 0, 0, 0])),
    wanted: [DECODE_ERROR],
  },
  "a truncated ClientHello": {
    payloads: ({ bytes }) => pieces(bytes.subarray(0, -1)),
    wanted: "silence",
  },
  "one byte of a ClientHello": {
    payloads: ({ bytes }) => one(bytes.subarray(0, 1)),
    wanted: "silence",
  },
  "a ClientHello that ends before the length of what is in it": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.writeUIntBE(bytes.length - 4 - 7, 1, 3)).subarray(0, -7)),
    wanted: [DECODE_ERROR],
  },
  "a session id longer than the message": {
    payloads: (hello) => {
      const bytes = bent(hello, () => {}).subarray(0, 200);
      bytes.writeUIntBE(bytes.length - 4, 1, 3);
      bytes[SESSION_ID] = 255;
      return one(bytes);
    },
    wanted: [DECODE_ERROR],
  },
  "cipher suites longer than the message": {
    payloads: (hello) =>
      pieces(
        bent(hello, (bytes) =>
          bytes.writeUInt16BE(0xfffe, SESSION_ID + 1 + bytes.readUInt8(SESSION_ID)),
        ),
      ),
    wanted: [DECODE_ERROR],
  },
  "extensions longer than the message": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.writeUInt16BE(0xffff, extensionsAt(bytes)))),
    wanted: [DECODE_ERROR],
  },
  "an extension longer than all of them": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.writeUInt16BE(0xffff, extensionsAt(bytes) + 2 + 2))),
    wanted: [DECODE_ERROR],
  },
  "a ClientHello that says it is 16 MiB": {
    payloads: (hello) => pieces(bent(hello, (bytes) => bytes.writeUIntBE(0xffffff, 1, 3))),
    wanted: [DECODE_ERROR],
  },
  "a ClientHello of 20,000 bytes, in order": {
    payloads: (hello) => {
      const bytes = Buffer.concat([hello.bytes], 20_000);
      bytes.writeUIntBE(bytes.length - 4, 1, 3);
      return pieces(bytes);
    },
    wanted: [DECODE_ERROR],
  },
  "CRYPTO data 1 MiB ahead": {
    payloads: () => [cryptoFrame(2 ** 20, randomBytes(100))],
    wanted: [CRYPTO_BUFFER_EXCEEDED],
  },
  "CRYPTO data at the largest offset that there is": {
    payloads: () => [Buffer.concat([Buffer.from([6]), Buffer.alloc(8, 0xff), Buffer.from([1, 0])])],
    wanted: [CRYPTO_BUFFER_EXCEEDED, FRAME_ENCODING_ERROR],
  },
  "a CRYPTO frame longer than its packet": {
    payloads: ({ bytes }) => [cryptoFrame(0, bytes.subarray(0, PIECE), 16_000)],
    wanted: [FRAME_ENCODING_ERROR],
  },
  "data of a stream in an Initial packet": {
    payloads: () => [Buffer.from([0x0a, 0, 3, 1, 2, 3])],
    wanted: [PROTOCOL_VIOLATION],
  },
  "frames that nobody knows": {
    payloads: () => [Buffer.from([0x3f, 1, 2, 3])],
    wanted: [FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION],
  },
  "no frame but PADDING": { payloads: () => [Buffer.alloc(1)], wanted: "silence" },
  "a ClientHello of TLS over TCP": {
    payloads: () => pieces(tcpHello.subarray(RECORD)),
    wanted: [MISSING_EXTENSION],
  },
  "a ClientHello of TLS 1.2": {
    payloads: () => pieces(tls12Hello.subarray(RECORD)),
    wanted: [PROTOCOL_VERSION],
  },
  "a ClientHello with no ALPN at all": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.writeUInt16BE(UNKNOWN, extensionOf(bytes, ALPN)))),
    wanted: [NO_APPLICATION_PROTOCOL],
  },
  "an ALPN that nobody serves": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.write("nobody", bytes.indexOf("alknet/ping")))),
    wanted: [NO_APPLICATION_PROTOCOL],
  },
  "garbage for a server name": {
    payloads: (hello) =>
      pieces(
        bent(hello, (bytes) => bytes.fill(0xfe, bytes.indexOf(NAME), bytes.indexOf(NAME) + 8)),
      ),
    wanted: [ILLEGAL_PARAMETER, DECODE_ERROR],
  },
  "a server name with lengths that lie": {
    payloads: (hello) =>
      pieces(bent(hello, (bytes) => bytes.writeUInt16BE(0x7fff, extensionOf(bytes, SNI) + 4))),
    wanted: [DECODE_ERROR],
  },
  "a good ClientHello in pieces, out of order": {
    payloads: ({ bytes }) => {
      const parts = pieces(bytes, 300);
      return [
        ...parts.filter((_, i) => i % 2 === 1).reverse(),
        ...parts.filter((_, i) => i % 2 === 0),
      ];
    },
    wanted: "answer",
  },
  "a good ClientHello in pieces that overlap and come again": {
    payloads: ({ bytes }) => {
      const parts = [600, 0, 300, 900, 0, 1_200, 500].map((at) =>
        cryptoFrame(at, bytes.subarray(at, at + 700)),
      );
      return [...parts, ...pieces(bytes, 500)];
    },
    wanted: "answer",
  },
  "a good ClientHello and garbage after it": {
    payloads: ({ bytes }) => [...pieces(bytes), cryptoFrame(bytes.length, randomBytes(500))],
    wanted: [PROTOCOL_VIOLATION],
  },
};

test("a forged handshake that is malformed gets the right error or none, and a peer gets in right after", async (t) => {
  await using place = await site({ handlers: [pingHandler()], handshakeTimeout: HANDSHAKE });
  for (const [name, { payloads, wanted }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      using forger = await forge(VICTIM);
      const sent = await attempt(forger, place, payloads);
      const seen = (): Seen => framesOf(forger, sent.destination);
      if (wanted === "answer") {
        await until(() => seen().message !== undefined, seen);
        const SERVER_HELLO = 2;
        assert.deepEqual(seen(), { close: undefined, message: SERVER_HELLO });
      } else if (wanted === "silence") {
        assert.deepEqual(seen(), { close: undefined, message: undefined });
      } else {
        await until(() => seen().close !== undefined, seen);
        assert.ok(wanted.includes(seen().close!), JSON.stringify(seen()));
      }
      await enters(place);
      assert.equal(place.node.limits.penalty(VICTIM), 0);
      // What the node repeats, it has given up then.
      await until(
        () => place.node.limits.stats().pending === 0,
        () => place.node.limits.stats(),
      );
      await forger.echo(place.port);
      const look = JSON.stringify(seen());
      t.diagnostic(`${sent.bytes} bytes sent, ${forger.received} came back: ${look}`);
      assert.ok(forger.received <= 3 * sent.bytes, `${forger.received} bytes for ${sent.bytes}`);
    });
  }
  const failed = place.events.filter((event) => event.kind === "handshake failed");
  assert.ok(failed.every((event) => event.remoteAddress === VICTIM));
  // Some are two: what follows a first packet that is no ClientHello begins another.
  assert.ok(failed.length >= Object.keys(cases).length, JSON.stringify(failed));
});

test("malformed handshakes by the hundred earn no penalty for whom they name", async () => {
  await using place = await site({ handlers: [pingHandler()], handshakeTimeout: HANDSHAKE });
  using forger = await forge(VICTIM);
  for (let round = 0; round < 10; round++) {
    for (const { payloads, wanted } of Object.values(cases)) {
      // Those would be asked to prove their address, once many are pending.
      if (wanted !== "answer" && wanted !== "silence") await attempt(forger, place, payloads);
    }
  }
  const failed = place.events.filter(({ kind }) => kind === "handshake failed");
  assert.ok(failed.length >= 100, `only ${failed.length} have failed`);
  assert.equal(place.node.limits.penalty(VICTIM), 0);
  await enters(place);
});

test("any bytes for a ClientHello, however they are cut, end one handshake at most", async () => {
  await using place = await site({ handlers: [pingHandler()], handshakeTimeout: HANDSHAKE });
  using forger = await forge(VICTIM);
  for (let i = 0; i < 300; i++) {
    await attempt(forger, place, (hello) => {
      const bytes = Buffer.from(hello.bytes);
      // One to eight places of a ClientHello that is good otherwise; the first four are its length.
      for (let places = 1 + (i % 8); places > 0; places--) {
        randomBytes(1).copy(
          bytes,
          randomBytes(4).readUInt32BE() % (i % 3 === 0 ? 64 : bytes.length),
        );
      }
      const cut = bytes.subarray(
        0,
        i % 5 === 0 ? randomBytes(4).readUInt32BE() % bytes.length : undefined,
      );
      return pieces(cut, 100 + (randomBytes(2).readUInt16BE() % 900));
    });
  }
  assert.equal(place.node.limits.penalty(VICTIM), 0);
  await enters(place);
  await until(
    () => place.node.limits.stats().pending === 0,
    () => place.node.limits.stats(),
  );
});

/** Send one forged handshake; back when the node has dealt with it. */
async function attempt(
  forger: Forger,
  { port }: Site,
  payloads: Case["payloads"],
): Promise<{ destination: Buffer; bytes: number }> {
  const hello = await realHello();
  const destination = randomBytes(8);
  const { source } = hello;
  const datagrams = payloads(hello).map((payload, number) =>
    sealInitial({ destination, source, number, payload }),
  );
  const bytes = await forger.send(port, datagrams);
  await forger.echo(port);
  return { destination, bytes };
}

/** From the packets of a client, whose keys are anybody's. */
async function realHello(): Promise<RealHello> {
  const initials = (await captureInitials(2, NAME)).map((datagram) => openClientInitial(datagram));
  const frames = initials.flatMap(({ payload }) => readFrames(payload).crypto);
  const inOrder = frames.toSorted((a, b) => a.offset - b.offset);
  return { bytes: Buffer.concat(inOrder.map(({ data }) => data)), source: initials[0]!.source };
}

/** Where the length of the extensions is. */
function extensionsAt(hello: Buffer): number {
  let at = SESSION_ID + 1 + hello.readUInt8(SESSION_ID);
  at += 2 + hello.readUInt16BE(at);
  return at + 1 + hello.readUInt8(at);
}

/** Where the extension of this type begins. */
function extensionOf(hello: Buffer, type: number): number {
  let at = extensionsAt(hello) + 2;
  while (hello.readUInt16BE(at) !== type) at += 4 + hello.readUInt16BE(at + 2);
  return at;
}

/** What came back: the code of a close, the type of the first handshake message. */
interface Seen {
  readonly close: number | undefined;
  readonly message: number | undefined;
}

function framesOf({ datagrams }: Forger, destination: Buffer): Seen {
  const frames: InitialFrames[] = datagrams
    .flatMap((datagram) => openServerInitials(datagram, destination))
    .map((payload) => readFrames(payload));
  const first = frames.flatMap(({ crypto }) => crypto).find(({ offset }) => offset === 0);
  return { close: frames.find(({ close }) => close !== undefined)?.close, message: first?.data[0] };
}

async function enters({ peer, target }: Site): Promise<void> {
  await using owner = dialerOf(peer, VICTIM);
  const connection = await owner.dial(target, "alknet/ping", { transports: ["quic"] });
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  await connection.close();
}
