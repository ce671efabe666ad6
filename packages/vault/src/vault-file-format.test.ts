import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  checkCost,
  DEFAULT_COST,
  formatVaultFile,
  headOf,
  MAX_UNLOCK_KEYS,
  parseVaultFile,
  type SealedVaultFile,
} from "./vault-file-format.ts";

const exactly = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const sealedKey = { salt: exactly(32), iv: exactly(12), key: exactly(48) };
const files: fc.Arbitrary<SealedVaultFile> = fc.record({
  passphrase: fc.record({
    cost: fc.record({
      memory: fc.integer({ min: 65_536, max: 4_194_304 }),
      passes: fc.integer({ min: 3, max: 100 }),
      lanes: fc.integer({ min: 1, max: 64 }),
    }),
    ...sealedKey,
  }),
  unlockKeys: fc.uniqueArray(
    fc.record({ label: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/), ...sealedKey }),
    { maxLength: MAX_UNLOCK_KEYS, selector: (slot) => slot.label },
  ),
  iv: exactly(12),
  body: fc.uint8Array({ minLength: 16, maxLength: 300 }),
});

const sealed = { salt: randomBytes(32), iv: randomBytes(12), key: randomBytes(48) };
const file: SealedVaultFile = {
  passphrase: { cost: DEFAULT_COST, ...sealed },
  unlockKeys: [{ label: "boot", ...sealed }],
  iv: randomBytes(12),
  body: randomBytes(100),
};
const text = formatVaultFile(file);

test("parseVaultFile() undoes formatVaultFile()", () => {
  fc.assert(
    fc.property(files, (made) => {
      const parsed = parseVaultFile(formatVaultFile(made));
      assert.deepEqual(parsed, asBuffers(made));
      assert.deepEqual(headOf(parsed), headOf(made));
    }),
  );
});

test("every single-bit flip, every cut and every doubled byte is refused", () => {
  const bytes = Buffer.from(text);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >>> 3]! ^= 1 << (bit & 7);
    refused(bytes.toString("latin1"));
    bytes[bit >>> 3]! ^= 1 << (bit & 7);
  }
  for (let at = 0; at < text.length; at++) {
    refused(text.slice(0, at));
    refused(text.slice(0, at) + text[at]! + text.slice(at));
  }
});

test("random text, and text with random changes, is refused or is what was written", () => {
  const part = fc.oneof(
    fc.string(),
    fc.json(),
    fc.constantFrom("}", '"', "\n", "1e9", "__proto__"),
  );
  const changed = fc
    .tuple(fc.nat(text.length), fc.nat(40), part)
    .map(([at, gone, put]) => text.slice(0, at) + put + text.slice(at + gone));
  fc.assert(
    fc.property(fc.oneof(part, changed), (input) => {
      if (input !== text) refused(input);
    }),
    { numRuns: 5_000 },
  );
});

test("a cost that is no number is refused, and not quoted", () => {
  for (const value of [{ toString: 1 }, "secret\n".repeat(30), [[7]], true, null]) {
    for (const name of ["memory_kib", "passes", "lanes"]) {
      const json = JSON.parse(text) as { passphrase: object };
      refused(JSON.stringify({ ...json, passphrase: { ...json.passphrase, [name]: value } }));
    }
  }
});

test("a file of another version is told from a damaged one, whatever else is in it", () => {
  for (const version of [0, 2, 7, 1_000_000]) {
    for (const rest of ["", ', "unlock_keys": 7', ', "anything": {}']) {
      const other = `{"format":"alknet-vault","version":${version}${rest}}`;
      assert.throws(() => parseVaultFile(other), {
        code: "VAULT_VERSION_UNKNOWN",
        message: `it is of version ${version}; this Alknet knows version 1`,
      });
    }
  }
  for (const version of ['"1"', "1.5", "null", "1e300", "[1]"]) {
    const other = `{"format":"alknet-vault","version":${version}}`;
    assert.throws(() => parseVaultFile(other), { code: "VAULT_DAMAGED" });
  }
});

test("what JSON would let pass is refused: other spelling, keys too many, twice, or elsewhere", () => {
  const json = JSON.parse(text) as Record<string, unknown>;
  const { sha256, ...rest } = json;
  const others = [
    JSON.stringify(json),
    text.trimEnd(),
    ` ${text}`,
    `\ufeff${text}`,
    text.replaceAll("\n", "\r\n"),
    text.replace("65536", "65536.0"),
    text.replace("argon2id", "argon2i"),
    text.replace('"boot"', '"\\u0062oot"'),
    text.replace('"version": 1', '"version": 1,\n  "version": 1'),
    `${JSON.stringify({ ...json, more: 1 }, undefined, 2)}\n`,
    `${JSON.stringify(rest, undefined, 2)}\n`,
    `${JSON.stringify({ sha256, ...rest }, undefined, 2)}\n`,
    "[".repeat(30_000),
  ];
  for (const other of others) refused(other);
});

test("a cost, a label, a list outside of its limits is refused, also under a hash that fits", () => {
  const { unlockKeys, passphrase } = file;
  const [slot] = unlockKeys;
  const cost = (changed: object): SealedVaultFile["passphrase"] => ({
    ...passphrase,
    cost: { ...DEFAULT_COST, ...changed },
  });
  const many = Array.from({ length: MAX_UNLOCK_KEYS + 1 }, (_, at) => ({
    ...slot!,
    label: `k${at}`,
  }));
  const others: SealedVaultFile[] = [
    { ...file, passphrase: cost({ memory: 65_535 }) },
    { ...file, passphrase: cost({ memory: 4_194_305 }) },
    { ...file, passphrase: cost({ memory: 70_000.5 }) },
    { ...file, passphrase: cost({ passes: 2 }) },
    { ...file, passphrase: cost({ passes: 101 }) },
    { ...file, passphrase: cost({ lanes: 0 }) },
    { ...file, passphrase: cost({ lanes: 65 }) },
    { ...file, passphrase: { ...passphrase, salt: randomBytes(31) } },
    { ...file, unlockKeys: many },
    { ...file, unlockKeys: [slot!, slot!] },
    { ...file, unlockKeys: [{ ...slot!, label: "No Label" }] },
    { ...file, unlockKeys: [{ ...slot!, key: randomBytes(47) }] },
    { ...file, iv: randomBytes(11) },
  ];
  for (const other of others) {
    assert.throws(() => parseVaultFile(formatVaultFile(other)), { code: "VAULT_DAMAGED" });
  }
  assert.throws(() => checkCost({ memory: 1_024, passes: 3, lanes: 4 }), {
    name: "RangeError",
    message: "expected memory of argon2id to be 65536 to 4194304, got 1024",
  });
});

/** With a message that does not quote it. */
function refused(input: string): void {
  assert.throws(
    () => parseVaultFile(input),
    (error) => {
      const { code, message } = error as { code: string; message: string };
      assert.match(code, /^VAULT_(DAMAGED|VERSION_UNKNOWN)$/);
      assert.match(message, /^it is (damaged: [\x20-\x7e]{1,100}|of version -?\d+; .{1,40})$/);
      return true;
    },
  );
}

function asBuffers<T>(value: T): T {
  if (value instanceof Uint8Array) return Buffer.from(value) as unknown as T;
  if (Array.isArray(value)) return value.map(asBuffers) as unknown as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, asBuffers(each)]),
  ) as T;
}
