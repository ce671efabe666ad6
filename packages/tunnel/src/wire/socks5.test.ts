import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeGreeting,
  decodeLogin,
  decodeSocksRequest,
  encodeMethod,
  encodeSocksReply,
  MAX_GREETING,
  MAX_LOGIN,
  MAX_REQUEST,
  Method,
  ReplyCode,
  replyCodeOf,
  SocksError,
} from "./socks5.ts";

const port = (value: number) => [value >> 8, value & 0xff];

/** Bytes of a request, and what it means. */
const request = fc
  .record({
    address: fc.oneof(
      fc.tuple(fc.constant(1), fc.uint8Array({ minLength: 4, maxLength: 4 })),
      fc.tuple(fc.constant(4), fc.uint8Array({ minLength: 16, maxLength: 16 })),
      fc.tuple(
        fc.constant(3),
        fc.domain().map((name) => Uint8Array.of(name.length, ...Buffer.from(name))),
      ),
    ),
    port: fc.integer({ min: 0, max: 65_535 }),
  })
  .map(({ address: [type, address], port: number }) => ({
    bytes: Uint8Array.of(5, 1, 0, type, ...address, ...port(number)),
    port: number,
    host:
      type === 1
        ? address.join(".")
        : type === 3
          ? Buffer.from(address.subarray(1)).toString().toLowerCase()
          : Array.from({ length: 8 }, (_, group) =>
              (address[2 * group]! * 256 + address[2 * group + 1]!).toString(16),
            ).join(":"),
  }));

test("decodeSocksRequest() reads every address type, cut anywhere, and leaves what follows", () => {
  fc.assert(
    fc.property(request, fc.uint8Array(), ({ bytes, host, port }, next) => {
      const decoded = { command: "connect", host, port, length: bytes.length };
      assert.deepEqual(decodeSocksRequest(Buffer.concat([bytes, next])), decoded);
      assert.ok(bytes.length <= MAX_REQUEST);
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.equal(decodeSocksRequest(bytes.subarray(0, cut)), undefined);
      }
    }),
  );
});

test("decodeGreeting() reads the methods, cut anywhere, and leaves what follows", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 255 }), fc.uint8Array(), (methods, next) => {
      const bytes = Uint8Array.of(5, methods.length, ...methods);
      assert.deepEqual(decodeGreeting(Buffer.concat([bytes, next])), {
        methods: [...methods],
        length: bytes.length,
      });
      assert.ok(bytes.length <= MAX_GREETING);
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.equal(decodeGreeting(bytes.subarray(0, cut)), undefined);
      }
    }),
  );
});

test("decodeGreeting() says nothing to a client of another protocol", () => {
  for (const [bytes, names] of [
    [[4, 1, 0, 80], /SOCKS 4/],
    [[...Buffer.from("CONNECT a:80 HTTP/1.1\r\n")], /HTTP/],
    [[0x16, 3, 1], /something else/],
  ] as const) {
    assert.throws(
      () => decodeGreeting(Uint8Array.from(bytes)),
      (error) => {
        assert.ok(error instanceof SocksError);
        assert.match(error.message, names);
        assert.equal(error.reply, undefined);
        return true;
      },
    );
  }
});

test("decodeSocksRequest() says what is wrong as soon as it is known", () => {
  for (const [bytes, reply] of [
    [[4], ReplyCode.FAILURE],
    [[5, 0], ReplyCode.COMMAND_NOT_SUPPORTED],
    [[5, 9], ReplyCode.COMMAND_NOT_SUPPORTED],
    [[5, 1, 0, 2, 0], ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED],
    [[5, 1, 0, 3, 0, ...port(80)], ReplyCode.HOST_UNREACHABLE],
    [[5, 1, 0, 3, 3, 0x61, 0, 0x62, ...port(80)], ReplyCode.HOST_UNREACHABLE],
    [[5, 1, 0, 3, 2, 0xc3, 0xbc, ...port(80)], ReplyCode.HOST_UNREACHABLE],
  ] as const) {
    assert.throws(
      () => decodeSocksRequest(Uint8Array.from(bytes)),
      (error) => error instanceof SocksError && error.reply === reply,
      String(bytes),
    );
  }
});

