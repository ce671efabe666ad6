import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import * as fc from "fast-check";
import {
  MAX_CLIENT_HELLO,
  MAX_CLIENT_HELLO_BYTES,
  MAX_CLIENT_HELLO_RECORDS,
  readClientHello,
} from "./client-hello.ts";

interface Extension {
  type: number;
  data: Uint8Array;
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const u24 = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
const vector16 = (...parts: Uint8Array[]): Buffer => {
  const data = Buffer.concat(parts);
  return Buffer.concat([u16(data.length), data]);
};
const vector8 = (data: Uint8Array): Buffer => Buffer.concat([Buffer.from([data.length]), data]);

function alpnExtension(names: readonly string[]): Extension {
  return { type: 16, data: vector16(...names.map((name) => vector8(Buffer.from(name, "latin1")))) };
}

function nameExtension(name: string): Extension {
  return { type: 0, data: vector16(Buffer.from([0]), vector16(Buffer.from(name, "latin1"))) };
}

/** The handshake message, without records. */
function clientHello(extensions: readonly Extension[] | undefined): Buffer {
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    vector8(Buffer.alloc(32, 9)),
    vector16(u16(0x1a1a), u16(0x1301), u16(0x1302)),
    vector8(Buffer.from([0])),
    ...(extensions === undefined
      ? []
      : [vector16(...extensions.flatMap(({ type, data }) => [u16(type), vector16(data)]))]),
  ]);
  return Buffer.concat([Buffer.from([1]), u24(body.length), body]);
}

/** `message` in records of at most `sizes[i]` bytes, the last size again and again. */
function records(message: Uint8Array, sizes: readonly number[] = [16_384]): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0, i = 0; at < message.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)]!;
    const part = message.subarray(at, at + size);
    parts.push(Buffer.from([22, 3, 1]), vector16(part));
    at += part.length;
  }
  return Buffer.concat(parts);
}

const extension = fc.record({
  type: fc.integer({ min: 17, max: 0xffff }),
  data: fc.uint8Array({ maxLength: 1_300 }),
});
const alpnName = fc
  .uint8Array({ minLength: 1, maxLength: 255 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));
const hello = fc
  .record({
    before: fc.uniqueArray(extension, { maxLength: 6, selector: ({ type }) => type }),
    alpn: fc.array(alpnName, { minLength: 1, maxLength: 5 }),
    name: fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,60}$/),
  })
  .map(({ before, alpn, name }) => ({
    alpn,
    name,
    message: clientHello([...before, alpnExtension(alpn), nameExtension(name)]),
  }));

test("readClientHello() finds the ALPNs and the name, however the message is cut into records", () => {
  fc.assert(
    fc.property(
      hello,
      fc.array(fc.integer({ min: 100, max: 2_000 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 5 }),
      (sent, sizes, first) => {
        const bytes = records(sent.message, [first, ...sizes]);
        assert.deepEqual(readClientHello(bytes), {
          kind: "hello",
          alpn: sent.alpn,
          serverName: sent.name,
        });
      },
    ),
  );
});

test("readClientHello() waits at every cut, and never asks for more than there is", () => {
  const message = clientHello([
    { type: 0x0a0a, data: Buffer.alloc(0) },
    { type: 0xfe0d, data: Buffer.alloc(282, 1) },
    { type: 51, data: Buffer.alloc(1_263, 2) },
    alpnExtension(["alknet/tunnel"]),
    nameExtension("Node.Example"),
    { type: 0xdada, data: Buffer.from([0]) },
  ]);
  for (const sizes of [[16_384], [1, 2, 700], [3, 1, 1, 40], [600]]) {
    const bytes = records(message, sizes);
    for (let length = 0; length < bytes.length; length++) {
      const result = readClientHello(bytes.subarray(0, length));
      assert.ok(result.kind === "incomplete", `cut at ${length}: ${result.kind}`);
      assert.ok(result.need > length && result.need <= bytes.length, `cut at ${length}`);
    }
    assert.deepEqual(readClientHello(bytes), {
      kind: "hello",
      alpn: ["alknet/tunnel"],
      serverName: "node.example",
    });
  }
});

test("readClientHello() is asked at most twice a record by a caller that heeds `need`", () => {
  const message = clientHello([{ type: 21, data: Buffer.alloc(12_000) }, alpnExtension(["h2"])]);
  const sizes = [1, 1, 1, 1, 100];
  const bytes = records(message, sizes);
  let calls = 0;
  let need = 1;
  for (let length = 0; length <= bytes.length; length++) {
    if (length < need) continue;
    calls++;
    const result = readClientHello(bytes.subarray(0, length));
    if (result.kind === "hello") break;
    assert.ok(result.kind === "incomplete");
    need = result.need;
  }
  // One record's header and body each, and the message's header once.
  assert.ok(calls <= 2 * 126 + 2, `${calls} calls`);
});

test("readClientHello() takes what node:tls sends, X25519MLKEM768 and all", async () => {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const accepted = once(server, "connection") as Promise<[net.Socket]>;
  const client = tls.connect({
    port,
    host: "127.0.0.1",
    servername: "node.example",
    ALPNProtocols: ["alknet/ping", "http/1.1"],
  });
  client.on("error", () => {});
  const [socket] = await accepted;
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    const result = readClientHello(bytes);
    if (result.kind === "incomplete") continue;
    assert.deepEqual(result, {
      kind: "hello",
      alpn: ["alknet/ping", "http/1.1"],
      serverName: "node.example",
    });
    break;
  }
  client.destroy();
  server.close();
  await once(server, "close");
  assert.ok(bytes.length > 1_200, "a post-quantum key share was offered");
});

