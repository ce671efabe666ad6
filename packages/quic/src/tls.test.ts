import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { QuicConnectionClosed } from "./close-reason.ts";
import { bind, type QuicEndpoint } from "./endpoint.ts";
import { extension, issueCertificate, selfSigned } from "./self-signed.ts";
import {
  ALPN,
  CLIENT,
  clientTls,
  dial,
  LOOPBACK,
  newKey,
  pair,
  pkcs8,
  serve,
  SERVER,
  serverTls,
} from "./test-identity.ts";
import { TlsClientConfig, type TlsClientOptions, TlsServerConfig } from "./tls.ts";

const spki = (key: ReturnType<typeof newKey>): Buffer =>
  createPublicKey(key).export({ format: "der", type: "spki" });

/** Dial with `options`, and close again. */
async function connects(
  server: QuicEndpoint,
  options: Partial<TlsClientOptions>,
  serverName?: string,
): Promise<void> {
  await using client = bind({ address: LOOPBACK });
  const connection = await dial(client, server, { tls: clientTls(options), serverName });
  connection.close();
}

/** The TLS alert with which a dial ends, and who sent it. */
async function alertOf(
  server: QuicEndpoint,
  options: Partial<TlsClientOptions>,
  serverName?: string,
): Promise<[number | undefined, string]> {
  await using client = bind({ address: LOOPBACK });
  try {
    const connection = await dial(client, server, { tls: clientTls(options), serverName });
    // The server judges a client's key after the client is connected.
    const reason = await connection.closed;
    assert.ok(reason.kind === "transport", JSON.stringify(reason));
    return [reason.alert, reason.by];
  } catch (error) {
    assert.ok(error instanceof QuicConnectionClosed, String(error));
    assert.ok(error.closeReason.kind === "transport", JSON.stringify(error.closeReason));
    return [error.closeReason.alert, error.closeReason.by];
  }
}

suite("a client's trust", () => {
  test("publicKeys takes a raw Ed25519 key or an SPKI, one of several", async () => {
    await using server = serve();
    await connects(server, { verify: { publicKeys: [SERVER.publicKey] } });
    await connects(server, { verify: { publicKeys: [SERVER.publicKey.subarray(-32)] } });
    await connects(server, { verify: { publicKeys: [CLIENT.publicKey, SERVER.publicKey] } });
  });

  test("another key, or none, is refused with bad_certificate's kin", async () => {
    await using server = serve();
    for (const publicKeys of [[CLIENT.publicKey], [], [Buffer.alloc(32)], [randomBytes(44)]]) {
      const [alert, by] = await alertOf(server, { verify: { publicKeys } });
      assert.equal(by, "local");
      assert.ok([42, 46, 49].includes(alert!), `${alert}`);
    }
  });

  test("certificateSha256 pins the leaf", async () => {
    await using server = serve();
    const sha256 = createHash("sha256").update(SERVER.certificate).digest();
    await connects(server, { verify: { certificateSha256: [sha256] } });
    assert.equal(
      (await alertOf(server, { verify: { certificateSha256: [randomBytes(32)] } }))[1],
      "local",
    );
  });

  test("dangerouslyAcceptAny takes any key, and has to be said", async () => {
    await using server = serve();
    await connects(server, { verify: { dangerouslyAcceptAny: true } });
    assert.throws(() => clientTls({ verify: { dangerouslyAcceptAny: false } as never }), TypeError);
    assert.throws(() => clientTls({ verify: {} as never }), TypeError);
  });

  test("a pinned certificate with another private key is refused, whatever is trusted", async () => {
    const stolen = new TlsServerConfig({
      certificates: [SERVER.certificate],
      privateKey: CLIENT.privateKey,
    });
    await using server = serve({ server: { configure: () => ({ tls: stolen, alpn: ALPN }) } });
    const sha256 = createHash("sha256").update(SERVER.certificate).digest();
    for (const verify of [
      { publicKeys: [SERVER.publicKey] },
      { certificateSha256: [sha256] },
      { dangerouslyAcceptAny: true } as const,
    ]) {
      assert.deepEqual(await alertOf(server, { verify }), [51, "local"]);
    }
  });

  test("dates of a pinned key do not count", async () => {
    for (const [notBefore, notAfter] of [
      ["2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z"],
      ["2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z"],
    ] as const) {
      const key = newKey("ed25519");
      const certificate = issueCertificate({
        publicKey: spki(key),
        issuerKey: key,
        subject: "x",
        notBefore: new Date(notBefore),
        notAfter: new Date(notAfter),
      });
      const tls = new TlsServerConfig({ certificates: [certificate], privateKey: pkcs8(key) });
      await using server = serve({ server: { configure: () => ({ tls, alpn: ALPN }) } });
      await connects(server, { verify: { publicKeys: [spki(key)] } });
    }
  });
});

