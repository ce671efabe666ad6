/**
 * Many protocols on one port: stock clients of each, and what the handshake shows to whom.
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { webCertificate } from "@alknet/core/certificate";
import { createEndpoint, type Endpoint } from "@alknet/core/endpoint";
import { fingerprintOfCertificate } from "@alknet/core/fingerprint";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { webPage } from "../packages/alknet/src/web-page.ts";
import { dotAndDoq } from "../examples/dot-doq.ts";
import { echo } from "../examples/echo.ts";
import { irohEcho } from "../examples/iroh-echo.ts";
import { connectIroh } from "./iroh.ts";
import { follow, type Program } from "./program.ts";

const HOST = "127.0.0.1";
const folder = mkdtempSync(join(tmpdir(), "alknet-protocols-"));
const node = createIdentity();
const friend = createIdentity();
const stranger = createIdentity();
const web = webCertificate(["localhost"]);
let endpoint: Endpoint;
let port: string;

before(async () => {
  writePem("web.pem", "CERTIFICATE", web.certificate);
  for (const [name, identity] of Object.entries({ friend, stranger })) {
    writePem(`${name}.pem`, "CERTIFICATE", identity.certificate);
    writePem(`${name}.key`, "PRIVATE KEY", identity.privateKeyDer);
  }
  endpoint = await createEndpoint({
    listen: [`${HOST}:0`],
    identity: node,
    identities: staticIdentities([
      { peerId: "friend", fingerprints: [friend.fingerprint], scopes: [], enabled: true },
    ]),
    web,
    handlers: [
      echo(),
      webPage(),
      irohEcho(),
      ...dotAndDoq({ hosts: new Map([["den.example", "192.0.2.7"]]) }),
    ],
    // Strangers from one address, again and again, are what most of these tests are.
    limits: { exempt: [`${HOST}/32`] },
  });
  port = String(endpoint.addresses[0]!.port);
});

after(async () => {
  await endpoint?.close();
  rmSync(folder, { recursive: true, force: true });
});

test("curl gets the page over h2, over http/1.1, and with no ALPN at all", async () => {
  for (const [flag, version] of [
    ["--http2", "2"],
    ["--http1.1", "1.1"],
    ["--no-alpn", "1.1"],
  ] as const) {
    const { status, stdout, stderr } = await run(
      "curl",
      ["-sS", flag, "--cacert", join(folder, "web.pem"), "--resolve", `localhost:${port}:${HOST}`],
      ["-w", "\n%{http_version} %{http_code}", `https://localhost:${port}/`],
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /<h1>It works<\/h1>/);
    assert.ok(stdout.endsWith(`\n${version} 200`), stdout);
  }
});

test("kdig +tls and kdig +quic are answered on the same port, without a key", async () => {
  for (const [flag, session] of [
    ["+tls", /TLS session \(TLS1\.3\)/],
    ["+quic", /QUIC session \(QUICv1\)/],
  ] as const) {
    const ask = async (name: string): Promise<string> =>
      (await run("kdig", [flag, `@${HOST}`, "-p", port, name, "A"])).stdout;
    const found = await ask("den.example");
    assert.match(found, session);
    assert.match(found, /^den\.example\.\s+60\s+IN\s+A\s+192\.0\.2\.7$/m);
    assert.match(await ask("other.example"), /status: NXDOMAIN/);
  }
});

test("a client of iroh and a handler exchange bytes, each knowing the other by its raw key", async () => {
  await using client = await connectIroh({
    key: node.publicKey,
    address: `${HOST}:${port}`,
    alpn: "example/echo/1",
  });
  assert.equal(client.remoteKey, Buffer.from(node.publicKey).toString("hex"));
  const seen = [...endpoint.connections].find(
    ({ connection }) => connection.alpn === "example/echo/1",
  );
  assert.equal(seen?.connection.auth.fingerprint, `ed25519:${client.ownKey}`);
  const sent = "from iroh ".repeat(50_000);
  assert.equal(await client.exchange(sent), sent);
});

test("a name that is served on QUIC only is not known over TCP", async () => {
  const { output } = await handshake("example/echo/1");
  assert.match(output, /SSL alert number 120/);
});

test("web and DNS names show the web certificate and ask for no key", async () => {
  for (const alpn of ["h2", "http/1.1", "dot"]) {
    const { output, certificate, alpn: chosen } = await handshake(alpn);
    assert.equal(chosen, alpn);
    assert.ok(certificate !== undefined, output);
    assert.ok(certificate.raw.equals(Buffer.from(web.certificate)));
    assert.equal(certificate.publicKey.asymmetricKeyType, "ec");
    assert.doesNotMatch(output, /CertificateRequest/);
  }
});

test("names of alknet/* show the node's leaf, ask for a key and give no session ticket", async () => {
  await using client = sClient("alknet/echo", { who: "friend" });
  client.write("to a friend\n");
  await client.waitFor(/^to a friend$/m);
  const { output, certificate, alpn } = parse(client);
  assert.equal(alpn, "alknet/echo");
  assert.equal(fingerprintOfCertificate(certificate!.raw), node.fingerprint);
  assert.match(output, /TLS 1\.3, Handshake .*CertificateRequest/);
  assert.match(output, /New, TLSv1\.3/);
  // It would have come ahead of the echo, as it does ahead of a page.
  assert.doesNotMatch(output, /NewSessionTicket/);
  const page = await handshake("http/1.1", { say: "GET / HTTP/1.0\r\n\r\n" });
  assert.match(page.output, /NewSessionTicket.*HTTP\/1.1 200 OK/s);
});

test("to a stranger, a service that exists and one that does not look the same", async () => {
  for (const who of ["stranger", undefined] as const) {
    const [served, unknown] = await Promise.all([
      handshake("alknet/echo", { who, say: "" }),
      handshake("alknet/nope", { who, say: "" }),
    ]);
    assert.equal(unknown.alpn, "alknet/nope");
    assert.deepEqual(unknown.records, served.records);
    assert.ok(served.records.some((record) => record.includes("CertificateRequest")));
    assert.ok(unknown.certificate?.raw.equals(served.certificate!.raw));
  }
});

test("any other name ends with the alert no_application_protocol, on TCP and on QUIC", async () => {
  for (const alpn of ["imap", "alknet", "doq", "h3"]) {
    const { output } = await handshake(alpn);
    assert.match(output, /tlsv1 alert no application protocol.*SSL alert number 120/, alpn);
  }
  const quic = connectIroh({
    key: node.publicKey,
    address: `${HOST}:${port}`,
    alpn: "example/nothing",
  });
  await assert.rejects(quic, /cryptographic handshake failed: error 120\b/);
});

test("TLS 1.2 is refused under alknet/*, and still good enough for a web page", async () => {
  const own = await handshake("alknet/echo", { who: "friend", flags: ["-tls1_2"] });
  assert.match(own.output, /SSL alert number 70/);
  assert.equal(own.certificate, undefined);
  const page = await handshake("h2", { flags: ["-tls1_2"] });
  assert.match(page.output, /New, TLSv1\.2/);
});

/** What `openssl s_client` saw. */
interface Seen {
  readonly output: string;
  /** What was agreed on. */
  readonly alpn: string | undefined;
  /** The leaf. */
  readonly certificate: X509Certificate | undefined;
  /** Handshake messages and alerts that came, in order: `TLS 1.3, Handshake [length 0003], CertificateRequest`. */
  readonly records: readonly string[];
}

