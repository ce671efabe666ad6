import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeSocks4Request,
  encodeSocks4Reply,
  MAX_SOCKS4,
  Socks4Code,
  Socks4Error,
} from "./socks4.ts";

const text = (value: string): number[] => [...Buffer.from(value), 0];

test("decodeSocks4Request() takes an address, and a name by 4a", () => {
  const ipv4 = [4, 1, 0x1f, 0x90, 192, 0, 2, 7, ...text("me")];
  assert.deepEqual(decodeSocks4Request(Uint8Array.from([...ipv4, 9])), {
    command: "connect",
    host: "192.0.2.7",
    port: 8080,
    length: 11,
  });
  const named = [4, 2, 0, 80, 0, 0, 0, 1, 0, ...text("Example.ORG.")];
  assert.deepEqual(decodeSocks4Request(Uint8Array.from(named)), {
    command: "bind",
    host: "example.org",
    port: 80,
    length: named.length,
  });
});

test("0.0.0.0 is an address of SOCKS 4, and no sign of a name", () => {
  const request = decodeSocks4Request(Uint8Array.from([4, 1, 0, 80, 0, 0, 0, 0, 0]));
  assert.equal(request?.host, "0.0.0.0");
});

test("decodeSocks4Request() waits for the last byte, and for no more than it reads", () => {
  const user = fc.stringMatching(/^[a-z]{0,255}$/);
  const name = fc.domain();
  fc.assert(
    fc.property(user, name, fc.nat(65_535), fc.uint8Array(), (user, name, port, next) => {
      const words = [4, 1, port >> 8, port & 0xff, 0, 0, 0, 9, ...text(user), ...text(name)];
      const bytes = Uint8Array.from(words);
      const decoded = decodeSocks4Request(Buffer.concat([bytes, next]));
      assert.deepEqual(decoded, { command: "connect", host: name, port, length: bytes.length });
      assert.equal(decodeSocks4Request(bytes.subarray(0, -1)), undefined);
    }),
  );
});

test("decodeSocks4Request() refuses what is wrong as soon as it is known", () => {
  for (const bytes of [
    [5],
    [4, 3],
    [4, 0],
    [4, 1, 0, 80, 1, 1, 1, 1, ...Array.from({ length: 256 }, () => 0x61)],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, ...Array.from({ length: 256 }, () => 0x61)],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, ...text("a b")],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, ...text("127.1")],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, 0xc3, 0xbc, 0],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, 0],
  ]) {
    assert.throws(() => decodeSocks4Request(Uint8Array.from(bytes)), Socks4Error);
  }
});

test("decodeSocks4Request() takes any bytes: a value, undefined, or a Socks4Error", () => {
  const head = fc.constantFrom(
    [],
    [4],
    [4, 1],
    [4, 1, 0, 80, 0, 0, 0, 1],
    [4, 1, 0, 80, 1, 1, 1, 1, 0],
  );
  fc.assert(
    fc.property(head, fc.uint8Array({ maxLength: 600 }), (head, rest) => {
      const bytes = Buffer.from([...head, ...rest]);
      try {
        const request = decodeSocks4Request(bytes);
        if (request === undefined) assert.ok(bytes.length < MAX_SOCKS4);
        else assert.ok(request.length <= MAX_SOCKS4);
      } catch (error) {
        assert.ok(error instanceof Socks4Error);
      }
    }),
  );
});

test("encodeSocks4Reply() begins with a zero, not with the version", () => {
  assert.deepEqual([...encodeSocks4Reply(Socks4Code.GRANTED)], [0, 90, 0, 0, 0, 0, 0, 0]);
});