suite("roots", () => {
  const ca = newKey("ec");
  const root = issueCertificate({
    publicKey: spki(ca),
    issuerKey: ca,
    subject: "Test CA",
    ca: true,
  });

  /** A server with a leaf that the CA signed. */
  function issued(options: { names: string[]; notBefore?: Date; notAfter?: Date }): QuicEndpoint {
    const key = newKey("ec");
    const leaf = issueCertificate({
      publicKey: spki(key),
      issuerKey: ca,
      issuer: "Test CA",
      subject: "leaf",
      ...options,
    });
    const tls = new TlsServerConfig({ certificates: [leaf, root], privateKey: pkcs8(key) });
    return serve({ server: { configure: () => ({ tls, alpn: ALPN }) } });
  }

  test("take a server of that CA, for its names and addresses only", async () => {
    await using server = issued({ names: ["web.test", "127.0.0.1"] });
    await connects(server, { verify: { roots: [root] } }, "web.test");
    await connects(server, { verify: { roots: [root] } }, "127.0.0.1");
    for (const name of ["other.test", "127.0.0.2", undefined]) {
      const [alert, by] = await alertOf(server, { verify: { roots: [root] } }, name);
      assert.deepEqual([alert !== undefined, by], [true, "local"]);
    }
  });

  test("refuse another CA and dates that are past or to come", async () => {
    const other = newKey("ec");
    const stranger = issueCertificate({
      publicKey: spki(other),
      issuerKey: other,
      subject: "Test CA",
      ca: true,
    });
    await using server = issued({ names: ["web.test"] });
    assert.equal(
      (await alertOf(server, { verify: { roots: [stranger] } }, "web.test"))[1],
      "local",
    );
    await using expired = issued({ names: ["web.test"], notAfter: new Date("2020-01-01") });
    assert.deepEqual(await alertOf(expired, { verify: { roots: [root] } }, "web.test"), [
      45,
      "local",
    ]);
    await using future = issued({ names: ["web.test"], notBefore: new Date("2120-01-01") });
    assert.equal((await alertOf(future, { verify: { roots: [root] } }, "web.test"))[1], "local");
  });

  test("must be certificates, and cannot judge raw keys", () => {
    assert.throws(() => clientTls({ verify: { roots: [] } }), /CA certificates/);
    assert.throws(() => clientTls({ verify: { roots: [randomBytes(100)] } }), /CA certificates/);
    assert.throws(
      () => clientTls({ verify: { roots: [root] }, rawPublicKeys: true }),
      /raw public/,
    );
  });
});

