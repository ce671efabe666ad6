import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeReply,
  decodeRequest,
  encodeJoinRequest,
  encodeReply,
  type JoinedReply,
  MAX_REPLY,
  MAX_REQUEST,
  type Refusal,
  RegisterError,
} from "./register.ts";

const secret = fc.uint8Array({ minLength: 16, maxLength: 16 });
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const maybeName = fc.option(name, { nil: undefined });
const scope = fc.constantFrom("*", "ssh:shell until 2027-01-01T00:00:00Z", "sftp:read:/é/**");
const joined: fc.Arbitrary<JoinedReply> = fc
  .record({
    before: fc.boolean(),
    peer: name,
    node: maybeName,
    scopes: fc.array(scope, { maxLength: 20 }),
    more: fc.nat(100),
  })
  .map(({ more, ...rest }) => ({
    kind: "joined",
    ...rest,
    scopeCount: rest.scopes.length + more,
  }));

/** Nothing until the last byte; what follows is left. */
function wholeOnly(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  for (let cut = 0; cut < bytes.length; cut++) {
    assert.equal(decode(bytes.subarray(0, cut)), undefined);
  }
}

test("a request and its answers are these bytes", () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, at) => at);
  assert.equal(
    Buffer.from(encodeJoinRequest({ secret: bytes, name: "den" })).toString("hex"),
    "010013000102030405060708090a0b0c0d0e0f64656e",
  );
  const reply: JoinedReply = {
    kind: "joined",
    before: true,
    peer: "a",
    node: "b",
    scopes: ["*"],
    scopeCount: 2,
  };
  assert.equal(Buffer.from(encodeReply(reply)).toString("hex"), "0100090161016200020001" + "2a");
  assert.equal(
    Buffer.from(encodeReply({ kind: "refused", refusal: "invalid", text: "no" })).toString("hex"),
    "0200026e6f",
  );
});

test("decodeRequest() undoes encodeJoinRequest(), waits for the last byte and leaves what follows", () => {
  fc.assert(
    fc.property(secret, maybeName, fc.uint8Array(), (secret, name, next) => {
      const bytes = encodeJoinRequest({ secret, name });
      assert.deepEqual(decodeRequest(Buffer.concat([bytes, next])), {
        value: { kind: "join", secret, name },
        length: bytes.length,
      });
      wholeOnly(decodeRequest, bytes);
    }),
  );
});

test("decodeReply() undoes encodeReply()", () => {
  const refused = fc.record({
    kind: fc.constant("refused" as const),
    refusal: fc.constantFrom<Refusal[]>("invalid", "used", "peer-gone", "failed"),
    text: fc.domain(),
  });
  fc.assert(
    fc.property(fc.oneof(joined, refused), fc.uint8Array(), (reply, next) => {
      const bytes = encodeReply(reply);
      assert.deepEqual(decodeReply(Buffer.concat([bytes, next])), {
        value: { ...reply },
        length: bytes.length,
      });
      wholeOnly(decodeReply, bytes);
    }),
  );
});

test("encodeReply() lists the scopes that fit, and tells how many there are", () => {
  const scopes = Array.from({ length: 1_024 }, (_, at) => `sftp:read:/${"é".repeat(200)}/${at}`);
  const reply = { kind: "joined", before: false, peer: "a", node: undefined } as const;
  const bytes = encodeReply({ ...reply, scopes, scopeCount: scopes.length });
  assert.ok(bytes.length <= 3 + MAX_REPLY);
  const value = decodeReply(bytes)?.value as JoinedReply;
  assert.equal(value.scopeCount, 1_024);
  assert.ok(value.scopes.length > 30);
  assert.deepEqual(value.scopes, scopes.slice(0, value.scopes.length));
  const long = encodeReply({ kind: "refused", refusal: "failed", text: "€".repeat(10_000) });
  assert.ok(long.length <= 3 + MAX_REPLY);
  assert.doesNotMatch(JSON.stringify(decodeReply(long)), /\ufffd/);
});

test("decodeReply() lets no control character of the node through to a terminal", () => {
  const bytes = encodeReply({ kind: "refused", refusal: "failed", text: "a\u001b[2Jb\n\u202e" });
  assert.deepEqual(decodeReply(bytes)?.value, {
    kind: "refused",
    refusal: "failed",
    text: "a\ufffd[2Jb\ufffd\ufffd",
  });
});

test("a refusal of tomorrow reads as failed, a request of tomorrow as unknown", () => {
  assert.deepEqual(decodeReply(Buffer.from([200, 0, 0]))?.value, {
    kind: "refused",
    refusal: "failed",
    text: "",
  });
  assert.deepEqual(decodeRequest(Buffer.from([4, 0, 1, 9]))?.value, { kind: "unknown", number: 4 });
});

test("what is longer than allowed is refused before it has come, and so are lengths that lie", () => {
  const { length } = encodeJoinRequest({ secret: new Uint8Array(16), name: "a".repeat(64) });
  assert.ok(length <= 3 + MAX_REQUEST);
  const body = (...bytes: number[]): number[] => [...Buffer.alloc(16), ...bytes];
  for (const bytes of [
    [1, 0x01, 0x01],
    [9, 0xff, 0xff],
    [1, 0, 15, ...Buffer.alloc(15)],
    [1, 0, 17, ...body(0x20)],
    [1, 0, 17, ...body(0x2d)],
    [1, 0, 81, ...body(...Buffer.alloc(65, "a"))],
  ]) {
    assert.throws(() => decodeRequest(Buffer.from(bytes)), RegisterError, String(bytes));
  }
  for (const bytes of [
    [0, 0x40, 0x01],
    [0, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 4, 0, 0, 0, 0],
    [0, 0, 2, 9, 0x61],
    [0, 0, 5, 1, 0x61, 0, 0, 0, 7],
    [0, 0, 6, 1, 0x61, 0, 0, 1, 0],
    [0, 0, 7, 1, 0x61, 0, 0, 1, 0, 9],
    [0, 0, 8, 1, 0x61, 0, 0, 0, 0, 1, 0x2a],
    [0, 0, 5, 1, 0x20, 0, 0, 0],
  ]) {
    const sent = Buffer.from(bytes);
    // Each as long as it says, but for the first, which is refused before it has come.
    const whole =
      sent.length === 3
        ? sent
        : Buffer.concat([Buffer.of(0, 0, sent.length - 3), sent.subarray(3)]);
    assert.throws(() => decodeReply(whole), RegisterError, String(bytes));
  }
});

test("decodeRequest() and decodeReply() answer or throw RegisterError on any bytes", () => {
  const changed = fc.tuple(joined, fc.nat(500), fc.nat(255)).map(([reply, at, byte]) => {
    const bytes = Buffer.from(encodeReply(reply));
    bytes[at % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), changed), (bytes) => {
      for (const decode of [decodeRequest, decodeReply]) {
        try {
          const decoded = decode(bytes);
          if (decoded !== undefined) assert.ok(decoded.length <= bytes.length);
        } catch (error) {
          assert.ok(error instanceof RegisterError, String(error));
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

test("encodeJoinRequest() refuses secrets and names that are none", () => {
  for (const length of [0, 15, 17]) {
    assert.throws(
      () => encodeJoinRequest({ secret: new Uint8Array(length), name: undefined }),
      RangeError,
    );
  }
  for (const name of ["a b", "-a", "é", "a".repeat(65)]) {
    assert.throws(() => encodeJoinRequest({ secret: new Uint8Array(16), name }), SyntaxError);
  }
});
