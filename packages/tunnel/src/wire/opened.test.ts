import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { OpenError } from "./open.ts";
import {
  decodeFlowNumber,
  decodeListening,
  encodeFlowNumber,
  encodeListening,
  type Listening,
} from "./opened.ts";

const number = fc.nat({ max: 0xffff_ffff });
const host = fc.oneof(fc.constant(""), fc.constant("localhost"), fc.ipV4(), fc.ipV6());
const port = fc.integer({ min: 1, max: 65_535 });
const path = fc.oneof(
  fc.string({ maxLength: 106 }).map((text) => `/${text}`),
  fc.constant("/é€😀"),
);
const place = fc.oneof(
  fc.record({ host, port }, { noNullPrototype: true }),
  fc.record({ path }, { noNullPrototype: true }),
);

function kindOf({ place }: Listening) {
  return "path" in place ? "listen-unix" : "listen-tcp";
}

test("decodeFlowNumber() and decodeListening() undo their encoders, and take nothing that is cut", () => {
  fc.assert(
    fc.property(number, place, (listener, place) => {
      assert.equal(decodeFlowNumber(encodeFlowNumber(listener)), listener);
      assert.throws(() => decodeFlowNumber(encodeFlowNumber(listener).subarray(1)), OpenError);
      const listening = { listener, place };
      const body = encodeListening(listening);
      assert.deepEqual(decodeListening(kindOf(listening), body), listening);
      const cut = body.subarray(0, 4);
      assert.throws(() => decodeListening(kindOf(listening), cut), OpenError);
    }),
  );
});

test("decodeListening() answers or throws OpenError on any bytes, and on a place that was changed", () => {
  const changed = fc.tuple(place, fc.nat(), fc.nat({ max: 255 })).map(([place, at, value]) => {
    const body = Buffer.from(encodeListening({ listener: 1, place }));
    body[at % body.length] = value;
    return body;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), (body) => {
      for (const kind of ["listen-tcp", "listen-unix"] as const) {
        try {
          assert.equal(kindOf(decodeListening(kind, body)), kind);
        } catch (error) {
          assert.ok(error instanceof OpenError);
        }
      }
    }),
  );
});
