import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { createMessages, LengthError } from "./length-prefixed.ts";
import { sshString } from "./ssh-data.ts";

const MAX = 1_000;
const message = fc.uint8Array({ minLength: 1, maxLength: 50 });

test("take() gives the messages, however they were cut into chunks", () => {
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat(60)), fc.nat(60), (sent, cuts, rest) => {
      const bytes = Buffer.concat([
        ...sent.map(sshString),
        Buffer.of(0, 0, 0, 61),
        Buffer.alloc(rest),
      ]);
      const messages = createMessages(MAX);
      const got: Uint8Array[] = [];
      let at = 0;
      for (const length of [...cuts, bytes.length]) {
        messages.push(Buffer.from(bytes.subarray(at, at + length)));
        at += length;
        for (let each = messages.take(); each !== undefined; each = messages.take()) got.push(each);
        assert.equal(messages.waiting, false);
      }
      assert.deepEqual(got, sent);
      assert.equal(messages.begun, true);
      messages.wipe();
      assert.equal(messages.begun, false);
    }),
  );
});

test("what was taken is left nowhere else", () => {
  const messages = createMessages(MAX);
  const chunks = [sshString("secret").subarray(0, 7), Buffer.from("retmore")].map((each) =>
    Buffer.from(each),
  );
  for (const chunk of chunks) messages.push(chunk);
  assert.equal(String(Buffer.from(messages.take()!)), "secret");
  assert.equal(messages.waiting, true);
  assert.equal(
    chunks[0]!.every((byte) => byte === 0),
    true,
  );
  assert.equal(
    chunks[1]!.subarray(0, 3).every((byte) => byte === 0),
    true,
  );
  messages.wipe();
  assert.equal(
    chunks[1]!.every((byte) => byte === 0),
    true,
  );
});

test("take() refuses a length of zero, and one above the limit before there is memory for it", () => {
  for (const length of [0, MAX + 1, 0xffff_ffff]) {
    const messages = createMessages(MAX);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    messages.push(head.subarray(0, 3));
    assert.equal(messages.take(), undefined);
    messages.push(head.subarray(3));
    assert.throws(() => messages.take(), LengthError);
  }
});
