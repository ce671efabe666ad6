import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeDatagram,
  encodeFlowPrefix,
  encodePacketHead,
  MAX_PACKET,
  PacketDecoder,
  PacketError,
} from "./udp.ts";

const packet = fc.uint8Array({ maxLength: 300 });

function stream(packets: readonly Uint8Array[]): Buffer {
  return Buffer.concat(packets.flatMap((each) => [encodePacketHead(each.length), each]));
}

test("the number of a flow is written as RFC 9000 §16 has it", () => {
  for (const [flow, hex] of [
    [0, "00"],
    [37, "25"],
    [15_293, "7bbd"],
    [494_878_333, "9d7f3e7d"],
    [0xffff_ffff, "c0000000ffffffff"],
  ] as const) {
    assert.equal(Buffer.from(encodeFlowPrefix(flow)).toString("hex"), hex);
  }
});

test("decodeDatagram() undoes encodeFlowPrefix()", () => {
  fc.assert(
    fc.property(fc.nat({ max: 0xffff_ffff }), packet, (flow, packet) => {
      const decoded = decodeDatagram(Buffer.concat([encodeFlowPrefix(flow), packet]));
      assert.equal(decoded?.flow, flow);
      assert.deepEqual(Uint8Array.from(decoded.packet), packet);
    }),
  );
});

test("decodeDatagram() drops what is none", () => {
  for (const hex of ["", "40", "800000", "c00000000000", "c0000001ffffffff"]) {
    assert.equal(decodeDatagram(Buffer.from(hex, "hex")), undefined);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const decoded = decodeDatagram(bytes);
      if (decoded !== undefined) assert.ok(decoded.packet.length < bytes.length);
    }),
  );
});

test("PacketDecoder gives each packet, however the stream is cut", () => {
  fc.assert(
    fc.property(fc.array(packet), fc.array(fc.nat({ max: 90 })), (packets, cuts) => {
      const got: Uint8Array[] = [];
      const decoder = new PacketDecoder((each) => got.push(Uint8Array.from(each)));
      let left: Uint8Array = stream(packets);
      for (const cut of cuts) {
        decoder.push(left.subarray(0, cut));
        left = left.subarray(cut);
      }
      decoder.push(left);
      assert.deepEqual(got, packets);
    }),
  );
});

test("PacketDecoder refuses a packet that is longer than any, before it has come", () => {
  const decoder = new PacketDecoder(() => assert.fail());
  decoder.push(Buffer.of(0xff));
  assert.throws(() => decoder.push(Buffer.of(0xff)), PacketError);
  assert.throws(() => encodePacketHead(MAX_PACKET + 1), RangeError);
});

test("PacketDecoder takes any bytes, or throws PacketError", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 500 })), (chunks) => {
      const decoder = new PacketDecoder((each) => assert.ok(each.length <= MAX_PACKET));
      try {
        for (const chunk of chunks) decoder.push(chunk);
      } catch (error) {
        assert.ok(error instanceof PacketError);
      }
    }),
  );
});
