import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { decodeGreeting, decodeSocksRequest } from "./socks5.ts";
import {
  decodeConnectReply,
  decodeLoginReply,
  decodeMethod,
  encodeConnect,
  encodeGreeting,
  encodeLogin,
  ProxyError,
} from "./socks5-client.ts";

const port = fc.integer({ min: 1, max: 65_535 });

test("what the client's half writes, the server's half reads", () => {
  assert.deepEqual(decodeGreeting(encodeGreeting({ password: true }))?.methods, [0, 2]);
  assert.deepEqual(decodeGreeting(encodeGreeting({ password: false }))?.methods, [0]);
  fc.assert(
    fc.property(fc.domain(), port, (name, port) => {
      const request = decodeSocksRequest(encodeConnect(name, port));
      assert.deepEqual([request?.host, request?.port], [name.toLowerCase(), port]);
    }),
  );
});

test("an address travels as an address, never as a name", () => {
  const v4 = encodeConnect(Uint8Array.of(10, 0, 0, 1), 258);
  assert.equal(Buffer.from(v4).toString("hex"), "050100010a0000010102");
  const v6 = encodeConnect(new Uint8Array(16).fill(1), 80);
  assert.equal(Buffer.from(v6).toString("hex"), `05010004${"01".repeat(16)}0050`);
});

test("encodeLogin() is RFC 1929 §2, and takes nothing too long", () => {
  assert.equal(Buffer.from(encodeLogin("me", "é")).toString("hex"), "01026d6502c3a9");
  assert.throws(() => encodeLogin("", "x"), RangeError);
  assert.throws(() => encodeLogin("x", "y".repeat(256)), RangeError);
  assert.deepEqual(decodeLoginReply(Buffer.of(1, 0)), { value: true, length: 2 });
  assert.deepEqual(decodeLoginReply(Buffer.of(1, 1)), { value: false, length: 2 });
  assert.equal(decodeLoginReply(Buffer.of(1)), undefined);
});

test("decodeConnectReply() takes exactly the reply, whatever its address, and leaves what follows", () => {
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }).map((it) => [1, ...it]),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((it) => [4, ...it]),
    fc.uint8Array({ maxLength: 255 }).map((it) => [3, it.length, ...it]),
  );
  fc.assert(
    fc.property(address, fc.uint8Array(), (address, next) => {
      const reply = Buffer.from([5, 0, 0, ...address, 0, 80]);
      const decoded = decodeConnectReply(Buffer.concat([reply, next]));
      assert.deepEqual(decoded, { value: 0, length: reply.length });
      for (let cut = 0; cut < reply.length; cut++) {
        assert.equal(decodeConnectReply(reply.subarray(0, cut)), undefined);
      }
    }),
  );
  assert.deepEqual(decodeConnectReply(Buffer.of(5, 5)), { value: 5, length: 2 });
});

test("the decoders answer or throw ProxyError on any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, version) => {
      const sent = version ? Uint8Array.of(5, ...bytes) : bytes;
      for (const decode of [decodeMethod, decodeLoginReply, decodeConnectReply]) {
        try {
          const decoded = decode(sent);
          if (decoded !== undefined) assert.ok(decoded.length <= sent.length);
        } catch (error) {
          assert.ok(error instanceof ProxyError);
        }
      }
    }),
  );
});
