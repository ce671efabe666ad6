import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { encodeConnect } from "./socks5-client.ts";
import { decodeSocksPacket } from "./socks5-udp.ts";

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

/** The header of a packet: that of a request, with other bytes in front. */
function header(to: string | Uint8Array, port: number): Buffer {
  return Buffer.concat([Buffer.of(0, 0, 0), encodeConnect(to, port).subarray(3)]);
}

test("decodeSocksPacket() tells the target, and leaves the data", () => {
  fc.assert(
    fc.property(fc.domain(), port, fc.uint8Array({ maxLength: 600 }), (name, port, data) => {
      const head = header(name, port);
      const packet = decodeSocksPacket(Buffer.concat([head, data]));
      assert.deepEqual([packet?.host, packet?.port], [name.toLowerCase(), port]);
      assert.deepEqual(Buffer.from(packet!.header), head);
      assert.deepEqual(Uint8Array.from(packet!.data), data);
      for (let cut = 0; cut < head.length; cut++) {
        assert.equal(decodeSocksPacket(head.subarray(0, cut)), undefined);
      }
    }),
  );
  fc.assert(
    fc.property(address, port, fc.uint8Array(), (address, port, data) => {
      const packet = decodeSocksPacket(Buffer.concat([header(address, port), data]));
      assert.deepEqual(Uint8Array.from(packet!.data), data);
      assert.equal(packet!.port, port);
    }),
  );
});

test("decodeSocksPacket() drops fragments, port 0, and what is no packet", () => {
  const whole = header("db.example", 53);
  assert.equal(decodeSocksPacket(whole)?.host, "db.example");
  for (const fragment of [1, 0x80, 0xff]) {
    assert.equal(decodeSocksPacket(Buffer.from(whole).fill(fragment, 2, 3)), undefined);
  }
  assert.equal(decodeSocksPacket(Buffer.from(whole).fill(0, whole.length - 2)), undefined);
  assert.equal(decodeSocksPacket(Buffer.from(whole).fill(9, 3, 4)), undefined);
  assert.equal(decodeSocksPacket(Buffer.from([0, 0, 0, 3, 1, 0x20, 0, 53])), undefined);
});

test("decodeSocksPacket() answers for any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (bytes, whole) => {
      const packet = decodeSocksPacket(whole ? Uint8Array.of(0, 0, 0, 3, ...bytes) : bytes);
      if (packet !== undefined) assert.ok(packet.port > 0 && packet.host.length <= 253);
    }),
  );
});
