import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { issueCertificate, selfSigned } from "./self-signed.ts";
import { newKey, pkcs8 } from "./test-identity.ts";

test("selfSigned() makes a certificate that OpenSSL reads, for its names and without an end", () => {
  const made = selfSigned({ names: ["a.test", "127.0.0.1", "fe80::1", "::ffff:10.0.0.1"] });
  const certificate = new X509Certificate(made.certificate);
  assert.equal(certificate.subject, "CN=a.test");
  assert.equal(certificate.checkHost("a.test"), "a.test");
  assert.equal(certificate.checkIP("127.0.0.1"), "127.0.0.1");
  assert.equal(certificate.checkIP("fe80::1"), "fe80::1");
  assert.equal(certificate.checkIP("::ffff:10.0.0.1"), "::ffff:10.0.0.1");
  assert.equal(certificate.validToDate.toISOString(), "9999-12-31T23:59:59.000Z");
  assert.deepEqual(certificate.publicKey.export({ format: "der", type: "spki" }), made.publicKey);
  assert.ok(certificate.verify(certificate.publicKey));
  assert.ok(
    certificate.checkPrivateKey(
      createPrivateKey({ key: made.privateKey, format: "der", type: "pkcs8" }),
    ),
  );
});

for (const type of ["ed25519", "ec", "rsa"] as const) {
  test(`selfSigned() takes an ${type} key`, () => {
    const privateKey = pkcs8(newKey(type));
    const made = selfSigned({ privateKey });
    assert.deepEqual(made.privateKey, privateKey);
    const certificate = new X509Certificate(made.certificate);
    assert.ok(certificate.verify(certificate.publicKey));
  });
}

test("issueCertificate() makes a CA and what it signs", () => {
  const [ca, leaf] = [newKey("ec"), newKey("ed25519")];
  const spki = (key: typeof ca) => createPublicKey(key).export({ format: "der", type: "spki" });
  const root = new X509Certificate(
    issueCertificate({ publicKey: spki(ca), issuerKey: ca, subject: "root", ca: true }),
  );
  const issued = new X509Certificate(
    issueCertificate({
      publicKey: spki(leaf),
      issuerKey: ca,
      issuer: "root",
      subject: "leaf",
      notBefore: new Date("2020-01-02T03:04:05Z"),
      notAfter: new Date("2049-12-31T23:59:59Z"),
    }),
  );
  assert.ok(root.ca);
  assert.ok(!issued.ca);
  assert.ok(issued.checkIssued(root));
  assert.ok(issued.verify(root.publicKey));
  assert.equal(issued.validFromDate.toISOString(), "2020-01-02T03:04:05.000Z");
  assert.equal(issued.validToDate.toISOString(), "2049-12-31T23:59:59.000Z");
});

test("issueCertificate() refuses a key that cannot sign", () => {
  const publicKey = selfSigned().publicKey;
  const issuerKey = createPublicKey({ key: publicKey, format: "der", type: "spki" });
  assert.throws(
    () => issueCertificate({ publicKey, issuerKey, subject: "x" }),
    /key type|private/i,
  );
});
