import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseSshPublicKey } from "./ssh-public-key.ts";

function line(raw: Uint8Array, type = "ssh-ed25519"): string {
  const field = (bytes: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const blob = Buffer.concat([field(Buffer.from(type)), field(raw)]);
  return `${type} ${blob.toString("base64")} me@laptop at home`;
}

test("an Ed25519 key has in SSH the fingerprint that it has in TLS", () => {
  const { publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const key = parseSshPublicKey(`${line(raw)}\n`);
  assert.equal(key.fingerprint, `ed25519:${raw.toString("hex")}`);
  assert.equal(key.comment, "me@laptop at home");
});

test("keys that ssh-keygen makes are read; all but Ed25519 go by the hash that it prints", () => {
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  try {
    for (const type of ["ed25519", "rsa", "ecdsa"]) {
      const path = join(folder, type);
      execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-f", path, "-C", "a b"]);
      const key = parseSshPublicKey(readFileSync(`${path}.pub`, "utf8"));
      const shown = execFileSync("ssh-keygen", ["-lf", `${path}.pub`], { encoding: "utf8" });
      const hash = createHash("sha256").update(key.blob).digest();
      assert.ok(shown.includes(`SHA256:${hash.toString("base64").replace(/=+$/, "")}`));
      if (type !== "ed25519") assert.equal(key.fingerprint, `SHA256:${hash.toString("hex")}`);
      assert.throws(() => parseSshPublicKey(readFileSync(path, "utf8")), /private key/);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a key on a security token is not the key itself", () => {
  const raw = new Uint8Array(32).fill(7);
  assert.match(parseSshPublicKey(line(raw, "sk-ssh-ed25519@openssh.com")).fingerprint, /^SHA256:/);
});

test("what is no key is refused", () => {
  const good = line(new Uint8Array(32).fill(7));
  const [type = "", base64 = ""] = good.split(" ");
  for (const text of [
    "",
    type,
    `${type} !!!!!!!!!!!!!!!!!!!!`,
    `${type} ${base64.slice(0, 40)}`,
    `ssh-rsa ${base64}`,
    `no-pty ${good}`,
    line(new Uint8Array(31)),
    `${type} ${Buffer.concat([Buffer.from(base64, "base64"), Buffer.of(0)]).toString("base64")}`,
    "x".repeat(10_000),
  ]) {
    assert.throws(() => parseSshPublicKey(text), { code: "SSH_KEY_INVALID" }, text.slice(0, 60));
  }
});

test("parseSshPublicKey() throws nothing but its own error", () => {
  const mutated = fc.tuple(fc.nat(100), fc.string({ maxLength: 3 })).map(([at, text]) => {
    const good = line(new Uint8Array(32).fill(7));
    return good.slice(0, at) + text + good.slice(at + 1);
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.string({ unit: "binary" })), (text) => {
      try {
        parseSshPublicKey(text);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "SSH_KEY_INVALID");
      }
    }),
  );
});
