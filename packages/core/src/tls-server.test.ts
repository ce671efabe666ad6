import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { extension, issueCertificate } from "@alknet/quic/self-signed";
import { webCertificate } from "./certificate.ts";
import { createIdentity } from "./identity-file.ts";
import { clientContext, nodeContext, webContext } from "./tls-context.ts";
import {
  HandshakeDropped,
  NO_APPLICATION_PROTOCOL,
  serveTls,
  type TlsChoice,
  type TlsOutcome,
} from "./tls-server.ts";
import { handMadeClient } from "./tls-test-client.ts";

const identity = createIdentity();
const web = webCertificate(["node.example"]);
const node = nodeContext(identity);
const webTls = webContext(web);
const client = createIdentity();
const stranger = createIdentity();

interface Served extends AsyncDisposable {
  readonly port: number;
  /** Outcomes in the order in which they came. */
  outcome(): Promise<TlsOutcome>;
  /** Sockets that were accepted. */
  readonly raws: readonly net.Socket[];
}

/** Serves `alknet/*` with the node's leaf, `h2` and `http/1.1` with the web certificate, and nothing else. */
async function serve(): Promise<Served> {
  const raws: net.Socket[] = [];
  const outcomes: TlsOutcome[] = [];
  const waiting: ((outcome: TlsOutcome) => void)[] = [];
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (raw) => {
    raws.push(raw);
    void serveTls(raw, choose).then((outcome) => {
      if (outcome.kind === "secure") {
        outcome.socket.on("error", () => {});
        outcome.socket.end(`hello over ${outcome.alpn}`);
        outcome.socket.resume();
      }
      const next = waiting.shift();
      if (next === undefined) outcomes.push(outcome);
      else next(outcome);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    raws,
    outcome: () => {
      const outcome = outcomes.shift();
      if (outcome !== undefined) return Promise.resolve(outcome);
      return new Promise((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const raw of raws) raw.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function choose({ alpn }: { alpn: readonly string[] }): TlsChoice {
  const [first = "http/1.1"] = alpn;
  if (first.startsWith("alknet/")) {
    return { kind: "serve", context: node, requestCertificate: true, alpn: first };
  }
  if (first === "h2" || first === "http/1.1") {
    return { kind: "serve", context: webTls, requestCertificate: false, alpn: first };
  }
  return { kind: "alert", alert: NO_APPLICATION_PROTOCOL };
}

/** Sign as TLS 1.3 does with such a key (RFC 8446 §4.2.3). */
function signer(key: KeyObject): (content: Buffer) => { scheme: number; signature: Buffer } {
  const type = key.asymmetricKeyType;
  if (type === "ed25519") {
    return (content) => ({ scheme: 0x0807, signature: sign(null, content, key) });
  }
  if (type === "ec") {
    return (content) => ({ scheme: 0x0403, signature: sign("sha256", content, key) });
  }
  const RSA_PKCS1_PSS_PADDING = 6;
  const options = { key, padding: RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  return (content) => ({ scheme: 0x0804, signature: sign("sha256", content, options) });
}

function publicOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: "der", type: "spki" });
}

/** What a node:tls client hears before the server ends; its error, if it has one. */
async function hear(
  port: number,
  options: tls.ConnectionOptions,
): Promise<{ text: string; socket: tls.TLSSocket; sessions: Buffer[]; error?: Error }> {
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
  const sessions: Buffer[] = [];
  let text = "";
  let error: Error | undefined;
  socket.on("session", (session: Buffer) => sessions.push(session));
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  socket.on("error", (it) => (error = it));
  await closed(socket);
  return { text, socket, sessions, ...(error === undefined ? {} : { error }) };
}

/** `once()` would reject with the error that comes before. */
async function closed(socket: net.Socket): Promise<void> {
  if (socket.closed) return;
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
}

const leafs: { name: string; key: KeyObject; certificate: Uint8Array }[] = [];
for (const [name, key] of [
  ["Ed25519", client.privateKey],
  ["P-256", generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey],
  ["RSA", generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey],
] as const) {
  const selfSigned = { publicKey: publicOf(key), issuerKey: key, subject: "client" };
  const past = { notBefore: new Date("2001-01-01"), notAfter: new Date("2002-01-01") };
  const future = { notBefore: new Date("2090-01-01"), notAfter: new Date("2091-01-01") };
  const ca = { issuerKey: stranger.privateKey, issuer: "some CA" };
  leafs.push(
    { name, key, certificate: issueCertificate(selfSigned) },
    { name: `expired ${name}`, key, certificate: issueCertificate({ ...selfSigned, ...past }) },
    { name: `future ${name}`, key, certificate: issueCertificate({ ...selfSigned, ...future }) },
    { name: `CA-signed ${name}`, key, certificate: issueCertificate({ ...selfSigned, ...ca }) },
  );
}

for (const { name, key, certificate } of leafs) {
  test(`serveTls() takes a client's ${name} leaf whose key it proves`, async () => {
    await using server = await serve();
    const [result, outcome] = await Promise.all([
      handMadeClient({
        port: server.port,
        alpn: ["alknet/test"],
        certificate,
        sign: signer(key),
      }),
      server.outcome(),
    ]);
    assert.ok(outcome.kind === "secure");
    assert.deepEqual(outcome.certificate, Buffer.from(certificate));
    assert.equal(result.alpn, "alknet/test");
    assert.equal(result.certificateRequested, true);
    assert.equal(result.data.toString(), "hello over alknet/test");
    assert.equal(result.closed, true);
  });

  test(`serveTls() refuses a client's ${name} leaf that is signed for with another key`, async () => {
    await using server = await serve();
    const type = key.asymmetricKeyType;
    const other =
      type === "ed25519"
        ? stranger.privateKey
        : type === "ec"
          ? generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
          : generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey;
    const [result, outcome] = await Promise.all([
      handMadeClient({
        port: server.port,
        alpn: ["alknet/test"],
        certificate,
        sign: signer(other),
      }),
      server.outcome(),
    ]);
    assert.ok(outcome.kind === "failed" && outcome.reason === "auth", JSON.stringify(outcome));
    const DECRYPT_ERROR = 51;
    assert.equal(result.alert, DECRYPT_ERROR);
    assert.equal(result.data.length, 0);
  });
}

test("serveTls() takes a client without a certificate, as nobody", async () => {
  await using server = await serve();
  const [result, outcome] = await Promise.all([
    handMadeClient({ port: server.port, alpn: ["alknet/test"] }),
    server.outcome(),
  ]);
  assert.ok(outcome.kind === "secure");
  assert.equal(outcome.certificate, undefined);
  assert.equal(result.certificateRequested, true);
});

test("serveTls() refuses a certificate that is malformed, and one that is too large", async () => {
  await using server = await serve();
  const { key, certificate } = leafs[0]!;
  // A comment (Netscape's, nobody reads it) makes it as large as we like.
  const comment = extension("6086480186f842010d", false, Buffer.alloc(110_000, 32));
  const large = issueCertificate({
    publicKey: publicOf(key),
    issuerKey: key,
    subject: "client",
    extensions: [comment],
  });
  for (const bytes of [
    certificate.subarray(0, -1),
    Buffer.from("30030201ff", "hex"),
    Buffer.alloc(100_000, 0x30),
    large,
  ]) {
    const [result, outcome] = await Promise.all([
      handMadeClient({
        port: server.port,
        alpn: ["alknet/test"],
        certificate: bytes,
        sign: signer(key),
      }),
      server.outcome(),
    ]);
    assert.ok(outcome.kind === "failed" && outcome.reason === "malformed", JSON.stringify(outcome));
    assert.equal(result.data.length, 0);
  }
});

test("serveTls() speaks TLS 1.3 only where the node's leaf is shown", async () => {
  await using server = await serve();
  const [refused, outcome] = await Promise.all([
    hear(server.port, { ALPNProtocols: ["alknet/test"], maxVersion: "TLSv1.2" }),
    server.outcome(),
  ]);
  assert.ok(outcome.kind === "failed" && outcome.reason === "refused", JSON.stringify(outcome));
  assert.match(String(refused.error), /alert protocol version/i);
  const taken = await hear(server.port, { ALPNProtocols: ["h2"], maxVersion: "TLSv1.2" });
  assert.equal(taken.text, "hello over h2");
});

test("serveTls() offers no session under alknet/*, and honours none", async () => {
  await using server = await serve();
  const own = clientContext(client, []);
  const first = await hear(server.port, { ALPNProtocols: ["alknet/test"], secureContext: own });
  assert.equal(first.text, "hello over alknet/test");
  assert.equal(first.sessions.length, 0);
  const { tickets } = await handMadeClient({ port: server.port, alpn: ["alknet/test"] });
  assert.equal(tickets, 0);
  await server.outcome();
  await server.outcome();

  // A session of another service on the same port opens nothing here.
  const page = await hear(server.port, { ALPNProtocols: ["h2"] });
  assert.ok(page.sessions.length > 0, "the web side offers sessions");
  await server.outcome();
  const session = page.sessions.at(-1)!;
  const resumed = await hear(server.port, { ALPNProtocols: ["h2"], session });
  assert.equal(resumed.text, "hello over h2");
  await server.outcome();
  const [again, outcome] = await Promise.all([
    hear(server.port, { ALPNProtocols: ["alknet/test"], session }),
    server.outcome(),
  ]);
  assert.equal(again.text, "hello over alknet/test");
  assert.ok(outcome.kind === "secure");
  assert.equal(outcome.socket.isSessionReused() ?? false, false);
  assert.equal(outcome.certificate, undefined, "who shows no key has none");
});

test("serveTls() asks no key for the web, and serves a client that offers no ALPN", async () => {
  await using server = await serve();
  const page = await handMadeClient({ port: server.port, alpn: ["h2"] });
  assert.equal(page.certificateRequested, false);
  assert.equal(page.data.toString(), "hello over h2");
  const [old, outcome] = await Promise.all([
    hear(server.port, {}),
    server.outcome().then(() => server.outcome()),
  ]);
  assert.equal(old.text, "hello over http/1.1");
  assert.ok(outcome.kind === "secure" && outcome.alpn === "http/1.1");
});

test("serveTls() refuses other ALPNs with the alert no_application_protocol", async () => {
  await using server = await serve();
  for (const alpn of ["nope", "alknet", "\xff\xfe", "http/1.0"]) {
    const [result, outcome] = await Promise.all([
      handMadeClient({ port: server.port, alpn: [alpn] }),
      server.outcome(),
    ]);
    assert.equal(result.alert, NO_APPLICATION_PROTOCOL);
    assert.ok(outcome.kind === "failed" && outcome.reason === "refused");
    assert.deepEqual(outcome.hello?.alpn, [alpn]);
  }
  const { error } = await hear(server.port, { ALPNProtocols: ["nope"] });
  assert.match(String(error), /no application protocol/);
});

test("serveTls() lets garbage as a server name pass by", async () => {
  await using server = await serve();
  for (const serverName of ["\0", "a b", "-", "../../etc/passwd", "\xff".repeat(200)]) {
    const [, outcome] = await Promise.all([
      handMadeClient({ port: server.port, alpn: ["alknet/test"], serverName }),
      server.outcome(),
    ]);
    // OpenSSL takes some of them and refuses others; we take none for a name.
    if (outcome.kind === "secure") assert.equal(outcome.serverName, undefined);
    else assert.notEqual(outcome.reason, "timeout");
  }
  const [, outcome] = await Promise.all([
    handMadeClient({ port: server.port, alpn: ["alknet/test"], serverName: "Node.Example" }),
    server.outcome(),
  ]);
  assert.ok(outcome.kind === "secure" && outcome.serverName === "node.example");
});

test("serveTls() reads a ClientHello that comes byte by byte", async () => {
  await using server = await serve();
  const relay = net.createServer((near) => {
    const far = net.connect(server.port, "127.0.0.1").setNoDelay(true);
    far.pipe(near);
    far.on("error", () => {});
    near.on("error", () => {});
    let hello = true;
    near.on("data", (chunk: Buffer) => {
      if (!hello) return far.write(chunk);
      hello = false;
      for (const byte of chunk) far.write(Buffer.from([byte]));
      return true;
    });
    near.on("end", () => far.end());
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const { port } = relay.address() as net.AddressInfo;
  const { text } = await hear(port, {
    ALPNProtocols: ["alknet/test"],
    secureContext: clientContext(client, []),
  });
  assert.equal(text, "hello over alknet/test");
  relay.close();
});

test("serveTls() ends when its socket is destroyed, in every phase of the handshake", async () => {
  await using server = await serve();
  const phases: ((socket: net.Socket) => void)[] = [
    () => {},
    (socket) => socket.write(Buffer.from([22, 3, 1])),
    (socket) => socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])),
  ];
  for (const [index, begin] of phases.entries()) {
    const socket = net.connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    begin(socket);
    while (server.raws.length <= index) await new Promise((resolve) => setImmediate(resolve));
    const raw = server.raws[index]!;
    raw.destroy(new HandshakeDropped("too slow"));
    assert.deepEqual(await server.outcome(), {
      kind: "failed",
      reason: "timeout",
      detail: "too slow",
      hello: undefined,
    });
    await closed(socket);
  }
  // After the ClientHello: TLS has answered, and waits for the client to go on.
  const socket = net.connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  while (server.raws.length <= phases.length) await new Promise((resolve) => setImmediate(resolve));
  const raw = server.raws.at(-1)!;
  const helloCame = once(raw, "data");
  const secure = tls.connect({ socket, ALPNProtocols: ["alknet/test"], rejectUnauthorized: false });
  secure.on("error", () => {});
  await helloCame;
  raw.destroy(new HandshakeDropped("too slow"));
  const outcome = await server.outcome();
  assert.ok(outcome.kind === "failed" && outcome.reason === "timeout", JSON.stringify(outcome));
  secure.destroy();
});

test("serveTls() says that a client went away, and that it is no TLS client", async () => {
  await using server = await serve();
  const gone = net.connect(server.port, "127.0.0.1");
  await once(gone, "connect");
  gone.end(Buffer.from([22, 3, 1]));
  const cut = await server.outcome();
  assert.ok(cut.kind === "failed" && cut.reason === "cut", JSON.stringify(cut));
  const odd = net.connect(server.port, "127.0.0.1");
  odd.on("error", () => {});
  odd.end("GET / HTTP/1.1\r\n\r\n");
  const malformed = await server.outcome();
  assert.ok(malformed.kind === "failed" && malformed.reason === "malformed");
});

test("a TLS error after the handshake fails the socket, and does not leave it hanging", async () => {
  await using server = await serve();
  const raw = net.connect(server.port, "127.0.0.1");
  const secure = tls.connect({
    socket: raw,
    ALPNProtocols: ["alknet/test"],
    rejectUnauthorized: false,
  });
  secure.on("error", () => {});
  const outcome = await server.outcome();
  assert.ok(outcome.kind === "secure");
  // Beneath TLS: a record that was never sealed.
  raw.write(Buffer.from([23, 3, 3, 0, 20, ...Buffer.alloc(20, 1)]));
  const [error] = (await once(outcome.socket, "error")) as [NodeJS.ErrnoException];
  assert.match(error.code ?? "", /^ERR_SSL_/);
  await closed(outcome.socket);
  secure.destroy();
});
