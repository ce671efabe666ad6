import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import * as tls from "node:tls";
import { bind } from "@alknet/quic/endpoint";
import { TlsClientConfig, TlsServerConfig } from "@alknet/quic/tls";
import { selfSignedCertificate, webCertificate } from "./certificate.ts";
import { FakeClock } from "./fake-clock.ts";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import { createIdentity } from "./identity-file.ts";

/** RFC 8410 §10.3's private key. */
const RFC_8410 = createPrivateKey({
  key: Buffer.from(
    "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
    "hex",
  ),
  format: "der",
  type: "pkcs8",
});

function pem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
}

test("selfSignedCertificate() gives the same bytes for the same key, always", () => {
  const { certificate } = selfSignedCertificate(RFC_8410);
  assert.deepEqual(selfSignedCertificate(RFC_8410).certificate, certificate);
  // Fixed: a node that is updated shows the certificate that it showed before.
  assert.equal(
    Buffer.from(certificate).toString("hex"),
    "308201103081c3a003020102021061e9156054e04fac899ae9f275132cdc300506032b6570301131" +
      "0f300d06035504030c06616c6b6e65743020170d3730303130313030303030305a180f3939393931" +
      "3233313233353935395a3011310f300d06035504030c06616c6b6e6574302a300506032b65700321" +
      "0019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1a32f302d300c06" +
      "03551d130101ff04023000301d0603551d250416301406082b0601050507030106082b0601050507" +
      "0302300506032b6570034100095653403828bcd48b41ad4c2b906626e3c466354b622d31f68dd152" +
      "a9202f1f60c6c8c6b21ce611c650fe53a4fd0f7aeb042ea6335f029f55569676f0c77909",
  );
});

