import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { bind } from "@alknet/quic/endpoint";
import { issueCertificate } from "@alknet/quic/self-signed";
import { TlsServerConfig } from "@alknet/quic/tls";
import { fingerprintOfCertificate } from "./fingerprint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { createIdentity } from "./identity-file.ts";
import { dialer, echo, node, readAll, serve, settle, target } from "./test-dialer.ts";
import { LOOPBACK } from "./test-paths.ts";
import { pemOf } from "./tls-context.ts";

test("dial() ends with the peer's answer, and tries nothing else", async () => {
  await using endpoint = await serve();
  await using it = dialer();
  const other = createIdentity();
  await assert.rejects(
    it.dial(`${other.fingerprint}@${LOOPBACK}:${endpoint.port}`, "alknet/echo"),
    {
      code: "PEER_KEY_MISMATCH",
      seen: node.fingerprint,
      expected: [other.fingerprint],
    },
  );
  await assert.rejects(it.dial(target(endpoint.port), "nope"), { code: "UNKNOWN_ALPN" });
  const stranger = createIdentity();
  const connection = await it.dial(target(endpoint.port), "alknet/echo", { identity: stranger });
  await assert.rejects(connection.accepted, { code: "UNAVAILABLE" });
  assert.equal(endpoint.limits.stats().connections, 0);
});

test("dial() over QUIC does not tell an impostor who dials", async () => {
  const seen: (string | undefined)[] = [];
  await using endpoint = await serve({
    onevent: (event) => {
      if ("fingerprint" in event) seen.push(event.fingerprint);
    },
  });
  await using it = dialer();
  const other = createIdentity();
  await assert.rejects(
    it.dial(`${other.fingerprint}@${LOOPBACK}:${endpoint.port}`, "alknet/echo", {
      transports: ["quic"],
    }),
    { code: "PEER_KEY_MISMATCH", seen: node.fingerprint, expected: [other.fingerprint] },
  );
  // Once more as nobody, to see whom it met.
  while (seen.length === 0) await settle(1);
  assert.deepEqual(seen, [undefined]);
});

test("dial() over QUIC is not taken in by a server that shows the right key only when it is asked again", async () => {
  const impostor = createIdentity();
  const [wrong, right] = [impostor, node].map(
    ({ certificate, privateKeyDer }) =>
      new TlsServerConfig({ certificates: [certificate], privateKey: privateKeyDer }),
  ) as [TlsServerConfig, TlsServerConfig];
  let asked = 0;
  await using server = bind({
    address: LOOPBACK,
    server: { configure: ({ alpn }) => ({ tls: asked++ === 0 ? wrong : right, alpn: alpn[0]! }) },
  });
  await using it = dialer();
  await assert.rejects(it.dial(target(server.address.port), "alknet/echo"), {
    code: "HANDSHAKE_FAILED",
    message: /it showed another key/,
  });
  assert.equal(asked, 2, "and nothing else was tried");
});

test("dial() trusts nobody for an address without a key, and names what it saw", async () => {
  await using endpoint = await serve();
  await using it = dialer({ resolve: async () => [LOOPBACK] });
  for (const transports of [["quic"], ["tcp"], undefined] as const) {
    for (const address of [`${LOOPBACK}:${endpoint.port}`, `den.example:${endpoint.port}`]) {
      await assert.rejects(
        it.dial({ address }, "alknet/echo", { transports }),
        {
          code: "PEER_UNPINNED",
          seen: node.fingerprint,
          hint: new RegExp(`dial ${node.fingerprint}@${LOOPBACK}`),
        },
        address,
      );
    }
  }
});

test("dial() takes a host name that the system's CAs vouch for, and no other", async () => {
  // A CA of this machine, as the system's OpenSSL would find it; read once in a process, so in another one.
  const ca = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const web = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = (key: typeof ca): Buffer =>
    createPublicKey(key.privateKey).export({ format: "der", type: "spki" });
  const root = issueCertificate({
    publicKey: spki(ca),
    issuerKey: ca.privateKey,
    subject: "a CA",
    ca: true,
  });
  const certificate = issueCertificate({
    publicKey: spki(web),
    issuerKey: ca.privateKey,
    subject: "den.example",
    issuer: "a CA",
    names: ["den.example"],
  });
  const page: ProtocolHandler = {
    ...echo,
    alpns: ["x-page"],
    access: "anyone",
    tls: "web",
  };
  await using endpoint = await serve({
    handlers: [page],
    web: { certificate, privateKey: web.privateKey },
  });
  const folder = mkdtempSync(join(tmpdir(), "alknet-test-"));
  try {
    const roots = join(folder, "roots.pem");
    writeFileSync(roots, pemOf(root));
    const program = `
      import { bind } from "@alknet/quic/endpoint";
      import { createDialer } from "@alknet/core/dialer";
      import { createIdentity } from "@alknet/core/identity-file";
      import { staticIdentities } from "@alknet/core/static-identities";
      const dialer = createDialer({
        identity: createIdentity(),
        identities: staticIdentities([]),
        bind: () => bind({ address: "127.0.0.1" }),
        resolve: async () => ["127.0.0.1"],
      });
      for (const host of ["den.example", "other.example"]) {
        for (const transport of ["quic", "tcp"]) {
          try {
            const connection = await dialer.dial(host + ":${endpoint.port}", "x-page", { transports: [transport] });
            console.log(host, transport, connection.auth.fingerprint);
            await connection.close();
          } catch (error) {
            console.log(host, transport, error.code, error.seen);
          }
        }
      }
      await dialer.close();
    `;
    const child = spawn(
      process.execPath,
      ["--conditions=@alknet/source", "--input-type=module", "--eval", program],
      {
        cwd: import.meta.dirname,
        env: { ...process.env, SSL_CERT_FILE: roots, SSL_CERT_DIR: folder },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const seen = fingerprintOfCertificate(certificate);
    assert.deepEqual((await readAll(child.stdout as unknown as Duplex)).trim().split("\n"), [
      `den.example quic ${seen}`,
      `den.example tcp ${seen}`,
      `other.example quic PEER_UNPINNED ${seen}`,
      `other.example tcp PEER_UNPINNED ${seen}`,
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
