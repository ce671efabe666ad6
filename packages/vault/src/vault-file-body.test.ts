import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeBody,
  encodeBody,
  MAX_NAMES,
  type NamedKey,
  secretsProblem,
  type VaultSecrets,
} from "./vault-file-body.ts";

const plain = { noNullPrototype: true };
const name: fc.Arbitrary<NamedKey> = fc.record(
  {
    kind: fc.constantFrom("ssh", "age", "pkarr"),
    name: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/),
    confirm: fc.boolean(),
  },
  plain,
);
const secrets: fc.Arbitrary<VaultSecrets> = fc.record(
  {
    entropy: fc
      .constantFrom(16, 20, 24, 28, 32)
      .chain((length) => fc.uint8Array({ minLength: length, maxLength: length })),
    seed: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    passphraseUsed: fc.boolean(),
    names: fc.uniqueArray(name, {
      maxLength: MAX_NAMES,
      selector: ({ kind, name: text }) => `${kind} ${text}`,
    }),
  },
  plain,
);

test("decodeBody() undoes encodeBody(), into arrays of its own", () => {
  fc.assert(
    fc.property(secrets, (made) => {
      const body = encodeBody(made);
      const decoded = decodeBody(body);
      body.fill(0);
      assert.deepEqual(decoded, made);
    }),
  );
});

test("decodeBody() takes nothing but what encodeBody() writes", () => {
  const cutOrChanged = fc.tuple(secrets, fc.nat(), fc.nat(255)).chain(([made, at, value]) => {
    const body = encodeBody(made);
    const changed = body.slice();
    changed[at % body.length] = value;
    return fc.constantFrom(body.slice(0, at % body.length), changed, Buffer.concat([body, body]));
  });
  fc.assert(
    fc.property(fc.oneof(cutOrChanged, fc.uint8Array({ maxLength: 300 })), (body) => {
      const decoded = decodeBody(body);
      if (decoded === undefined) return;
      assert.equal(secretsProblem(decoded), undefined);
      assert.deepEqual(Buffer.from(encodeBody(decoded)), Buffer.from(body));
    }),
    { numRuns: 2_000 },
  );
});

test("secretsProblem() says what a file cannot keep, without the secrets", () => {
  const good: VaultSecrets = {
    entropy: new Uint8Array(32),
    seed: new Uint8Array(64),
    passphraseUsed: false,
    names: [{ kind: "ssh", name: "work", confirm: false }],
  };
  const named = (kind: string, text: string): NamedKey =>
    ({ kind, name: text, confirm: true }) as NamedKey;
  const many = Array.from({ length: MAX_NAMES + 1 }, (_, at) => named("ssh", `k${at}`));
  assert.equal(secretsProblem(good), undefined);
  const wrong: [Partial<VaultSecrets>, RegExp][] = [
    [{ entropy: new Uint8Array(17) }, /entropy of 16 to 32 bytes, in steps of 4, got 17/],
    [{ seed: new Uint8Array(63) }, /seed of 64 bytes, got 63/],
    [{ names: many }, /at most 256 names, got 257/],
    [{ names: [named("ssh", "Work")] }, /"ssh" "Work" names no key/],
    [{ names: [named("gpg", "work")] }, /"gpg" "work" names no key/],
    [{ names: [...good.names, named("ssh", "work")] }, /twice/],
  ];
  for (const [changed, message] of wrong) {
    assert.match(secretsProblem({ ...good, ...changed }) ?? "", message);
  }
});