test("selfSignedCertificate() is X.509 v3 as RFC 5280 has it", () => {
  const { certificate } = selfSignedCertificate(RFC_8410);
  const parsed = new X509Certificate(certificate);
  assert.ok(parsed.verify(parsed.publicKey));
  assert.ok(parsed.checkIssued(parsed) && parsed.checkPrivateKey(RFC_8410));
  assert.equal(parsed.ca, false);
  assert.equal(parsed.subject, "CN=alknet");
  assert.deepEqual(parsed.keyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  assert.equal(parsed.validFromDate.getTime(), 0);
  assert.equal(parsed.validToDate.getTime(), Date.UTC(9999, 11, 31, 23, 59, 59));
  assert.equal(parsed.serialNumber.length, 32);
  const text = Buffer.from(certificate).toString("latin1");
  assert.ok(text.includes("\x17\x0d700101000000Z") && text.includes("\x18\x0f99991231235959Z"));
});

test("the serial is positive and has no leading zero, for any key", () => {
  for (let count = 0; count < 50; count++) {
    const { certificate } = selfSignedCertificate(generateKeyPairSync("ed25519").privateKey);
    const first = Number.parseInt(new X509Certificate(certificate).serialNumber.slice(0, 2), 16);
    assert.ok(first >= 0x40 && first <= 0x7f);
  }
});

test("selfSignedCertificate() wants an Ed25519 private key", () => {
  const message = /expected an Ed25519 private key$/;
  assert.throws(() => selfSignedCertificate(generateKeyPairSync("x25519").privateKey), {
    name: "TypeError",
    message,
  });
  assert.throws(() => selfSignedCertificate(generateKeyPairSync("ed25519").publicKey), {
    name: "TypeError",
    message,
  });
});

test("node:tls takes the leaf on both sides, and each sees the other's key", async () => {
  const keys = [
    generateKeyPairSync("ed25519").privateKey,
    generateKeyPairSync("ed25519").privateKey,
  ] as const;
  const [server, client] = keys.map((key) => ({
    key: key.export({ format: "pem", type: "pkcs8" }),
    cert: pem(selfSignedCertificate(key).certificate),
  })) as [tls.SecureContextOptions, tls.SecureContextOptions];
  const listener = tls.createServer({
    ...server,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const accepted = once(listener, "secureConnection") as Promise<[tls.TLSSocket]>;
  const { port } = listener.address() as AddressInfo;
  const socket = tls.connect({ ...client, host: "127.0.0.1", port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const [other] = await accepted;
  assert.ok(other.getPeerX509Certificate()?.checkPrivateKey(keys[1]));
  assert.ok(socket.getPeerX509Certificate()?.checkPrivateKey(keys[0]));
  socket.destroy();
  other.destroy();
  listener.close();
  await once(listener, "close");
});

test("rustls takes the leaf on both sides, and the web certificate for its name", async () => {
  const node = createIdentity();
  const caller = createIdentity();
  const web = webCertificate(["localhost"]);
  const leaf = new TlsServerConfig({
    certificates: [node.certificate],
    privateKey: node.privateKeyDer,
    clientCertificate: "require",
  });
  const webTls = new TlsServerConfig({
    certificates: [web.certificate],
    privateKey: web.privateKeyDer,
  });
  await using server = bind({
    address: "127.0.0.1",
    server: {
      configure: ({ alpn }) =>
        alpn[0] === "h3" ? { tls: webTls, alpn: "h3" } : { tls: leaf, alpn: "alknet/test" },
    },
  });
  await using client = bind({ address: "127.0.0.1" });
  const { port } = server.address;
  const own = await client.connect({
    address: "127.0.0.1",
    port,
    tls: new TlsClientConfig({
      alpn: ["alknet/test"],
      verify: { publicKeys: [node.publicKey] },
      certificates: [caller.certificate],
      privateKey: caller.privateKeyDer,
    }),
  });
  const served = await server.accept();
  assert.equal(fingerprintOfCertificate(own.peerCertificate!), node.fingerprint);
  assert.equal(fingerprintOfCertificate(served!.peerCertificate!), caller.fingerprint);
  const browsed = await client.connect({
    address: "127.0.0.1",
    port,
    serverName: "localhost",
    tls: new TlsClientConfig({ alpn: ["h3"], verify: { roots: [web.certificate] } }),
  });
  assert.equal(browsed.alpn, "h3");
});

test("webCertificate() is for the names given, with a P-256 key, for 825 days", () => {
  const clock = new FakeClock(Date.UTC(2026, 10, 1));
  const names = ["Den.example.", "*.x".replace("*", "w"), "192.0.2.1", "[2001:db8::1]"];
  const made = webCertificate(names, { clock });
  const parsed = new X509Certificate(made.certificate);
  assert.ok(parsed.verify(parsed.publicKey) && parsed.checkPrivateKey(made.privateKey));
  assert.equal(parsed.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  assert.equal(
    parsed.subjectAltName,
    "DNS:den.example, DNS:w.x, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1",
  );
  assert.equal(parsed.checkHost("den.example"), "den.example");
  assert.equal(parsed.checkHost("other.example"), undefined);
  assert.equal(parsed.validFromDate.getTime(), Date.UTC(2026, 9, 31));
  assert.equal(parsed.validToDate.getTime() - parsed.validFromDate.getTime(), 825 * 86_400_000);
  assert.deepEqual(parsed.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  assert.ok(
    new X509Certificate(made.certificate).checkPrivateKey(
      createPrivateKey({ key: Buffer.from(made.privateKeyDer), format: "der", type: "pkcs8" }),
    ),
  );
  assert.notDeepEqual(webCertificate(names, { clock }).certificate, made.certificate);
});

test("webCertificate() writes dates from 2050 on with four digits", () => {
  const { certificate } = webCertificate(["a"], { clock: new FakeClock(Date.UTC(2049, 0, 1)) });
  const text = Buffer.from(certificate).toString("latin1");
  assert.ok(text.includes("\x17\x0d481231000000Z") && text.includes("\x18\x0f20510405000000Z"));
});

test("webCertificate() refuses what is no host, and no host at all", () => {
  assert.throws(() => webCertificate(["a b"]), {
    name: "TypeError",
    message: /"a b": expected a host$/,
  });
  assert.throws(() => webCertificate([]), { name: "TypeError", message: /at least one name$/ });
});
