/**
 * `alknet socks`: curl, nc, Chromium and others through the proxy, by SOCKS 5, SOCKS 4a and HTTP CONNECT, to a name
 * that only the far side resolves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Machine } from "./machine.ts";
import type { Ended, Program } from "./program.ts";
import { twoMachines } from "./two-machines.ts";
import { PAGE, startWebServer } from "./web-server.ts";

const MAIN = fileURLToPath(new URL("../packages/alknet/src/main.ts", import.meta.url));
const WEB = 8080;
const TLS = 8443;
/** Something listens there too, and nobody is allowed to reach it. */
const OTHER = 9000;
/** In the hosts file of one of the two only. */
const NAME = "intranet.example";
const OPEN = "127.0.0.1:1080";
const CLOSED = "127.0.0.1:1081";
const LOGIN = "me:s3:cret";

const stack = new AsyncDisposableStack();
let den: Machine;
let laptop: Machine;

before(async () => {
  const machines = stack.use(await twoMachines());
  ({ den, laptop } = machines);
  stack.use(await startWebServer(den.namespace, { ports: [WEB, OTHER], bigSize: 2 ** 20 }));
  const scopes = [WEB, TLS, 1].map((port) => `tunnel:dial:localhost:${port}`);
  const added = await den.run("peers", "add", "laptop", machines.key, "--grant", ...scopes);
  assert.equal(added.status, 0, added.stderr);
  const hosts = join(den.home, "hosts");
  writeFileSync(hosts, `127.0.0.1 localhost ${NAME}\n::1 localhost\n`);
  const node = den.command(
    ...["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"'],
    ...[hosts, process.execPath, "--conditions=@alknet/source", MAIN, "up"],
  );
  stopAfter(node);
  const [ticket] = await node.waitFor(/alknet1[a-z2-7]+/);

  const made = await den.command(
    ...["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", `/CN=${NAME}`],
    ...["-addext", `subjectAltName=DNS:${NAME}`, "-keyout", "tls.key", "-out", "tls.pem"],
  ).ended;
  assert.equal(made.status, 0, made.stderr);
  const secure = den.command(
    ...["openssl", "s_server", "-accept", `127.0.0.1:${TLS}`, "-www"],
    ...["-key", "tls.key", "-cert", "tls.pem"],
  );
  stopAfter(secure);
  await secure.waitFor(/ACCEPT/);

  const password = join(laptop.home, "password");
  writeFileSync(password, "s3:cret\n", { mode: 0o600 });
  for (const [listen, ...words] of [
    [OPEN],
    [CLOSED, "--user", "me", "--password-file", password],
  ] as const) {
    const proxy = laptop.start("socks", "--json", "--listen", listen, ...words, ticket);
    stopAfter(proxy);
    await proxy.waitFor(/^\{"event":"listening".*\}$/m);
  }
});

after(() => stack.disposeAsync());

function stopAfter(program: Program): void {
  stack.defer(async () => void (await program.stop()));
}

const url = (port: number = WEB): string => `http://${NAME}:${port}/`;

async function curl(...words: string[]): Promise<Ended> {
  return await laptop.command("curl", "-sS", "--max-time", "30", ...words).ended;
}

/** What `sh` prints of `line`. */
async function sh(line: string): Promise<string> {
  const { stdout } = await laptop.command("sh", "-c", line).ended;
  return stdout;
}

/** Ways to the proxy, as curl has them. */
const ways: Readonly<Record<string, (proxy: string) => string[]>> = {
  "--socks5-hostname": (proxy) => ["--socks5-hostname", proxy],
  "--socks4a": (proxy) => ["--socks4a", proxy],
  "-x http:// -p": (proxy) => ["-x", `http://${proxy}`, "-p"],
};

for (const [name, way] of Object.entries(ways)) {
  test(`curl ${name} gets a page by a name that only the far side knows`, async () => {
    const { status, stdout, stderr } = await curl(...way(OPEN), url());
    assert.equal(status, 0, stderr);
    assert.equal(stdout, PAGE);
  });
}

test("curl gets a page by TLS through HTTP CONNECT and SOCKS 5, its certificate checked", async () => {
  const trusted = ["--cacert", join(den.home, "tls.pem"), `https://${NAME}:${TLS}/`];
  for (const way of [
    ["-x", `http://${OPEN}`],
    ["--socks5-hostname", OPEN],
  ]) {
    const { status, stdout, stderr } = await curl(...way, ...trusted);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /s_server -accept/);
  }
});

