import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ed25519PublicKey } from "./derived-key.ts";
import { opensshPrivateKeyFile } from "./openssh-key.ts";
import { OpensshKeyError, readOpensshKeyFile } from "./openssh-key-file.ts";

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });

const fileOf = (seed: Uint8Array, comment = ""): string =>
  Buffer.from(opensshPrivateKeyFile(seed, ed25519PublicKey(seed), comment)).toString();

/** The file with its bytes as `change` makes them. */
function changed(file: string, change: (bytes: Buffer) => Uint8Array): string {
  const [begin = "", ...lines] = file.trimEnd().split("\n");
  const end = lines.pop() ?? "";
  const bytes = change(Buffer.from(lines.join(""), "base64"));
  return `${begin}\n${Buffer.from(bytes).toString("base64")}\n${end}\n`;
}

test("readOpensshKeyFile() undoes opensshPrivateKeyFile()", () => {
  fc.assert(
    fc.property(seeds, fc.constantFrom("", "alice@den"), fc.boolean(), (seed, comment, windows) => {
      const file = fileOf(seed, comment);
      const text = windows ? file.replaceAll("\n", "\r\n") : file;
      assert.deepEqual(readOpensshKeyFile(text), seed);
    }),
  );
});

test("keys with a passphrase, and of other kinds, are told from what is no key", () => {
  const file = fileOf(new Uint8Array(32).fill(1));
  const put = (find: string, by: string) =>
    changed(file, (it) => Buffer.from(it.toString("latin1").replace(find, by), "latin1"));
  const code = (text: string) => {
    try {
      readOpensshKeyFile(text);
    } catch (error) {
      if (error instanceof OpensshKeyError) return error.code;
    }
    return undefined;
  };
  assert.equal(code(put("\0\0\0\x04none", "\0\0\0\x0aaes256-ctr")), "KEY_ENCRYPTED");
  assert.equal(code(put("ssh-ed25519", "ssh-eddsa19")), "KEY_TYPE");
  assert.equal(code(""), "KEY_INVALID");
  assert.equal(code("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), "KEY_INVALID");
  assert.equal(code(`${file}${file}`), "KEY_INVALID");
  // The public key and the seed do not belong together.
  const other = changed(file, (it) => it.fill(9, it.length - 70, it.length - 60));
  assert.equal(code(other), "KEY_INVALID");
});

test("readOpensshKeyFile() refuses what is cut, mutated or random, and quotes none of it", () => {
  const seed = new Uint8Array(32).fill(7);
  const file = fileOf(seed, "home");
  const refusedOrSame = (text: string): void => {
    try {
      assert.deepEqual(readOpensshKeyFile(text), seed);
    } catch (error) {
      assert.ok(error instanceof OpensshKeyError, String(error));
      assert.ok(error.message.length < 120, error.message);
    }
  };
  fc.assert(
    fc.property(fc.nat(400), fc.nat(255), fc.nat(400), (at, byte, length) => {
      refusedOrSame(changed(file, (it) => it.subarray(0, length)));
      refusedOrSame(changed(file, (it) => it.fill(byte, at % it.length, (at % it.length) + 1)));
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) =>
      refusedOrSame(changed(file, () => bytes)),
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => refusedOrSame(text)));
});
