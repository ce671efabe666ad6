import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { Worker } from "node:worker_threads";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import {
  createIdentity,
  identityFromKey,
  IdentityError,
  loadIdentity,
  loadOrCreateIdentity,
} from "./identity-file.ts";

function folder(t: TestContext): string {
  const path = fs.mkdtempSync(join(tmpdir(), "alknet-identity-"));
  t.after(() => fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

test("loadOrCreateIdentity() makes a key for its owner alone, and finds it again", (t) => {
  const home = join(folder(t), "a", "b");
  const path = join(home, "identity.key");
  const made = loadOrCreateIdentity(path);
  assert.match(made.fingerprint, /^ed25519:[0-9a-f]{64}$/);
  assert.equal(fs.statSync(path).mode & 0o777, 0o600);
  assert.equal(fs.statSync(home).mode & 0o777, 0o700);
  // Nothing is left over from writing it.
  assert.deepEqual(fs.readdirSync(home), ["identity.key"]);
  const found = loadOrCreateIdentity(path);
  assert.equal(found.fingerprint, made.fingerprint);
  assert.deepEqual(found.certificate, made.certificate);
  assert.equal(loadIdentity(path).fingerprint, made.fingerprint);
});

test("all parts of an identity are those of one key", () => {
  const identity = createIdentity();
  assert.equal(identity.publicKey.length, 32);
  assert.equal(identity.fingerprint, `ed25519:${Buffer.from(identity.publicKey).toString("hex")}`);
  assert.equal(fingerprintOfCertificate(identity.certificate), identity.fingerprint);
  const again = createPrivateKey({
    key: Buffer.from(identity.privateKeyDer),
    format: "der",
    type: "pkcs8",
  });
  assert.ok(again.equals(identity.privateKey));
});

test("an identity that others can read is refused, with the command that mends it", (t) => {
  const path = join(folder(t), "it's.key");
  loadOrCreateIdentity(path);
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    fs.chmodSync(path, mode);
    assert.throws(
      () => loadOrCreateIdentity(path),
      (error) => {
        assert.ok(error instanceof IdentityError);
        assert.equal(error.code, "IDENTITY_PERMISSIONS");
        assert.equal(error.path, path);
        assert.ok(error.hint.startsWith("chmod 600 '") && error.hint.endsWith(`it'\\''s.key'`));
        assert.ok(
          error.message.includes(`mode 0${mode.toString(8)}`) && error.message.includes(error.hint),
        );
        return true;
      },
    );
  }
  fs.chmodSync(path, 0o400);
  loadOrCreateIdentity(path);
});

test("a file that holds no Ed25519 key is refused, left as it is, and not quoted", (t) => {
  const home = folder(t);
  const secret = "hunter2-hunter2";
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
    format: "pem",
    type: "pkcs8",
  });
  const publicKey = generateKeyPairSync("ed25519").publicKey.export({
    format: "pem",
    type: "spki",
  });
  for (const content of [
    "",
    secret,
    p256,
    publicKey,
    `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----\n`,
  ]) {
    const path = join(home, "identity.key");
    fs.writeFileSync(path, content, { mode: 0o600 });
    assert.throws(
      () => loadOrCreateIdentity(path),
      (error) => {
        assert.equal((error as IdentityError).code, "IDENTITY_INVALID");
        return !inspect(error).includes(secret);
      },
    );
    assert.equal(fs.readFileSync(path, "utf8"), content);
  }
});

test("what is not a file of a sensible size is refused", (t) => {
  const home = folder(t);
  assert.throws(() => loadOrCreateIdentity(home), { code: "IDENTITY_UNREADABLE" });
  const large = join(home, "large");
  fs.writeFileSync(large, Buffer.alloc(20_000), { mode: 0o600 });
  assert.throws(() => loadOrCreateIdentity(large), {
    code: "IDENTITY_UNREADABLE",
    message: /at most 16384 bytes/,
  });
  assert.throws(() => loadOrCreateIdentity(join(large, "identity.key")), {
    code: "IDENTITY_UNREADABLE",
  });
  assert.throws(() => loadIdentity(join(home, "none")), {
    code: "IDENTITY_UNREADABLE",
    message: /no such file/,
  });
});

test("many that start at once end up with one identity", async (t) => {
  const path = join(folder(t), "identity.key");
  const module = new URL("./identity-file.ts", import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(${JSON.stringify(module)}).then(({ loadOrCreateIdentity }) => {
      parentPort.postMessage("ready");
      parentPort.once("message", () => parentPort.postMessage(loadOrCreateIdentity(workerData).fingerprint));
    });`;
  const workers = Array.from(
    { length: 4 },
    () => new Worker(code, { eval: true, workerData: path }),
  );
  const next = (worker: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await Promise.all(workers.map(next));
  const answers = Promise.all(workers.map(next));
  for (const worker of workers) worker.postMessage("go");
  assert.equal(new Set(await answers).size, 1);
  await Promise.all(workers.map((worker) => worker.terminate()));
  assert.equal(loadIdentity(path).fingerprint, (await answers)[0]);
});

test("derive() gives one secret per label, the same for the same key", () => {
  const key = createPrivateKey({
    key: Buffer.from(
      "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
      "hex",
    ),
    format: "der",
    type: "pkcs8",
  });
  const identity = identityFromKey(key);
  const secret = identity.derive("quic reset", 32);
  // HKDF-SHA256, salt "alknet": as `openssl kdf` has it for this key.
  assert.equal(
    Buffer.from(secret).toString("hex"),
    "c4fd2f0dcfb74780f9ef71732aa501b70eadb0b823f33a98794740ce510c6664",
  );
  assert.deepEqual(identityFromKey(key).derive("quic reset", 32), secret);
  assert.notDeepEqual(identity.derive("quic token", 32), secret);
  assert.equal(identity.derive("quic reset", 64).length, 64);
  assert.throws(() => identity.derive("x", 8_161));
});

test("an identity shows no secret to loggers", () => {
  const identity = createIdentity();
  const seed = Buffer.from(identity.privateKeyDer.subarray(-32));
  const shown =
    inspect(identity, { depth: 5 }) +
    JSON.stringify({ identity }) +
    JSON.stringify({ ...identity });
  assert.ok(!shown.includes("privateKey"));
  assert.ok(
    !shown.includes(seed.toString("hex")) && !shown.includes(`${seed[0]},${seed[1]},${seed[2]}`),
  );
  assert.equal(JSON.stringify(identity), `{"fingerprint":"${identity.fingerprint}"}`);
});
