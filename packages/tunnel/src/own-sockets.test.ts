import assert from "node:assert/strict";
import { linkSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { outbound } from "./outbound.ts";
import { ownSockets } from "./own-sockets.ts";
import { FlowRefused } from "./refused.ts";
import { tcpServer, testPeer, unixServer } from "./testing.ts";

const never = new AbortController().signal;

function places(...hosts: string[]) {
  return ownSockets({
    addresses: () => hosts.map((host) => ({ host, port: 7433 })),
    paths: () => [],
    localAddresses: () => ["192.0.2.7", "fe80::7%eth0", "2001:db8::7"],
  });
}

test("isOwn() knows a socket by every address of this machine that leads to it", () => {
  for (const wildcard of ["0.0.0.0", "::"]) {
    const own = places(wildcard);
    for (const address of [
      "127.0.0.1",
      "127.9.9.9",
      "0.0.0.0",
      "::",
      "::1",
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "::ffff:0.0.0.0",
      "192.0.2.7",
      "::ffff:192.0.2.7",
      "2001:db8::7",
      "2001:DB8:0::7",
      "fe80::7",
    ]) {
      assert.equal(own.isOwn(address, 7433), true, address);
      assert.equal(own.isOwn(address, 7434), false, address);
    }
    for (const address of ["192.0.2.8", "2001:db8::8", "10.0.0.1"]) {
      assert.equal(own.isOwn(address, 7433), false, address);
    }
  }
});

test("isOwn() leaves alone what others have at other addresses of this machine", () => {
  const own = places("127.0.0.1");
  for (const address of ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"]) {
    assert.equal(own.isOwn(address, 7433), true, address);
  }
  for (const address of ["192.0.2.7", "127.0.0.2", "::1"]) {
    assert.equal(own.isOwn(address, 7433), false, address);
  }
  assert.equal(places("192.0.2.7").isOwn("0.0.0.0", 7433), false);
});

test("no way leads from outbound() to a TCP socket of the node itself", async () => {
  await using node = await tcpServer(() => assert.fail("connected"));
  await using other = await tcpServer((socket) => socket.end());
  const own = ownSockets({
    addresses: () => [{ host: "0.0.0.0", port: node.to.port }],
    paths: () => [],
  });
  const { auth } = testPeer("tunnel:dial:localhost:*", "tunnel:dial:0.0.0.0:*", "tunnel:dial:*:*");
  const out = outbound({ own, resolve: async () => ["127.0.0.1"] });
  const { port } = node.to;
  for (const host of ["127.0.0.1", "localhost", "0.0.0.0", "127.1.2.3", "::ffff:127.0.0.1"]) {
    await assert.rejects(out.connect(auth, { host, port }, { signal: never }), (error) => {
      assert.ok(error instanceof FlowRefused);
      assert.equal(error.refusal, "not-allowed");
      assert.match(error.message, /Alknet's own/);
      return true;
    });
  }
  const { socket, ...flow } = await out.connect(auth, other.to, { signal: never });
  socket.destroy();
  flow[Symbol.dispose]();
  assert.equal(out.flows, 0);
});

test("no way leads from outbound() to a Unix socket of the node itself, not by a link either", async () => {
  await using control = await unixServer(() => assert.fail("connected"));
  await using other = await unixServer();
  const own = ownSockets({
    addresses: () => [],
    paths: () => [control.path, "/nowhere/agent.sock"],
  });
  const { auth } = testPeer(`tunnel:dial:unix:${dirname(control.folder)}/**`);
  const out = outbound({ own });
  const byLink = join(other.folder, "link.sock");
  symlinkSync(control.path, byLink);
  const byFolder = join(other.folder, "folder");
  symlinkSync(control.folder, byFolder);
  const byHardLink = join(control.folder, "hard.sock");
  linkSync(control.path, byHardLink);
  for (const path of [control.path, byLink, join(byFolder, "s.sock"), byHardLink]) {
    await assert.rejects(out.connect(auth, { path }, { signal: never }), {
      refusal: "not-allowed",
      message: `${path}: Alknet's own socket, which no forward reaches`,
    });
  }
  const { socket, ...flow } = await out.connect(auth, other, { signal: never });
  socket.destroy();
  flow[Symbol.dispose]();
});

test("who has no right to a socket is not told whose it is", async () => {
  const own = ownSockets({ addresses: () => [{ host: "::", port: 7433 }], paths: () => [] });
  const { auth } = testPeer("tunnel:dial:localhost:80");
  const target = { host: "127.0.0.1", port: 7433 };
  await assert.rejects(outbound({ own }).connect(auth, target, { signal: never }), /lacks/);
});
