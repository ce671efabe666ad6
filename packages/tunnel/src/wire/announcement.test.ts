import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Announcement, decodeAnnouncement, encodeAnnouncement } from "./announcement.ts";
import { OpenError } from "./open.ts";

const announcement: fc.Arbitrary<Announcement> = fc
  .tuple(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant("")),
    fc.nat(65_535),
  )
  .map(([token, address, port]) => ({ token, origin: { address, port } }));

test("encodeAnnouncement() writes the layout at the head of its file", () => {
  const token = Uint8Array.from({ length: 16 }, (_, at) => at);
  const bytes = encodeAnnouncement({ token, origin: { address: "::1", port: 258 } });
  assert.deepEqual([...bytes], [...token, 1, 2, 3, 0x3a, 0x3a, 0x31]);
});

test("decodeAnnouncement() undoes encodeAnnouncement(), and waits for the last byte", () => {
  fc.assert(
    fc.property(announcement, fc.uint8Array(), (sent, next) => {
      const bytes = encodeAnnouncement(sent);
      const decoded = decodeAnnouncement(Buffer.concat([bytes, next]));
      assert.deepEqual(decoded, { value: sent, length: bytes.length });
      assert.equal(decodeAnnouncement(bytes.subarray(0, -1)), undefined);
    }),
  );
});

test("encodeAnnouncement() refuses what is none", () => {
  const token = new Uint8Array(16);
  for (const [bytes, address, port] of [
    [token.subarray(1), "::1", 1],
    [token, "example.org", 1],
    [token, "::1", 65_536],
  ] as const) {
    assert.throws(
      () => encodeAnnouncement({ token: bytes, origin: { address, port } }),
      RangeError,
    );
  }
});

test("decodeAnnouncement() takes any bytes: a value, undefined, or an OpenError", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(announcement, fc.nat(), fc.nat(255)).map(([sent, at, value]) => {
      const encoded = encodeAnnouncement(sent);
      encoded[at % encoded.length] = value;
      return encoded;
    }),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      try {
        const decoded = decodeAnnouncement(given);
        if (decoded !== undefined) assert.ok(decoded.length <= given.length);
      } catch (error) {
        assert.ok(error instanceof OpenError);
      }
    }),
  );
});
