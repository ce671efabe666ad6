import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeTcpRequest,
  MAX_BODY,
  OpenError,
  type Refusal,
} from "./open.ts";

const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
const port = fc.integer({ min: 1, max: 65_535 });

test("a request for db:5432 is these bytes", () => {
  assert.deepEqual(
    Buffer.from(encodeTcpRequest("db", 5432)),
    Buffer.from([1, 0, 4, 0x15, 0x38, 0x64, 0x62]),
  );
  assert.deepEqual(Buffer.from(encodeReply({ kind: "open" })), Buffer.from([0, 0, 0]));
  assert.deepEqual(
    Buffer.from(encodeReply({ kind: "refused", refusal: "refused", text: "no" })),
    Buffer.from([3, 0, 2, 0x6e, 0x6f]),
  );
});

test("decodeRequest() undoes encodeTcpRequest(), waits for the last byte and leaves what follows", () => {
  fc.assert(
    fc.property(host, port, fc.uint8Array(), (host, port, next) => {
      const bytes = encodeTcpRequest(host, port);
      const value = { kind: "tcp", host: host.toLowerCase(), port };
      assert.deepEqual(decodeRequest(Buffer.concat([bytes, next])), {
        value,
        length: bytes.length,
      });
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.equal(decodeRequest(bytes.subarray(0, cut)), undefined);
      }
    }),
  );
});

test("decodeReply() undoes encodeReply()", () => {
  const refusal = fc.constantFrom<Refusal[]>("not-allowed", "timed-out", "failed", "limit");
  fc.assert(
    fc.property(refusal, fc.domain(), fc.uint8Array(), (refusal, text, next) => {
      const reply = { kind: "refused", refusal, text } as const;
      const bytes = encodeReply(reply);
      assert.deepEqual(decodeReply(Buffer.concat([bytes, next])), {
        value: reply,
        length: bytes.length,
      });
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.equal(decodeReply(bytes.subarray(0, cut)), undefined);
      }
    }),
  );
});

test("encodeReply() cuts long text between characters", () => {
  const bytes = encodeReply({ kind: "refused", refusal: "failed", text: "€".repeat(1_000) });
  const text = "€".repeat(Math.floor(MAX_BODY / 3));
  assert.deepEqual(decodeReply(bytes)?.value, { kind: "refused", refusal: "failed", text });
});

test("decodeReply() lets no control character of the peer through to a terminal", () => {
  const bytes = encodeReply({ kind: "refused", refusal: "failed", text: "a\u001b[2Jb\r\nc\u202e" });
  assert.deepEqual(decodeReply(bytes)?.value, {
    kind: "refused",
    refusal: "failed",
    text: "a\ufffd[2Jb\ufffd\ufffdc\ufffd",
  });
});

test("a reply with a refusal of tomorrow reads as failed, a request of tomorrow as unknown", () => {
  assert.deepEqual(decodeReply(Buffer.from([200, 0, 0]))?.value, {
    kind: "refused",
    refusal: "failed",
    text: "",
  });
  assert.deepEqual(decodeRequest(Buffer.from([4, 0, 2, 9, 9, 7])), {
    value: { kind: "unknown", number: 4 },
    length: 5,
  });
});

test("decodeRequest() refuses a body above its bound before it has come, and bodies that lie", () => {
  for (const bytes of [
    [1, 0x04, 0x01],
    [99, 0xff, 0xff],
    [1, 0, 0],
    [1, 0, 2, 0, 80],
    [1, 0, 3, 0, 0, 0x61],
    [1, 0, 3, 0, 80, 0x20],
    [1, 0, 5, 0, 80, 0x31, 0x2e, 0x31],
  ]) {
    assert.throws(() => decodeRequest(Buffer.from(bytes)), OpenError, String(bytes));
  }
  assert.throws(() => decodeReply(Buffer.from([0, 0x04, 0x01])), OpenError);
});

test("decodeRequest() and decodeReply() answer or throw OpenError on any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_100 }), (bytes) => {
      for (const decode of [decodeRequest, decodeReply]) {
        try {
          const decoded = decode(bytes);
          if (decoded !== undefined) assert.ok(decoded.length <= bytes.length);
        } catch (error) {
          assert.ok(error instanceof OpenError);
        }
      }
    }),
  );
});

test("encodeTcpRequest() refuses hosts and ports that are none", () => {
  assert.throws(() => encodeTcpRequest("a b", 80), SyntaxError);
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) {
    assert.throws(() => encodeTcpRequest("a", port), RangeError);
  }
});
