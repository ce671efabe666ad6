import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "@alknet/core/testing-port";
import { machines } from "./alknet-ssh.ts";
import { follow } from "./program.ts";
import { echo, startTarget } from "./ssh-forwarding.ts";

test("ports are forwarded both ways, and by SOCKS; what is refused is told with its reason", async () => {
  await using target = await startTarget(echo);
  const { port } = target;
  await using site = await startTarget(web);
  await using it = await machines([
    ...[port, site.port].map((each) => `tunnel:dial:localhost:${each}`),
    "tunnel:listen:localhost:*",
  ]);
  await using forwards = it.events([
    ...["-N", "-L", `0:localhost:${port}`, "-L", "0:localhost:1"],
    ...["-R", `0:127.0.0.1:${port}`, "-D", "0", "den"],
  ]);
  const places = [];
  for (let count = 0; count < 4; count++) places.push(await forwards.next("listening"));
  const [good, bad, socks] = places.filter(({ side }) => side === "local");
  const [far] = places.filter(({ side }) => side === "remote");
  await forwards.next("connected");
  assert.equal(await ask(good!.listen, "local"), "local");
  assert.equal(await ask(far!.listen, "remote"), "remote");
  assert.match(await curl(socks!.listen, `localhost:${site.port}`), /GET \/ HTTP/);
  await assert.rejects(ask(bad!.listen, "never"), { code: "ECONNRESET" });
  const { code, scope } = await forwards.next("refused");
  assert.deepEqual([code, scope], ["CHANNEL_REFUSED", "tunnel:dial:localhost:1"]);
});

test("-R with a port alone is SOCKS over there, connecting from here", async () => {
  await using site = await startTarget(web);
  await using it = await machines(["tunnel:listen:localhost:*"]);
  await using forwards = it.events(["-N", "-R", "0", "den"]);
  const { side, listen } = await forwards.next("listening");
  assert.equal(side, "remote");
  assert.match(await curl(listen, `localhost:${site.port}`), /GET \/ HTTP/);
  const nobody = await freePort();
  await assert.rejects(curl(listen, `127.0.0.1:${nobody}`), { code: 97 });
  assert.equal((await forwards.next("refused")).code, "ECONNREFUSED");
});

test("Unix sockets are forwarded both ways, and theirs is gone afterwards", async () => {
  await using it = await machines([]);
  // Who runs the node, and its peer's account, may both make a socket there.
  chmodSync(it.folder, 0o777);
  const at = (name: string): string => join(it.folder, name);
  await using target = await startTarget(echo, at("target"));
  chmodSync(at("target"), 0o777);
  const scopes = [`tunnel:dial:unix:${at("target")}`, `tunnel:listen:unix:${at("far")}`];
  await using _node = await it.node("sockets", scopes);
  await using forwards = it.events([
    ...["-N", "-L", `${at("near")}:${at("target")}`, "-L", `0:${at("target")}`],
    ...["-R", `${at("far")}:${at("target")}`, "sockets"],
  ]);
  await forwards.next("listening");
  const { listen } = await forwards.next("listening");
  await forwards.next("connected");
  for (const place of [at("near"), at("far"), listen]) assert.equal(await ask(place, "x"), "x");
  assert.equal(target.sockets.size, 0);
});

test("a listener that is refused over there ends it at first", async () => {
  await using it = await machines(["ssh:exec"]);
  const refused = await it.run(["-R", "0:localhost:1", "den", "true"]);
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /den does not listen on localhost:0[^]*alknet peers grant NAME/);
});

