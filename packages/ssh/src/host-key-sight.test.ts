import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hostKeySight, MAX_SEEN, type Sight } from "./host-key-sight.ts";

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const blobOf = (publicKey: Uint8Array): Buffer =>
  Buffer.concat([string("ssh-ed25519"), string(publicKey)]);

function string(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as Uint8Array);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function packet(type: number, body: Uint8Array = Buffer.alloc(0), more = 0): Buffer {
  const padding = 4 + ((8 - ((4 + 1 + 1 + body.length + 4) % 8)) % 8) + 8 * more;
  const head = Buffer.alloc(6);
  head.writeUInt32BE(1 + 1 + body.length + padding);
  head[4] = padding;
  head[5] = type;
  return Buffer.concat([head, body, Buffer.alloc(padding, 0xaa)]);
}

const kexinit = (body: Uint8Array): Buffer => packet(20, body);
const reply = (hostKey: Uint8Array): Buffer =>
  packet(31, Buffer.concat([string(hostKey), string(Buffer.alloc(32, 1)), string("signature")]));

/** What is seen of `pieces`, and after which of them. */
function look(pieces: readonly Uint8Array[]): { sight: Sight; after: number } {
  const push = hostKeySight();
  let sight: Sight = { kind: "looking" };
  for (const [index, piece] of pieces.entries()) {
    sight = push(piece);
    if (sight.kind !== "looking") return { sight, after: index };
  }
  return { sight, after: pieces.length };
}

/** `bytes` cut at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((each) => each % bytes.length)), bytes.length];
  const sorted = ends.toSorted((a, b) => a - b);
  return sorted.map((end, index) => bytes.subarray(sorted[index - 1] ?? 0, end));
}

const BEFORE = [
  Buffer.from("hello\r\nthere\r\nSSH-2.0-x\r\n"),
  packet(2),
  packet(4, Buffer.from("x")),
];

test("hostKeySight() sees the key in whatever pieces it comes, and not before its packet is whole", () => {
  const kex = fc.uint8Array({ maxLength: 3_000 });
  fc.assert(
    fc.property(key, kex, fc.array(fc.nat(5_000)), (publicKey, body, places) => {
      const blob = blobOf(publicKey);
      const bytes = Buffer.concat([...BEFORE, kexinit(body), packet(3), reply(blob)]);
      const { sight, after } = look([...cut(bytes, places), Buffer.from("more")]);
      assert.deepEqual(sight, { kind: "seen", hostKey: Uint8Array.from(blob) });
      assert.equal(after, cut(bytes, places).length - 1);
    }),
  );
});

test("hostKeySight() sees the key byte by byte", () => {
  const blob = blobOf(new Uint8Array(32).fill(9));
  const bytes = Buffer.concat([...BEFORE, kexinit(Buffer.alloc(1_000)), reply(blob)]);
  assert.equal(look([...bytes].map((each) => Uint8Array.of(each))).sight.kind, "seen");
});

test("hostKeySight() gives up where there is none: another key, NEWKEYS first, no SSH, too much", () => {
  const hello = Buffer.from("SSH-2.0-x\r\n");
  const init = kexinit(Buffer.alloc(100));
  const blob = blobOf(new Uint8Array(32));
  const lost = (...parts: readonly Uint8Array[]): string => {
    const { sight } = look([Buffer.concat(parts)]);
    return sight.kind === "lost" ? sight.reason : sight.kind;
  };
  assert.match(lost(hello, init, reply(string("ssh-rsa"))), /not an Ed25519 key/);
  assert.match(lost(hello, init, reply(Buffer.concat([blob, string("")]))), /not an Ed25519 key/);
  assert.match(lost(hello, init, packet(31)), /not an Ed25519 key/);
  assert.match(lost(hello, init, packet(21)), /without one/);
  assert.match(lost(hello, reply(blob)), /message 31 has come before one/);
  assert.match(lost(hello, init, init), /message 20/);
  assert.match(lost(hello, packet(1)), /message 1 /);
  assert.match(lost(Buffer.alloc(9_000, "x")), /does not speak SSH/);
  assert.match(lost(hello, Buffer.from("\0\0\0\x0bHTTP")), /malformed/);
  assert.match(lost(hello, Buffer.from([0xff, 0xff, 0xff, 0xff, 4, 20])), /malformed/);
  const ignored = packet(2, Buffer.alloc(20_000));
  assert.match(lost(hello, ignored, ignored, ignored, ignored, ignored), /for long/);
});

test("hostKeySight() keeps to what it said, and to its bound", () => {
  const push = hostKeySight();
  const first = push(Buffer.alloc(MAX_SEEN, "\n"));
  assert.equal(first.kind, "lost");
  assert.equal(push(Buffer.alloc(10 * MAX_SEEN)), first);
});

test("hostKeySight() never throws, and sees no key but the one that is there", () => {
  const blob = blobOf(new Uint8Array(32).fill(5));
  const whole = Buffer.concat([...BEFORE, kexinit(Buffer.alloc(200, 7)), reply(blob)]);
  const edit = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 4 }), fc.nat(whole.length), (edits, length) => {
      const mutated = Buffer.from(whole.subarray(0, length));
      for (const { at, byte } of edits) if (at < length) mutated[at] = byte;
      const { sight } = look([mutated]);
      if (sight.kind === "seen") assert.equal(sight.hostKey.length, 51);
      if (edits.length === 0)
        assert.equal(sight.kind, length === whole.length ? "seen" : "looking");
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (pieces) => {
      assert.notEqual(look(pieces).sight.kind, "seen");
    }),
  );
});
