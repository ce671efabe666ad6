import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { createServer } from "node:net";
import { freePort } from "@alknet/core/testing-port";
import { checkPort, checkUdpBuffers } from "./sockets.ts";

test("checkPort() finds a port free, or says which half of it is taken", async () => {
  const port = await freePort();
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  const listen = { host: "127.0.0.1", port };
  const taken = await checkPort(listen);
  assert.equal(taken.state, "problem");
  assert.equal(taken.text, `127.0.0.1:${port} cannot be had for TCP: EADDRINUSE`);
  assert.match(taken.fix!, new RegExp(`sport = :${port}`));
  server.close();
  await once(server, "close");

  const socket = createSocket("udp4").bind(port, "127.0.0.1");
  await once(socket, "listening");
  assert.match((await checkPort(listen)).text, /for UDP: EADDRINUSE/);
  socket.close();
  await once(socket, "close");
  assert.equal((await checkPort(listen)).state, "ok");
});

test("checkPort() knows an address that is not here", async () => {
  const finding = await checkPort({ host: "203.0.113.1", port: 7433 });
  assert.match(finding.text, /EADDRNOTAVAIL/);
  assert.match(finding.fix!, /not one of this machine/);
});

test("checkUdpBuffers() gives the sysctl line that mends it", () => {
  const small = checkUdpBuffers((path) => (path.endsWith("rmem_max") ? "212992\n" : "4194304\n"));
  assert.equal(small?.state, "warning");
  assert.match(small!.text, /net\.core\.rmem_max = 212992/);
  assert.match(small!.fix!, /^sudo sysctl -w net\.core\.rmem_max=4194304;/);
  assert.doesNotMatch(small!.fix!, /wmem/);
  assert.equal(checkUdpBuffers(() => "4194304\n")?.state, "ok");
  assert.equal(
    checkUdpBuffers(() => {
      throw new Error("no such file");
    }),
    undefined,
  );
});
