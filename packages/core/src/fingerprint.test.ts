import "reflect-metadata";
import assert from "node:assert/strict";
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type webcrypto,
  X509Certificate,
} from "node:crypto";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import * as fc from "fast-check";
import { selfSignedCertificate, webCertificate } from "./certificate.ts";
import {
  CertificateError,
  fingerprintBytes,
  fingerprintOfCertificate,
  fingerprintOfPublicKey,
  fingerprintOfSpki,
  parseFingerprint,
} from "./fingerprint.ts";

function sha256(bytes: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function spkiOf(certificate: Uint8Array): Buffer {
  return new X509Certificate(certificate).publicKey.export({ format: "der", type: "spki" });
}

/** A certificate by another implementation, with everything in it that one may have. */
async function foreign(
  algorithm: webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | webcrypto.Algorithm,
): Promise<Uint8Array> {
  const keys = (await crypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: "CN=Someone, O=Somewhere, C=DE",
    notBefore: new Date("2001-01-01"),
    notAfter: new Date("2002-01-01"),
    keys,
    signingAlgorithm: { name: algorithm.name, hash: "SHA-256" } as webcrypto.EcdsaParams,
    extensions: [
      new x509.BasicConstraintsExtension(true, 2, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

const rsa = {
  name: "RSASSA-PKCS1-v1_5",
  hash: "SHA-256",
  publicExponent: Uint8Array.of(1, 0, 1),
  modulusLength: 2_048,
};
const samples = await Promise.all([
  foreign({ name: "Ed25519" }),
  foreign({ name: "ECDSA", namedCurve: "P-256" } as webcrypto.EcKeyGenParams),
  foreign(rsa),
]);
const [foreignEd25519, foreignP256, foreignRsa] = samples as [Uint8Array, Uint8Array, Uint8Array];
const own = selfSignedCertificate(generateKeyPairSync("ed25519").privateKey).certificate;
const web = webCertificate(["den.example"]).certificate;

test("an Ed25519 key is named by its raw bytes, whatever is around it", () => {
  const keys = generateKeyPairSync("ed25519");
  const raw = Buffer.from(keys.publicKey.export({ format: "jwk" }).x!, "base64url");
  const expected = `ed25519:${raw.toString("hex")}`;
  assert.equal(fingerprintOfPublicKey(raw), expected);
  assert.equal(fingerprintOfSpki(keys.publicKey.export({ format: "der", type: "spki" })), expected);
  assert.equal(
    fingerprintOfCertificate(selfSignedCertificate(keys.privateKey).certificate),
    expected,
  );
  const foreignRaw = spkiOf(foreignEd25519).subarray(-32);
  assert.equal(fingerprintOfCertificate(foreignEd25519), fingerprintOfPublicKey(foreignRaw));
});

test("any other key is named by the SHA-256 of the certificate", () => {
  for (const certificate of [foreignP256, foreignRsa, web]) {
    assert.equal(fingerprintOfCertificate(certificate), sha256(certificate));
    const spki = spkiOf(certificate);
    assert.equal(fingerprintOfSpki(spki), sha256(spki));
  }
  const ed448 = generateKeyPairSync("ed448").publicKey.export({ format: "der", type: "spki" });
  assert.equal(fingerprintOfSpki(ed448), sha256(ed448));
});

test("fingerprintOfCertificate() refuses every truncation, and anything after the end", () => {
  for (const certificate of [own, web, foreignP256]) {
    for (let length = 0; length < certificate.length; length++) {
      assert.throws(
        () => fingerprintOfCertificate(certificate.subarray(0, length)),
        CertificateError,
      );
    }
    assert.throws(() => fingerprintOfCertificate(Buffer.concat([certificate, Buffer.alloc(1)])), {
      name: "CertificateError",
      code: "CERTIFICATE_INVALID",
    });
  }
});

test("fingerprintOfCertificate() never finds another key than OpenSSL in a mutated certificate", () => {
  const mutation = fc.record({
    at: fc.nat(5_000),
    byte: fc.nat(255),
    kind: fc.constantFrom("set", "insert", "delete"),
  });
  let both = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(own, web, ...samples),
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      (certificate, mutations) => {
        const bytes = [...certificate];
        for (const { at, byte, kind } of mutations) {
          const index = at % bytes.length;
          if (kind === "set") bytes[index] = byte;
          else bytes.splice(index, kind === "delete" ? 1 : 0, ...(kind === "insert" ? [byte] : []));
        }
        const der = Uint8Array.from(bytes);
        let ours: string;
        try {
          ours = fingerprintOfCertificate(der);
        } catch (error) {
          assert.ok(error instanceof CertificateError, String(error));
          return;
        }
        let spki: Buffer;
        try {
          spki = spkiOf(der);
        } catch {
          return; // OpenSSL reads more of it than we do; what neither TLS stack accepts never gets here.
        }
        both++;
        const isEd25519 =
          spki.length === 44 && spki.subarray(0, 12).toString("hex") === "302a300506032b6570032100";
        assert.equal(ours, isEd25519 ? fingerprintOfPublicKey(spki.subarray(12)) : sha256(der));
      },
    ),
    { numRuns: 5_000 },
  );
  assert.ok(both > 100, `${both} compared`);
});

test("fingerprintOfCertificate() survives random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.throws(() => fingerprintOfCertificate(bytes), CertificateError);
      assert.throws(() => fingerprintOfSpki(bytes), CertificateError);
    }),
    { numRuns: 2_000 },
  );
});

