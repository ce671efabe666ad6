import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import {
  formatUnlockKey,
  parseUnlockKey,
  systemdUnlockKey,
  unlockKeyFile,
  writeUnlockKeyFile,
} from "./unlock-key.ts";

const KEY = randomBytes(32);

function folder(t: TestContext): string {
  const path = fs.mkdtempSync(join(tmpdir(), "alknet-unlock-"));
  t.after(() => fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

test("an unlock key is one line of base64, with any line end or none", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      const line = Buffer.from(key).toString("base64");
      assert.equal(Buffer.from(formatUnlockKey(key)).toString(), `${line}\n`);
      for (const text of [line, `${line}\n`, `${line}\r\n`]) {
        assert.deepEqual(parseUnlockKey(Buffer.from(text)), key);
      }
    }),
  );
  for (const length of [0, 31, 33]) {
    assert.throws(() => formatUnlockKey(new Uint8Array(length)), RangeError);
  }
});

test("parseUnlockKey() takes nothing else", () => {
  const line = KEY.toString("base64");
  const others = [
    "",
    "\n",
    `${line}\n\n`,
    ` ${line}`,
    `${line}${line}`,
    line.slice(1),
    KEY.toString("hex"),
  ];
  for (const other of others) assert.equal(parseUnlockKey(Buffer.from(other)), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const text = Buffer.from(bytes)
        .toString("latin1")
        .replace(/\r?\n$|\r$/, "");
      const decoded = Buffer.from(text, "base64");
      const good = decoded.length === 32 && decoded.toString("base64") === text;
      assert.equal(parseUnlockKey(bytes) !== undefined, good);
    }),
  );
});

test("a key file is written once, for its owner alone, and read", async (t) => {
  const path = join(folder(t), "unlock.key");
  const source = unlockKeyFile(path);
  assert.equal(source.name, `key file ${JSON.stringify(path)}`);
  assert.equal(await source.read(), undefined);
  writeUnlockKeyFile(path, KEY);
  assert.equal(fs.statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(Buffer.from((await source.read())!), KEY);
  assert.throws(() => writeUnlockKeyFile(path, randomBytes(32)), { code: "EEXIST" });
  const link = `${path}.link`;
  fs.symlinkSync(path, link);
  assert.deepEqual(Buffer.from((await unlockKeyFile(link).read())!), KEY);
});

test("a key file that others can read, or that holds no key, is refused and not quoted", async (t) => {
  const home = folder(t);
  const path = join(home, "unlock.key");
  writeUnlockKeyFile(path, KEY);
  for (const mode of [0o640, 0o604, 0o602]) {
    fs.chmodSync(path, mode);
    await assert.rejects(unlockKeyFile(path).read(), {
      code: "UNLOCK_KEY_INVALID",
      message: new RegExp(`mode 0${mode.toString(8)}\\); expected 0600$`),
      hint: `chmod 600 ${path}`,
    });
  }
  fs.chmodSync(path, 0o600);
  for (const text of ["", "hunter2-hunter2", "x".repeat(5_000), KEY]) {
    fs.writeFileSync(path, text);
    await assert.rejects(unlockKeyFile(path).read(), (error) => {
      const { code, message } = error as { code: string; message: string };
      assert.equal(code, "UNLOCK_KEY_INVALID");
      assert.match(message, /expected base64 of 32 bytes, in one line$/);
      return !inspect(error).includes("hunter2");
    });
  }
  await assert.rejects(unlockKeyFile(home).read(), { code: "UNLOCK_KEY_INVALID" });
});

test("a systemd credential is looked for where systemd says, and its access list is let be", async (t) => {
  const home = folder(t);
  assert.equal(await systemdUnlockKey({}).read(), undefined);
  assert.equal(await systemdUnlockKey({ CREDENTIALS_DIRECTORY: "" }).read(), undefined);
  const source = systemdUnlockKey({ CREDENTIALS_DIRECTORY: home });
  assert.equal(await source.read(), undefined);
  const path = join(home, "alknet-vault");
  writeUnlockKeyFile(path, KEY);
  fs.chmodSync(path, 0o440);
  assert.deepEqual(Buffer.from((await source.read())!), KEY);
  fs.chmodSync(path, 0o444);
  await assert.rejects(source.read(), {
    code: "UNLOCK_KEY_INVALID",
    message: /systemd credential "alknet-vault": others can read/,
  });
});
