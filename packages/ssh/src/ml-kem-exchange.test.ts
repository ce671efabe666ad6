import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { answerMlKem, offerMlKem } from "./ml-kem-exchange.ts";

test("both sides of an exchange come to the same secret, another each time", () => {
  const secrets = new Set<string>();
  for (let round = 0; round < 3; round++) {
    const offer = offerMlKem();
    const { reply, secret } = answerMlKem(offer.init);
    assert.equal(offer.init.length, 1_216);
    assert.equal(reply.length, 1_120);
    assert.deepEqual(offer.accept(reply), secret);
    secrets.add(secret.toString("hex"));
  }
  assert.equal(secrets.size, 3);
});

test("a reply that was changed gives another secret, or none", () => {
  const offer = offerMlKem();
  const { reply, secret } = answerMlKem(offer.init);
  fc.assert(
    fc.property(fc.nat(reply.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(reply);
      changed[at] = (changed[at] ?? 0) ^ mask;
      // X25519 ignores the highest bit of a public key (RFC 7748 §5).
      if (at === reply.length - 1 && mask === 0x80) return;
      assert.notDeepEqual(offer.accept(changed), secret);
    }),
    { numRuns: 50 },
  );
});

test("answerMlKem() refuses every other length, keys that are none, and points of small order", () => {
  const { init } = offerMlKem();
  for (const length of [0, 1, 32, 1_184, 1_215]) {
    assert.throws(() => answerMlKem(init.subarray(0, length)), RangeError);
  }
  assert.throws(() => answerMlKem(Buffer.concat([init, Buffer.alloc(1)])), RangeError);
  // Coefficients of a public key are below 3,329 (FIPS 203 §7.2).
  assert.throws(() => answerMlKem(Buffer.alloc(1_216, 0xff)));
  assert.throws(() => answerMlKem(Buffer.concat([init.subarray(0, 1_184), Buffer.alloc(32)])));
  assert.throws(() => offerMlKem().accept(Buffer.alloc(1_119)), RangeError);
});