test("an Ed25519 key in an unusual wrapping is refused, so that a key has one name", () => {
  const key = "11".repeat(32);
  const spki = (text: string): Buffer => Buffer.from(text, "hex");
  fingerprintOfSpki(spki(`302a300506032b6570032100${key}`));
  for (const text of [
    `302c300706032b65700500032100${key}`, // with NULL as parameters
    `302a300506032b6570032101${key}`, // unused bits
    `302b300506032b6570032200${key}00`, // a byte too many
    `3029300506032b6570032000${key.slice(2)}`,
    `302a300506032b6570032100${key}00`, // after the end
    `30812a300506032b6570032100${key}`, // a longer length
    `300a300506032b65700301`,
  ]) {
    assert.throws(() => fingerprintOfSpki(spki(text)), CertificateError, text);
  }
});

test("a certificate above 16 KiB is refused before it is read", () => {
  assert.throws(
    () => fingerprintOfCertificate(new Uint8Array(16_385)),
    /cannot read certificate of 16385 bytes: expected at most 16384$/,
  );
  assert.throws(() => fingerprintOfSpki(new Uint8Array(100_000)), CertificateError);
});

test("parseFingerprint() takes one form only, and fingerprintBytes() undoes it", () => {
  const text = `ed25519:${"0f".repeat(32)}`;
  assert.deepEqual(fingerprintBytes(parseFingerprint(text)), {
    kind: "ed25519",
    bytes: new Uint8Array(32).fill(15),
  });
  assert.equal(fingerprintBytes(parseFingerprint(`SHA256:${"0f".repeat(32)}`)).kind, "SHA256");
  for (const wrong of [
    "",
    "ed25519:",
    text.toUpperCase(),
    ` ${text}`,
    `${text}\n`,
    `${text}0`,
    text.slice(0, -1),
    `sha256:${"0f".repeat(32)}`,
    "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
  ]) {
    assert.throws(
      () => parseFingerprint(wrong),
      { name: "SyntaxError", code: "FINGERPRINT_INVALID", message: /64 lower-case hex digits$/ },
      wrong,
    );
  }
});

test("fingerprintOfPublicKey() wants 32 bytes", () => {
  assert.throws(() => fingerprintOfPublicKey(new Uint8Array(33)), RangeError);
  const { publicKey } = generateKeyPairSync("ed25519");
  assert.throws(
    () =>
      fingerprintOfPublicKey(
        createPublicKey(publicKey.export({ format: "pem", type: "spki" })).export({
          format: "der",
          type: "spki",
        }),
      ),
    /44 bytes: expected 32/,
  );
});