test("readClientHello() takes a TLS 1.2 hello without extensions, and one without ALPN or name", () => {
  const nothing = { kind: "hello", alpn: [], serverName: undefined };
  assert.deepEqual(readClientHello(records(clientHello(undefined))), nothing);
  assert.deepEqual(readClientHello(records(clientHello([]))), nothing);
});

test("readClientHello() drops a server name that is no host name", () => {
  for (const name of ["", "a b", "\0", "é", "../x", "<script>", "[::1]", "a".repeat(254), "-a"]) {
    const result = readClientHello(records(clientHello([nameExtension(name)])));
    assert.deepEqual(result, { kind: "hello", alpn: [], serverName: undefined }, name);
  }
});

test("readClientHello() refuses what no ClientHello begins with, at the first byte that tells", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "SSH-2.0-OpenSSH\r\n",
    "\x80\x2e\x01",
    "\x16\x02",
    "\x15\x03\x01",
  ]) {
    for (let length = 1; length <= text.length; length++) {
      const result = readClientHello(Buffer.from(text.slice(0, length), "latin1"));
      if (length > 1) assert.equal(result.kind, "malformed", text.slice(0, length));
    }
  }
  assert.equal(readClientHello(Buffer.from("GET")).kind, "malformed");
  // A ServerHello where a ClientHello should be.
  assert.equal(readClientHello(Buffer.from([22, 3, 1, 0, 80, 2])).kind, "malformed");
});

test("readClientHello() refuses lengths that lie", () => {
  const base = clientHello([alpnExtension(["h2"]), nameExtension("a.example")]);
  const reasons = new Set<string>();
  // Every byte of the body, made larger and smaller: each answer is an answer, and none is a crash.
  for (let at = 4 + 34; at < base.length; at++) {
    for (const value of [0, 1, 127, 254, 255]) {
      const message = Buffer.from(base);
      message[at] = value;
      const result = readClientHello(records(message));
      assert.notEqual(result.kind, "incomplete");
      if (result.kind === "malformed") reasons.add(result.reason);
    }
  }
  for (const reason of [
    "ClientHello cut short",
    "bad list of cipher suites",
    "no compression method",
    "extensions of a wrong length",
    "extension cut short",
    "bad ALPN extension",
    "bad server name extension",
  ]) {
    assert.ok(reasons.has(reason), `nothing was refused for: ${reason}`);
  }
  for (const data of [[], [0], [0, 0], [0, 1, 0], [0, 3, 2, 104], [0, 2, 1, 104, 9]]) {
    const bytes = records(clientHello([{ type: 16, data: Buffer.from(data) }]));
    assert.deepEqual(readClientHello(bytes), { kind: "malformed", reason: "bad ALPN extension" });
  }
  const twice = records(clientHello([alpnExtension(["h2"]), alpnExtension(["h3"])]));
  assert.deepEqual(readClientHello(twice), {
    kind: "malformed",
    reason: "extension sent twice",
  });
});

test("readClientHello() bounds the message, its records, and the names in it", () => {
  const filler = (length: number): Extension => ({ type: 21, data: Buffer.alloc(length) });
  const overhead = clientHello([filler(0)]).length - 4;
  // All the extensions that the lists' 16-bit lengths let through.
  const large = clientHello([filler(65_531 - 100), alpnExtension(["h2"])]);
  assert.equal(readClientHello(records(large)).kind, "hello");
  assert.ok(large.length < MAX_CLIENT_HELLO && overhead < 200);

  const long = Buffer.concat([Buffer.from([1]), u24(MAX_CLIENT_HELLO + 1)]);
  assert.deepEqual(readClientHello(records(long)), {
    kind: "malformed",
    reason: "ClientHello too long",
  });

  const small = clientHello([alpnExtension(["h2"])]);
  const shreds = records(Buffer.concat([small, Buffer.alloc(500)]).subarray(0, 500), [1]);
  assert.ok(small.length < MAX_CLIENT_HELLO_RECORDS, "fits, a byte a record");
  assert.equal(readClientHello(shreds).kind, "hello");
  const shredded = records(clientHello([filler(MAX_CLIENT_HELLO_RECORDS)]), [1]);
  assert.deepEqual(readClientHello(shredded), { kind: "malformed", reason: "too many records" });

  const names = Array.from({ length: 129 }, (_, i) => `n${i}`);
  assert.equal(readClientHello(records(clientHello([alpnExtension(names)]))).kind, "malformed");
  assert.equal(
    readClientHello(records(clientHello([alpnExtension(names.slice(1))]))).kind,
    "hello",
  );

  for (const length of [0, 16_385, 65_535]) {
    const bytes = Buffer.concat([Buffer.from([22, 3, 1]), u16(length)]);
    assert.deepEqual(readClientHello(bytes), {
      kind: "malformed",
      reason: "record length out of bounds",
    });
  }
});

test("readClientHello() answers random and mutated bytes, and never wants more than its bound", () => {
  const start = fc.constantFrom([], [22], [22, 3, 1], [22, 3, 1, 1, 0, 1, 0]);
  const random = fc
    .tuple(start, fc.uint8Array({ maxLength: 600 }))
    .map(([front, rest]) => Buffer.concat([Buffer.from(front), rest]));
  const mutated = fc
    .tuple(hello, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }))
    .map(([sent, changes]) => {
      const bytes = records(sent.message, [800]);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(random, mutated), (bytes) => {
      const result = readClientHello(bytes);
      if (result.kind !== "incomplete") return;
      assert.ok(result.need > bytes.length);
      assert.ok(result.need <= MAX_CLIENT_HELLO_BYTES);
    }),
    { numRuns: 2_000 },
  );
});
