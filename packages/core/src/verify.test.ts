import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { webCertificate } from "./certificate.ts";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import { createIdentity } from "./identity-file.ts";
import { systemRoots, verifyServer } from "./verify.ts";

const node = createIdentity();
const web = webCertificate(["node.example"]).certificate;
const leaf = fingerprintOfCertificate(web);
const address = "192.0.2.1:7433";
const shows = (certificate: Uint8Array, trusted: true | string = "self-signed certificate") => ({
  certificate: Buffer.from(certificate),
  raw: false,
  trusted,
  address,
});

test("verifyServer() takes a known key, whatever the CAs say", () => {
  const expected = { kind: "pinned", fingerprints: [leaf, node.fingerprint] } as const;
  assert.equal(verifyServer(expected, shows(node.certificate)), node.fingerprint);
  assert.equal(verifyServer(expected, shows(web)), leaf);
  const spki = new X509Certificate(node.certificate).publicKey.export({
    format: "der",
    type: "spki",
  });
  assert.equal(
    verifyServer(expected, { ...shows(spki), raw: true }),
    node.fingerprint,
    "a raw public key names the same peer",
  );
});

test("verifyServer() refuses another key, also one that a CA vouches for, and names it", () => {
  const expected = { kind: "pinned", fingerprints: [node.fingerprint] } as const;
  assert.throws(() => verifyServer(expected, shows(web, true)), {
    code: "PEER_KEY_MISMATCH",
    seen: leaf,
    expected: [node.fingerprint],
    message: `wrong key at ${address}: expected ${node.fingerprint}, and it showed ${leaf}`,
    hint: new RegExp(`dial ${leaf}@192.0.2.1:7433`),
  });
  assert.throws(() => verifyServer({ ...expected, peer: "den" }, shows(web, true)), {
    code: "PEER_KEY_MISMATCH",
    hint: new RegExp(`confirms ${leaf}: alknet peers rotate-key den ${leaf}; or, .*alknet\\.toml`),
  });
});

test("verifyServer() takes a name that a CA vouches for, and nothing else without a key", () => {
  const named = { kind: "name", host: "node.example" } as const;
  assert.equal(verifyServer(named, shows(web, true)), leaf);
  assert.throws(() => verifyServer(named, shows(web)), {
    code: "PEER_UNPINNED",
    seen: leaf,
    hint: new RegExp(`alknet peers add NAME ${leaf} --address ${address}$`),
  });
  assert.throws(() => verifyServer(named, shows(node.certificate)), { seen: node.fingerprint });
  assert.throws(() => verifyServer({ kind: "unknown" }, shows(web, true)), {
    code: "PEER_UNPINNED",
  });
});

test("verifyServer() refuses a certificate that it cannot read", () => {
  const expected = { kind: "pinned", fingerprints: [leaf] } as const;
  for (const certificate of [Buffer.alloc(0), web.subarray(1), Buffer.alloc(100_000, 0x30)]) {
    assert.throws(() => verifyServer(expected, shows(certificate)), {
      code: "CERTIFICATE_INVALID",
    });
  }
});

test("systemRoots() has CAs, from the system or from Node", () => {
  assert.ok(systemRoots().length > 20);
  assert.match(systemRoots()[0]!, /^-----BEGIN CERTIFICATE-----/);
});