test("with --json an error is the last line, also after events", async () => {
  await using it = await machines(["ssh:exec"]);
  const words = ["--json", "-N", "-L", "0:localhost:1", "-R", "0:localhost:1", "den"];
  const { code, stdout } = await it.run(words);
  assert.equal(code, 3);
  const [first, last] = stdout.split("\n");
  assert.match(first!, /^\{"event":"listening","side":"local"/);
  assert.match(last!, /^\{"error":\{"code":"LISTEN_REFUSED"/);
});

test("a command does not begin before what is to listen over there does", async () => {
  await using it = await machines(["ssh:exec"]);
  const { code, stdout } = await it.run(["-R", "0:localhost:1", "den", "echo ran"]);
  assert.deepEqual([code, stdout], [3, ""]);
});

test("a port over there that is taken is told apart from one that is not allowed", async () => {
  await using target = await startTarget(echo);
  await using it = await machines(["tunnel:listen:localhost:*"]);
  const taken = await it.run(["-N", "-R", `${target.port}:localhost:1`, "den"]);
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /does not listen on localhost:\d+: .*hint: choose another port/s);
  const denied = await it.run(["-N", "-R", "*:0:localhost:1", "den"]);
  assert.equal(denied.code, 3);
  assert.match(
    denied.stderr,
    /lacks [^]*hint: over there: alknet peers grant NAME .*tunnel:listen:/,
  );
});

test("a listener over there whose right is taken back is told, and the last one ends alknet ssh", async () => {
  await using it = await machines(["ssh:exec", "tunnel:listen:localhost:*"]);
  const program = follow(it.spawn(["--json", "-N", "-R", "0:localhost:1", "den"]), "alknet ssh");
  await program.waitFor(/"event":"connected"/);
  it.den.allow(["ssh:exec"]);
  const { status, stdout, stderr } = await program.ended;
  assert.equal(status, 3);
  assert.match(stdout, /"event":"closed","side":"remote","listen":"localhost:\d+"[^]*\n\{"error":/);
  assert.match(stderr, /listens no more on localhost:\d+: not allowed any more[^]*hint: /);
});

test("-W has stdin and stdout lead to where the far side connects; what is refused is told", async () => {
  await using target = await startTarget(echo);
  const nobody = await freePort();
  await using it = await machines([
    ...[target.port, nobody].map((port) => `tunnel:dial:localhost:${port}`),
  ]);
  const bytes = "sent and back\n".repeat(100_000);
  const back = await it.run(["-W", `localhost:${target.port}`, "den"], { input: bytes });
  assert.deepEqual([back.code, back.stderr, back.stdout.length], [0, "", 256 * 1024]);
  const gone = await it.run(["-W", `localhost:${nobody}`, "den"]);
  assert.deepEqual([gone.code, gone.stdout], [4, ""]);
  assert.match(gone.stderr, /den does not connect to localhost:\d+: .*refused/);
  const denied = await it.run(["-W", "localhost:1", "den"]);
  assert.equal(denied.code, 3);
  assert.match(denied.stderr, /hint: .*alknet peers grant NAME tunnel:dial:localhost:1\n/);
  for (const more of [
    ["den", "true"],
    ["--json", "den"],
  ]) {
    assert.equal((await it.run(["-W", "localhost:1", ...more])).code, 2);
  }
});

test("-W ends when its connection is broken, or lost on the way, with 255", async () => {
  await using target = await startTarget((socket) => socket.write("hello"));
  await using it = await machines([`tunnel:dial:localhost:${target.port}`]);
  const carry = async () => {
    const program = follow(it.spawn(["-W", `localhost:${target.port}`, "den"]), "alknet ssh");
    await program.waitFor(/hello/);
    return program;
  };
  const broken = await carry();
  for (const socket of target.sockets) socket.resetAndDestroy();
  assert.equal((await broken.ended).status, 255);
  const lost = await carry();
  await it.den.stop();
  assert.equal((await lost.ended).status, 255);
});

test("--persist dials again and forwards again, for who is connected to the port here too", async () => {
  await using target = await startTarget(echo);
  const { port } = target;
  await using it = await machines([`tunnel:dial:localhost:${port}`, "tunnel:listen:localhost:*"]);
  const both = ["-L", `0:localhost:${port}`, "-R", `0:127.0.0.1:${port}`];
  await using forwards = it.events(["--persist", "-N", ...both, "den"]);
  const local = await forwards.next("listening");
  await forwards.next("listening");
  await forwards.next("connected");
  assert.equal(await ask(local.listen, "before"), "before");
  await it.den.stop();
  await forwards.next("lost");
  const waiting = ask(local.listen, "after");
  await it.den.restart();
  const again = await forwards.next("listening");
  assert.equal(again.side, "remote");
  await forwards.next("connected");
  assert.equal(await waiting, "after");
  assert.equal(await ask(again.listen, "there"), "there");
});

/** What comes back from there. */
async function ask(place: string, words: string): Promise<string> {
  const at = place.lastIndexOf(":");
  const where = place.startsWith("/")
    ? { path: place }
    : { host: place.slice(0, at), port: Number(place.slice(at + 1)) };
  const socket = connect({ ...where, allowHalfOpen: true });
  socket.end(words);
  return await text(socket);
}

/** Tells what was asked. */
function web(socket: Socket): void {
  socket.once("data", (request) => socket.end(`HTTP/1.0 200 OK\r\n\r\n${String(request)}`));
}

/** Ask a web server by SOCKS, which resolves the name. */
async function curl(proxy: string, at: string): Promise<string> {
  const words = ["--silent", "--socks5-hostname", proxy, `http://${at}/`];
  return (await promisify(execFile)("curl", words)).stdout;
}