interface ClientOptions {
  /** Whose key to show. @default none */
  readonly who?: "friend" | "stranger" | undefined;
  /** Send this, then wait for the server to hang up. @default hang up once hands are shaken */
  readonly say?: string | undefined;
  readonly flags?: readonly string[] | undefined;
}

/** Shake hands by `openssl s_client`. */
async function handshake(alpn: string, options: ClientOptions = {}): Promise<Seen> {
  const client = sClient(alpn, options);
  if (options.say === undefined) client.end();
  else client.write(options.say);
  await client.ended;
  return parse(client);
}

function sClient(
  alpn: string,
  { who, say, flags = [] }: ClientOptions,
): Program & { write(text: string): void; end(): void } {
  const key = who === undefined ? [] : ["-cert", `${who}.pem`, "-key", `${who}.key`];
  const words = [
    "s_client",
    "-connect",
    `${HOST}:${port}`,
    "-alpn",
    alpn,
    "-msg",
    ...key,
    ...flags,
  ];
  // Else it hangs up at the end of its standard input.
  if (say !== undefined) words.push("-ign_eof");
  const child = spawn("openssl", words, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  // The server may hang up before we have written.
  child.stdin.on("error", () => {});
  return Object.assign(follow(child, `openssl ${words.join(" ")}`), {
    write: (text: string) => void child.stdin.write(text),
    end: () => void child.stdin.end(),
  });
}

function parse({ output, stdout }: Program): Seen {
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout)?.[0];
  return {
    output,
    alpn: /^ALPN protocol: (.+)$/m.exec(stdout)?.[1],
    certificate: pem === undefined ? undefined : new X509Certificate(pem),
    records: [...stdout.matchAll(/^<<< (.*(?:Handshake|Alert).*)$/gm)].map(([, text = ""]) => text),
  };
}

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, ...words: readonly (readonly string[])[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    execFile(command, words.flat(), (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code;
      if (typeof status === "number") resolve({ status, stdout, stderr });
      else reject(error as Error);
    });
  });
}

function writePem(name: string, label: string, der: Uint8Array): void {
  const lines = Buffer.from(der)
    .toString("base64")
    .match(/.{1,64}/g)!;
  const text = [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
  writeFileSync(join(folder, name), text, { mode: 0o600 });
}