test("decodeSocksRequest() knows the commands that are not served, so that they get their reply", () => {
  const rest = [0, 1, 127, 0, 0, 1, 0, 80];
  assert.equal(decodeSocksRequest(Uint8Array.of(5, 2, ...rest))?.command, "bind");
  assert.equal(decodeSocksRequest(Uint8Array.of(5, 3, ...rest))?.command, "udp-associate");
});

test("the decoders answer or throw SocksError on any bytes", () => {
  const bytes = fc
    .tuple(fc.constantFrom([], [5], [5, 1, 0], [5, 1, 0, 3]), fc.uint8Array({ maxLength: 300 }))
    .map(([head, rest]) => Uint8Array.of(...head, ...rest));
  fc.assert(
    fc.property(bytes, (bytes) => {
      for (const decode of [decodeGreeting, decodeSocksRequest]) {
        try {
          const decoded = decode(bytes);
          if (decoded !== undefined) assert.ok(decoded.length <= bytes.length);
        } catch (error) {
          assert.ok(error instanceof SocksError);
        }
      }
    }),
  );
});

test("replies are these bytes, and each refusal has its code", () => {
  assert.deepEqual(encodeMethod(Method.UNACCEPTABLE), Uint8Array.of(5, 0xff));
  assert.deepEqual(
    encodeSocksReply(ReplyCode.REFUSED),
    Uint8Array.of(5, 5, 0, 1, 0, 0, 0, 0, 0, 0),
  );
  assert.deepEqual(
    (
      [
        "not-allowed",
        "host-not-found",
        "refused",
        "host-unreachable",
        "network-unreachable",
        "timed-out",
        "limit",
        "unsupported",
        "draining",
        "failed",
      ] as const
    ).map(replyCodeOf),
    [2, 4, 5, 4, 3, 6, 1, 7, 1, 1],
  );
});

const loginBytes = (user: Uint8Array, password: Uint8Array): Buffer =>
  Buffer.from([1, user.length, ...user, password.length, ...password]);

test("decodeLogin() takes any bytes for user and password, and waits for the last", () => {
  const part = fc.uint8Array({ maxLength: 255 });
  fc.assert(
    fc.property(part, part, fc.uint8Array(), (user, password, next) => {
      const bytes = loginBytes(user, password);
      const decoded = decodeLogin(Buffer.concat([bytes, next]));
      assert.deepEqual(decoded, { user, password, length: bytes.length });
      assert.equal(decodeLogin(bytes.subarray(0, -1)), undefined);
    }),
  );
});

test("decodeLogin() takes no other version, and any bytes after it", () => {
  assert.throws(() => decodeLogin(Uint8Array.of(5, 1)), { name: "SocksError", reply: undefined });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (rest) => {
      const decoded = decodeLogin(Uint8Array.of(1, ...rest));
      if (decoded === undefined) assert.ok(rest.length < MAX_LOGIN);
      else assert.ok(decoded.length <= MAX_LOGIN);
    }),
  );
});

test("encodeSocksReply() tells where a relay is, of either family", () => {
  assert.deepEqual(
    [...encodeSocksReply(ReplyCode.SUCCEEDED, { address: Uint8Array.of(127, 0, 0, 1), port: 258 })],
    [5, 0, 0, 1, 127, 0, 0, 1, 1, 2],
  );
  const address = new Uint8Array(16).fill(9);
  const reply = encodeSocksReply(ReplyCode.SUCCEEDED, { address, port: 1 });
  assert.deepEqual([...reply], [5, 0, 0, 4, ...address, 0, 1]);
});

test("decodeSocksRequest() takes a name for no place that a client sends UDP from", () => {
  const request = Buffer.from([5, 3, 0, 3, 1, 0x30, 0x12, 0x34]);
  assert.deepEqual(decodeSocksRequest(request), {
    command: "udp-associate",
    host: "0.0.0.0",
    port: 0x1234,
    length: 8,
  });
});