suite("a client's certificate", () => {
  test("is asked for by some configurations only, and is what the server sees", async () => {
    const asking = serverTls({ clientCertificate: "request" });
    const silent = serverTls({ clientCertificate: "none" });
    await using server = serve({
      server: {
        configure: ({ alpn }) => ({ tls: alpn[0] === "asks" ? asking : silent, alpn: alpn[0]! }),
      },
    });
    await using client = bind({ address: LOOPBACK });
    for (const [alpn, expected] of [
      ["asks", CLIENT.certificate],
      ["silent", undefined],
    ] as const) {
      const [near, far] = await Promise.all([
        dial(client, server, { tls: clientTls({ alpn: [alpn] }) }),
        server.accept(),
      ]);
      assert.deepEqual(far?.peerCertificate, expected);
      assert.equal(far?.peerCertificateType, expected && "x509");
      assert.deepEqual(near.peerCertificate, SERVER.certificate);
      assert.equal(near.peerCertificateType, "x509");
      near.close();
    }
  });

  test("may be absent where it is requested, and not where it is required", async () => {
    const none = { certificates: undefined, privateKey: undefined };
    await using server = serve();
    await using client = bind({ address: LOOPBACK });
    const tls = new TlsClientConfig({ alpn: [ALPN], verify: { publicKeys: [SERVER.publicKey] } });
    const [near, far] = await Promise.all([dial(client, server, { tls }), server.accept()]);
    assert.equal(far?.peerCertificate, undefined);
    assert.equal(far?.peerCertificateType, undefined);
    near.close();
    const strict = serverTls({ clientCertificate: "require" });
    await using guarded = serve({ server: { configure: () => ({ tls: strict, alpn: ALPN }) } });
    await connects(guarded, {});
    assert.deepEqual(await alertOf(guarded, none as never), [116, "peer"]);
  });

  for (const type of ["ed25519", "ec", "rsa"] as const) {
    test(`of an ${type} key is accepted, whoever signed it`, async () => {
      const own = selfSigned({ privateKey: pkcs8(newKey(type)) });
      await using sides = await pair({
        connect: {
          tls: clientTls({ certificates: [own.certificate], privateKey: own.privateKey }),
        },
      });
      assert.deepEqual(sides.far.peerCertificate, own.certificate);
      const seen = new X509Certificate(sides.far.peerCertificate);
      assert.deepEqual(seen.publicKey.export({ format: "der", type: "spki" }), own.publicKey);
    });
  }

  test("with somebody else's private key is refused", async () => {
    const failures: string[] = [];
    await using server = serve({
      server: { handshakeFailed: ({ reason }) => failures.push(reason.kind) },
    });
    assert.deepEqual(
      await alertOf(server, {
        certificates: [SERVER.certificate],
        privateKey: CLIENT.privateKey,
      }),
      [51, "peer"],
    );
    assert.deepEqual(failures, ["transport"]);
    assert.equal(server.connectionCount, 0);
  });

  test("that is malformed or above 16 KiB is refused in the handshake", async () => {
    const key = newKey("ed25519");
    const padded = (length: number): Buffer =>
      issueCertificate({
        publicKey: spki(key),
        issuerKey: key,
        subject: "x",
        extensions: [extension("2b06010401868d1f01", false, randomBytes(length))],
      });
    await using server = serve();
    const privateKey = pkcs8(key);
    await connects(server, { certificates: [padded(15_000)], privateKey });
    for (const certificate of [
      padded(17_000),
      padded(100_000),
      randomBytes(500),
      Buffer.alloc(0),
      CLIENT.certificate.subarray(0, -1),
      Buffer.concat([CLIENT.certificate, Buffer.from([0])]),
    ]) {
      // By an alert, or for the length of the message before it is one.
      const [, by] = await alertOf(server, { certificates: [certificate], privateKey });
      assert.equal(by, "peer", `${certificate.length}`);
    }
    // Padding the chain does not get around the bound.
    const chain = [padded(9_000), padded(9_000)];
    assert.equal((await alertOf(server, { certificates: chain, privateKey }))[1], "peer");
  });
});

