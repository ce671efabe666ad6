import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  type KnownRequest,
  MAX_BODY,
  OpenError,
  type Refusal,
} from "./open.ts";

const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
const plain = <T>(of: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(of, { noNullPrototype: true });
const port = fc.integer({ min: 1, max: 65_535 });
const path = fc.oneof(
  fc.string({ maxLength: 106 }).map((text) => `/${text}`),
  fc.constant("/é€😀"),
);
const lower = host.map((text) => text.toLowerCase());
const anyPort = fc.integer({ min: 0, max: 65_535 });
const request: fc.Arbitrary<KnownRequest> = fc.oneof(
  plain({ kind: fc.constantFrom("tcp" as const, "udp" as const), host: lower, port }),
  plain({ kind: fc.constantFrom("unix" as const, "listen-unix" as const), path }),
  plain({
    kind: fc.constant("listen-tcp" as const),
    host: fc.oneof(lower, fc.constant("")),
    port: anyPort,
  }),
  plain({
    kind: fc.constant("claim" as const),
    token: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  }),
  plain({
    kind: fc.constant("accepted" as const),
    listener: fc.nat({ max: 0xffff_ffff }),
    origin: plain({
      address: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant("")),
      port: anyPort,
    }),
  }),
);

test("a request for db:5432 is these bytes", () => {
  assert.deepEqual(
    Buffer.from(encodeRequest({ kind: "tcp", host: "db", port: 5432 })),
    Buffer.from([1, 0, 4, 0x15, 0x38, 0x64, 0x62]),
  );
  assert.deepEqual(
    Buffer.from(encodeReply({ kind: "open", body: Buffer.alloc(0) })),
    Buffer.from([0, 0, 0]),
  );
  assert.deepEqual(
    Buffer.from(encodeReply({ kind: "refused", refusal: "refused", text: "no" })),
    Buffer.from([3, 0, 2, 0x6e, 0x6f]),
  );
});

test("requests of every kind are these bytes", () => {
  const token = Buffer.alloc(16, 7);
  for (const [request, hex] of [
    [{ kind: "udp", host: "::1", port: 53 }, "020005" + "0035" + "3a3a31"],
    [{ kind: "unix", path: "/a" }, "030002" + "2f61"],
    [{ kind: "listen-tcp", host: "", port: 0 }, "040002" + "0000"],
    [{ kind: "listen-unix", path: "/a" }, "050002" + "2f61"],
    [{ kind: "claim", token }, "060010" + "07".repeat(16)],
    [
      { kind: "accepted", listener: 258, origin: { address: "::1", port: 80 } },
      "070009" + "00000102" + "0050" + "3a3a31",
    ],
  ] as const) {
    assert.equal(Buffer.from(encodeRequest(request)).toString("hex"), hex);
  }
});

test("decodeRequest() undoes encodeRequest(), waits for the last byte and leaves what follows", () => {
  fc.assert(
    fc.property(request, fc.uint8Array(), (request, next) => {
      const bytes = encodeRequest(request);
      assert.deepEqual(decodeRequest(Buffer.concat([bytes, next])), {
        value: request,
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
  assert.deepEqual(decodeRequest(Buffer.from([8, 0, 2, 9, 9, 7])), {
    value: { kind: "unknown", number: 8 },
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
    [2, 0, 3, 0, 0, 0x61],
    [3, 0, 0],
    [3, 0, 1, 0x61],
    [3, 0, 2, 0x2f, 0xff],
    [3, 0, 3, 0x2f, 0x61, 0],
    [3, 0, 108, ...Array(108).fill(0x2f)],
    [4, 0, 1, 0],
    [4, 0, 3, 0, 80, 0x20],
    [5, 0, 1, 0x61],
    [6, 0, 15, ...Array(15).fill(1)],
    [6, 0, 17, ...Array(17).fill(1)],
    [7, 0, 5, 0, 0, 0, 1, 0],
    [7, 0, 7, 0, 0, 0, 1, 0, 80, 0x61],
  ]) {
    assert.throws(() => decodeRequest(Buffer.from(bytes)), OpenError, String(bytes));
  }
  assert.throws(() => decodeReply(Buffer.from([0, 0x04, 0x01])), OpenError);
});

test("decodeRequest() and decodeReply() answer or throw OpenError on any bytes, and on a request that was changed", () => {
  const changed = fc.tuple(request, fc.nat(), fc.nat({ max: 255 })).map(([request, at, value]) => {
    const bytes = Buffer.from(encodeRequest(request));
    bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 1_100 }), changed), (bytes) => {
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

test("encodeRequest() refuses hosts, ports, paths and tokens that are none", () => {
  assert.throws(() => encodeRequest({ kind: "tcp", host: "a b", port: 80 }), SyntaxError);
  assert.throws(() => encodeRequest({ kind: "tcp", host: "", port: 80 }), SyntaxError);
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) {
    assert.throws(() => encodeRequest({ kind: "udp", host: "a", port }), RangeError);
  }
  assert.throws(() => encodeRequest({ kind: "listen-tcp", host: "", port: 65_536 }), RangeError);
  for (const path of ["", "a", `/${"x".repeat(107)}`, "/a\0b", "/\ud800"]) {
    assert.throws(() => encodeRequest({ kind: "unix", path }), SyntaxError);
  }
  assert.throws(() => encodeRequest({ kind: "claim", token: Buffer.alloc(15) }), RangeError);
});