test("curl takes the password of a proxy along, and says so when it is wrong or missing", async () => {
  const SOCKS_FAILED = 97;
  const CONNECT_FAILED = 56;
  for (const [name, code, said] of [
    ["--socks5-hostname", SOCKS_FAILED, /rejected|No authentication method|was acceptable/i],
    ["-x http:// -p", CONNECT_FAILED, /407/],
  ] as const) {
    const way = ways[name]!(CLOSED);
    const right = await curl(...way, "--proxy-user", LOGIN, url());
    assert.equal(right.status, 0, right.stderr);
    assert.equal(right.stdout, PAGE);
    for (const login of [["--proxy-user", "me:guess"], []]) {
      const { status, stderr } = await curl(...way, ...login, url());
      assert.equal(status, code, stderr);
      assert.match(stderr, said);
    }
  }
  assert.equal((await curl("--socks4a", CLOSED, url())).status, SOCKS_FAILED);
});

test("curl is told what was refused, by the code of each protocol", async () => {
  for (const [port, socks, http] of [
    [OTHER, /\(2\)/, /403/],
    [1, /\(5\)/, /502/],
  ] as const) {
    assert.match((await curl("--socks5-hostname", OPEN, url(port))).stderr, socks);
    assert.match((await curl("-x", `http://${OPEN}`, "-p", url(port))).stderr, http);
    assert.match((await curl("--socks4a", OPEN, url(port))).stderr, /\(91\)/);
  }
  const plain = await curl("-i", "-x", `http://${OPEN}`, url());
  assert.match(plain.stdout, /^HTTP\/1\.1 405 [^]*Allow: CONNECT\r\n[^]*use it by CONNECT/);
});

test("nc speaks through the proxy by SOCKS 5, 4 and CONNECT, and ends one direction alone", async () => {
  const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n'`;
  for (const version of ["5", "connect"]) {
    const answer = await sh(`${ask} | nc -N -X ${version} -x ${OPEN} ${NAME} ${WEB}`);
    assert.ok(answer.endsWith(PAGE), answer);
  }
  const answer = await sh(`${ask} | nc -N -X 4 -x ${OPEN} 127.0.0.1 ${WEB}`);
  assert.ok(answer.endsWith(PAGE), answer);
});

test("PySocks gets a page by SOCKS 5 with a password, by SOCKS 4a, and by HTTP CONNECT", async () => {
  const [user = "", password = ""] = LOGIN.split(/:(.*)/, 2);
  for (const [type, port, ...login] of [
    ["SOCKS5", 1081, user, password],
    ["SOCKS4", 1080],
    ["HTTP", 1081, user, password],
  ] as const) {
    const words = login.map((word) => `, ${JSON.stringify(word)}`).join("");
    const program = `
import socks
s = socks.socksocket()
s.set_proxy(socks.${type}, "127.0.0.1", ${port}, True${words})
s.connect(("${NAME}", ${WEB}))
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(s.makefile().read(), end="")
`;
    const { stdout, stderr } = await laptop.command("/usr/bin/python3", "-c", program).ended;
    assert.ok(stdout.endsWith(PAGE), `${type}: ${stdout}${stderr}`);
  }
});

test("chromium shows a page by a name that only the far side knows", async () => {
  for (const proxy of [`socks5://${OPEN}`, `http://${OPEN}`]) {
    const secure = proxy.startsWith("http");
    const { stdout, stderr } = await laptop.command(
      ...(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"] as const),
      ...["--no-first-run", "--disable-background-networking", "--disable-component-update"],
      ...["--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors"],
      `--user-data-dir=${join(laptop.home, `chromium-${String(secure)}`)}`,
      `--proxy-server=${proxy}`,
      "--dump-dom",
      // To an HTTP proxy it sends requests for http: as they are, and CONNECT for https: only.
      secure ? `https://${NAME}:${TLS}/` : url(),
    ).ended;
    assert.match(stdout, secure ? /s_server -accept/ : /Hello from the web server\./, stderr);
  }
});

test("who goes in the midst of a handshake is in nobody's way", async () => {
  for (const words of [
    "\\005",
    "\\005\\001\\000\\005\\001\\000\\003\\377a",
    "\\004\\001\\000",
    "CONNECT ",
  ]) {
    await sh(`printf '${words}' | nc -N 127.0.0.1 1080`);
  }
  assert.equal((await curl("--socks5-hostname", OPEN, url())).stdout, PAGE);
});