suite("raw public keys", () => {
  test("are shown both ways, as SPKI", async () => {
    const tls = serverTls({ rawPublicKeys: true });
    await using sides = await pair({
      server: { server: { configure: () => ({ tls, alpn: ALPN }) } },
      connect: { tls: clientTls({ rawPublicKeys: true }) },
    });
    assert.equal(sides.near.peerCertificateType, "raw");
    assert.deepEqual(sides.near.peerCertificate, SERVER.publicKey);
    assert.equal(sides.far.peerCertificateType, "raw");
    assert.deepEqual(sides.far.peerCertificate, CLIENT.publicKey);
  });

  test("live beside X.509 on one configuration", async () => {
    const tls = serverTls({ rawPublicKeys: true });
    await using server = serve({ server: { configure: () => ({ tls, alpn: ALPN }) } });
    await connects(server, { rawPublicKeys: true });
    await connects(server, { rawPublicKeys: false });
    await connects(server, { rawPublicKeys: true });
  });

  test("a wrong pin and a server without them fail", async () => {
    const raw = serverTls({ rawPublicKeys: true });
    await using server = serve({ server: { configure: () => ({ tls: raw, alpn: ALPN }) } });
    const wrong = { rawPublicKeys: true, verify: { publicKeys: [CLIENT.publicKey] } };
    assert.equal((await alertOf(server, wrong))[1], "local");
    await using plain = serve();
    assert.notEqual((await alertOf(plain, { rawPublicKeys: true }))[0], undefined);
  });

  test("need no certificate at the client", async () => {
    const tls = serverTls({ rawPublicKeys: true, clientCertificate: "require" });
    await using server = serve({ server: { configure: () => ({ tls, alpn: ALPN }) } });
    await using client = bind({ address: LOOPBACK });
    const [near, far] = await Promise.all([
      dial(client, server, {
        tls: new TlsClientConfig({
          alpn: [ALPN],
          verify: { publicKeys: [SERVER.publicKey] },
          privateKey: CLIENT.privateKey,
          rawPublicKeys: true,
        }),
      }),
      server.accept(),
    ]);
    assert.deepEqual(far?.peerCertificate, CLIENT.publicKey);
    near.close();
  });
});

suite("configurations", () => {
  test("refuse keys and certificates that cannot be used", () => {
    assert.throws(() => serverTls({ certificates: [] }), /empty/);
    assert.throws(() => serverTls({ privateKey: randomBytes(48) }), /PKCS #8/);
    assert.throws(() => clientTls({ privateKey: randomBytes(48) }), /PKCS #8/);
    assert.throws(() => clientTls({ certificates: [] }), /empty/);
    assert.throws(
      () => serverTls({ keyLogFile: "/nonexistent-folder/keys" }),
      /cannot open the key log/,
    );
    assert.throws(() => serverTls({ privateKey: "text" as never }));
    assert.throws(() => serverTls({ clientCertificate: "sometimes" as never }), TypeError);
  });

  test("connect() and configure() want a configuration of ours", async () => {
    await using client = bind({ address: LOOPBACK });
    await assert.rejects(
      client.connect({ address: LOOPBACK, port: 1, tls: {} as never }),
      TypeError,
    );
    await assert.rejects(
      client.connect({ address: LOOPBACK, port: 1, tls: serverTls() as never }),
      TypeError,
    );
  });

  test("keyLogFile collects the secrets of both sides, for its owner's eyes only", async () => {
    const folder = await mkdtemp(join(tmpdir(), "quic-keys-"));
    try {
      const keyLogFile = join(folder, "keys");
      const tls = serverTls({ keyLogFile });
      await using sides = await pair({
        server: { server: { configure: () => ({ tls, alpn: ALPN }) } },
        connect: { tls: clientTls({ keyLogFile }) },
      });
      sides.near.close();
      const lines = (await readFile(keyLogFile, "utf8")).trimEnd().split("\n");
      for (const label of [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
      ]) {
        const found = lines.filter((line) => line.startsWith(`${label} `));
        assert.equal(found.length, 2, label);
        // Both sides have the same.
        assert.equal(found[0], found[1]);
        assert.match(found[0]!, /^[A-Z_0]+ [0-9a-f]{64} [0-9a-f]{64,96}$/);
      }
      assert.equal((await stat(keyLogFile)).mode & 0o777, 0o600);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("without keyLogFile the secrets go where SSLKEYLOGFILE says, if it says so", async () => {
    const folder = await mkdtemp(join(tmpdir(), "quic-keys-"));
    const before = process.env["SSLKEYLOGFILE"];
    try {
      const file = join(folder, "keys");
      process.env["SSLKEYLOGFILE"] = file;
      const tls = clientTls();
      process.env["SSLKEYLOGFILE"] = "";
      await using sides = await pair({ connect: { tls } });
      sides.near.close();
      assert.match(await readFile(file, "utf8"), /^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64} /m);
    } finally {
      if (before === undefined) delete process.env["SSLKEYLOGFILE"];
      else process.env["SSLKEYLOGFILE"] = before;
      await rm(folder, { recursive: true });
    }
  });
});
