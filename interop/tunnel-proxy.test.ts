/**
 * Flows by way of real proxies: microsocks, tinyproxy, and our own `socks()` in front of another node.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ownerContext } from "@alknet/core/access";
import { freePort } from "@alknet/core/testing-port";
import { type OutboundOptions, outbound } from "@alknet/tunnel/outbound";
import { parseProxy } from "@alknet/tunnel/proxy";
import { FlowRefused } from "@alknet/tunnel/refused";
import { socks } from "@alknet/tunnel/socks";
import { readAll, tcpServer, testPeer, tunnelPair } from "@alknet/tunnel/testing";
import { follow } from "./program.ts";

const never = new AbortController().signal;
const USER = "alk";
const PASSWORD = "pass-word_1";
const LOGIN = `${USER}:pass%2dword_1`;

/** A proxy that runs at `port`; it listens when this resolves. */
async function proxyProgram(port: number, command: string, ...args: readonly string[]) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  await once(child, "spawn");
  const program = follow(child, command);
  let ended = false;
  void program.ended.then(() => (ended = true));
  while (!(await listens(port))) {
    if (ended) assert.fail(`${command} has ended: ${program.output}`);
    await turn();
  }
  return program;
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Another server for who takes `localhost` to be IPv6. */
async function sameAtIpv6(port: number): Promise<AsyncDisposable> {
  const server = createServer((socket) => {
    socket.on("error", () => {}).end("hello");
  });
  // A machine without IPv6 has no such name either.
  await new Promise<void>((resolve) => {
    server.once("error", () => resolve());
    server.listen({ host: "::1", port }, resolve);
  });
  return server;
}

async function microsocks() {
  const port = await freePort();
  const at = ["-i", "127.0.0.1", "-p", String(port), "-u", USER, "-P", PASSWORD];
  const program = await proxyProgram(port, "microsocks", ...at);
  return { port, scheme: "socks5", [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

async function tinyproxy() {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "alknet-tinyproxy-"));
  const file = join(folder, "tinyproxy.conf");
  const config = [`Port ${port}`, "Listen 127.0.0.1", "Timeout 60", "MaxClients 100"];
  // No ConnectPort: tunnels to every port.
  writeFileSync(file, [...config, `BasicAuth ${USER} ${PASSWORD}`, ""].join("\n"));
  const program = await proxyProgram(port, "tinyproxy", "-d", "-c", file);
  return {
    port,
    scheme: "http",
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

async function refusal(promise: Promise<unknown>): Promise<FlowRefused> {
  const error = await promise.then(
    () => assert.fail("expected a refusal"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof FlowRefused, String(error));
  assert.doesNotMatch(`${error.message}${String(error.cause)}`, /pass-word|pass%2dword/);
  return error;
}

/** Never asked: the names are the proxy's to resolve. */
const resolve: OutboundOptions["resolve"] = async (name) => assert.fail(`looked up ${name}`);

for (const [name, start] of [
  ["microsocks", microsocks],
  ["tinyproxy", tinyproxy],
] as const) {
  test(`a flow goes by way of ${name} with a login`, async () => {
    await using proxy = await start();
    await using server = await tcpServer((socket) => {
      // It speaks first: what comes right behind the proxy's answer is not lost.
      socket.write("hello\n");
      socket.pipe(socket);
    });
    const { auth } = testPeer(`tunnel:dial:127.0.0.1:${server.to.port}`);
    const url = parseProxy(`${proxy.scheme}://${LOGIN}@127.0.0.1:${proxy.port}`);
    const out = outbound({ proxy: url, resolve });
    using flow = await out.connect(auth, server.to, { signal: never });
    flow.socket.write("x".repeat(200_000));
    let heard = "";
    while (heard.length < 200_006) {
      heard += String((await once(flow.socket.resume(), "data"))[0]);
    }
    assert.equal(heard, `hello\n${"x".repeat(200_000)}`);
    flow.socket.destroy();
  });

  test(`${name} resolves the names, of which this node looks up none`, async () => {
    await using proxy = await start();
    await using server = await tcpServer((socket) => socket.end("hello"));
    const { port } = server.to;
    await using _other = await sameAtIpv6(port);
    const url = parseProxy(`${proxy.scheme}://${LOGIN}@127.0.0.1:${proxy.port}`);
    const out = outbound({ proxy: url, resolve });
    // The owner may reach loopback by a name that only the proxy has looked up; a peer may not.
    const target = { host: "localhost", port };
    using flow = await out.connect(ownerContext(), target, { signal: never });
    assert.equal(String(await readAll(flow.socket)), "hello");
    flow.socket.destroy();
    const { auth } = testPeer("tunnel:dial:localhost:*", "tunnel:dial:*.invalid:80", "tunnel:dial");
    const refused = await refusal(out.connect(auth, target, { signal: never }));
    assert.equal(refused.refusal, "not-allowed");
    const unknown = { host: "no.such.invalid", port: 80 };
    const none = await refusal(out.connect(auth, unknown, { signal: never }));
    assert.ok(["host-unreachable", "failed"].includes(none.refusal), none.message);
  });

  test(`without the right login, or with a dead target, ${name} is told from a flow that stands`, async () => {
    await using proxy = await start();
    const port = await freePort();
    const { auth } = testPeer(`tunnel:dial:127.0.0.1:${port}`);
    const target = { host: "127.0.0.1", port };
    for (const login of ["", "alk:wrong@"]) {
      const url = parseProxy(`${proxy.scheme}://${login}127.0.0.1:${proxy.port}`);
      const refused = await refusal(
        outbound({ proxy: url, resolve }).connect(auth, target, { signal: never }),
      );
      assert.equal(refused.refusal, "failed");
      assert.match(refused.message, /login|user and password/);
    }
    const url = parseProxy(`${proxy.scheme}://${LOGIN}@127.0.0.1:${proxy.port}`);
    const dead = outbound({ proxy: url, resolve }).connect(auth, target, { signal: never });
    const expected = name === "microsocks" ? ["refused"] : ["failed", "host-unreachable"];
    assert.ok(expected.includes((await refusal(dead)).refusal));
  });
}

test("the proxy may be a node of ours: its socks() gives the exact reason", async () => {
  await using server = await tcpServer((socket) => socket.end("hello"));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using proxy = await socks(node.dial, { port: 0, onfailure: () => {} });
  const url = parseProxy(`socks5://127.0.0.1:${proxy.address.port}`);
  const out = outbound({ proxy: url, resolve });
  const { auth } = testPeer("tunnel:dial:127.0.0.1:*", "tunnel:dial:192.0.2.1:80");
  using flow = await out.connect(auth, server.to, { signal: never });
  assert.equal(String(await readAll(flow.socket)), "hello");
  flow.socket.end();
  for (const [target, expected] of [
    [{ host: "127.0.0.1", port: await freePort() }, "refused"],
    [{ host: "192.0.2.1", port: 80 }, "not-allowed"],
  ] as const) {
    assert.equal((await refusal(out.connect(auth, target, { signal: never }))).refusal, expected);
  }
});
