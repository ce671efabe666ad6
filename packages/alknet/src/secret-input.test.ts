import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { secretInput } from "./secret-input.ts";

async function* chunksOf(...texts: readonly string[]) {
  for (const text of texts) yield Uint8Array.from(Buffer.from(text));
}
const text = (bytes: Uint8Array | undefined) =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();

test("secretInput() reads lines, and then what is left, wherever the chunks were cut", async () => {
  const whole = "first\r\nsecond\n\nthe rest\nof it\n";
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(whole.length), { maxLength: 5 }), async (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
      const parts = places.slice(1).map((end, index) => whole.slice(places[index], end));
      const input = secretInput(chunksOf(...parts));
      assert.equal(text(await input.line(100)), "first");
      assert.equal(await input.byte(), "s".charCodeAt(0));
      assert.equal(text(await input.line(100)), "econd");
      assert.equal(text(await input.line(100)), "");
      assert.equal(text(await input.rest(100)), "the rest\nof it\n");
      assert.equal(await input.line(100), undefined);
      assert.equal(await input.byte(), undefined);
    }),
  );
});

test("secretInput() reads a last line without an end, and more than fits at first", async () => {
  const long = "x".repeat(5_000);
  const input = secretInput(chunksOf(long, `${long}\n${long}`));
  assert.equal(text(await input.line(10_000)), long + long);
  assert.equal(text(await input.line(5_000)), long);
  assert.equal(await input.line(1), undefined);
});

test("secretInput() takes no more than is wanted", async () => {
  const input = secretInput(chunksOf("12345\n1234"));
  await assert.rejects(input.line(4), {
    code: "INPUT_TOO_LONG",
    message: "cannot read that: expected at most 4 bytes",
  });
  await assert.rejects(secretInput(chunksOf("12345")).rest(4), { code: "INPUT_TOO_LONG" });
  assert.equal(text(await secretInput(chunksOf("1234")).rest(4)), "1234");
});

test("secretInput() wipes what it has read, at once", async () => {
  const chunk = Uint8Array.from(Buffer.from("hunter2\n"));
  const input = secretInput(
    (async function* () {
      yield chunk;
    })(),
  );
  assert.equal(await input.byte(), "h".charCodeAt(0));
  assert.equal(text(await input.line(10)), "unter2");
  // Nobody asks for more.
  assert.deepEqual(text(chunk), "\0".repeat(7) + "\n");
});
