import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sshPublicKeyBlob } from "@alknet/vault/openssh-key";
import { makeKnownHosts, pinHostKey, withHostKey } from "./known-hosts.ts";
import { testHome } from "./testing.ts";

const keyOf = (byte: number): Uint8Array => sshPublicKeyBlob(new Uint8Array(32).fill(byte));

test("pinHostKey() keeps one line for each peer, and replaces its key", async () => {
  using it = testHome();
  const path = join(it.folder, "known");
  assert.equal(await pinHostKey(path, "Laptop", keyOf(1)), true);
  assert.equal(await pinHostKey(path, "old.phone", keyOf(2)), true);
  assert.equal(await pinHostKey(path, "laptop", keyOf(1)), false);
  assert.equal(await pinHostKey(path, "laptop", keyOf(3)), true);
  const keys = [keyOf(2), keyOf(3)].map((each) => Buffer.from(each).toString("base64"));
  assert.equal(
    readFileSync(path, "utf8"),
    `old.phone.alk,[old.phone.alk]:* ssh-ed25519 ${keys[0]}\nlaptop.alk,[laptop.alk]:* ssh-ed25519 ${keys[1]}\n`,
  );
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(it.folder).toSorted(), ["known", "known.lock"]);
});

test("ssh finds the line by the name, at any port, in upper case too", async () => {
  using it = testHome();
  const path = join(it.folder, "known");
  await pinHostKey(path, "laptop", keyOf(1));
  for (const name of ["laptop.alk", "[laptop.alk]:2222", "LAPTOP.alk"]) {
    const found = execFileSync("ssh-keygen", ["-F", name, "-f", path]).toString();
    assert.match(found, /ssh-ed25519 AAAA/, name);
  }
  assert.throws(() => execFileSync("ssh-keygen", ["-F", "laptop", "-f", path], { stdio: "pipe" }));
});

test("of many that pin at once, none is lost", async () => {
  using it = testHome();
  const path = join(it.folder, "known");
  makeKnownHosts(path);
  const program = `
    const { pinHostKey } = await import(${JSON.stringify(join(import.meta.dirname, "known-hosts.ts"))});
    const first = Number(process.argv[1]);
    for (let n = first; n < first + 5; n++) await pinHostKey(${JSON.stringify(path)}, "peer" + n, new Uint8Array(51).fill(n));
  `;
  const words = ["--conditions=@alknet/source", "--input-type=module", "-e", program];
  const ends = [0, 5, 10, 15].map(
    (first) =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, [...words, String(first)], { stdio: "inherit" });
        child.on("close", resolve);
      }),
  );
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0]);
  assert.equal(readFileSync(path, "utf8").trimEnd().split("\n").length, 20);
});

test("withHostKey() leaves what it need not change as it is", () => {
  const text = "# a comment\nother.alk ssh-ed25519 AAAA\n";
  const with1 = withHostKey(text, "laptop", "BBBB");
  assert.ok(with1.startsWith(text));
  assert.equal(withHostKey(with1, "laptop", "BBBB"), with1);
  assert.equal(withHostKey(with1, "laptop", "CCCC"), with1.replace("BBBB", "CCCC"));
  // A name that another begins with is another.
  assert.match(withHostKey(with1, "top", "DDDD"), /\nlaptop\.alk,.* BBBB\ntop\.alk,/);
});
