import assert from "node:assert/strict";
import { test } from "node:test";
import { webCertificate } from "./certificate.ts";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import { createIdentity } from "./identity-file.ts";
import { fingerprintOfLeaf } from "./leaf-fingerprint.ts";

test("fingerprintOfLeaf() names a certificate as fingerprintOfCertificate() does, each time", () => {
  const certificates = [createIdentity(), createIdentity()].map(({ certificate }) => certificate);
  certificates.push(webCertificate(["a.example"]).certificate);
  certificates.push(
    webCertificate(Array.from({ length: 40 }, (_, i) => `${i}.example`)).certificate,
  );
  for (let round = 0; round < 3; round++) {
    for (const certificate of certificates) {
      const der = Buffer.from(certificate);
      assert.equal(fingerprintOfLeaf(der), fingerprintOfCertificate(der));
    }
  }
});

test("fingerprintOfLeaf() refuses the same malformed certificate each time", () => {
  const { certificate } = createIdentity();
  for (let round = 0; round < 3; round++) {
    for (const der of [
      Buffer.alloc(0),
      Buffer.from(certificate).subarray(1),
      Buffer.alloc(20_000),
    ]) {
      assert.throws(() => fingerprintOfLeaf(der), { code: "CERTIFICATE_INVALID" });
    }
  }
});

test("fingerprintOfLeaf() may forget, and is right after that", () => {
  const { certificate, fingerprint } = createIdentity();
  const der = Buffer.from(certificate);
  assert.equal(fingerprintOfLeaf(der), fingerprint);
  // The serial of our template (16 bytes at 15) may be anything: as many leafs as one likes.
  for (let i = 0; i < 5_000; i++) {
    const other = Buffer.from(der);
    other.writeUInt32BE(i, 20);
    assert.equal(fingerprintOfLeaf(other), fingerprint);
  }
  assert.equal(fingerprintOfLeaf(der), fingerprint);
});
