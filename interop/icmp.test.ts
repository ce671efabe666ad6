/**
 * ICMP "port unreachable" as a hint: a dial to a node that is down fails soon, and who forges it achieves nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import process from "node:process";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { bind } from "@alknet/quic/endpoint";
import { clientTls, dial, LOOPBACK, serve } from "@alknet/quic/test-identity";
import { follow } from "./program.ts";
import { twoMachines } from "./two-machines.ts";

test("a dial over QUIC to a machine where no node runs says so, over IPv4 and IPv6", async () => {
  await using machines = await twoMachines();
  const { den, laptop } = machines;
  const fingerprint = (await den.run("id")).stdout.trim();
  for (const host of ["10.79.0.1", "[fd79::1]"]) {
    const { status, stderr } = await laptop.run(
      ...["ping", `${fingerprint}@${host}:7433`, "--quic", "--count", "1"],
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /nothing listens on that UDP port/);
  }
});

/**
 * Tells both ports of argv, again and again, that nobody listens at the other: RFC 792, with the headers of a datagram
 * that there may have been, and what it never held.
 */
const FORGER = `
import os, socket, struct, sys, time
ports = [int(word) for word in sys.argv[1:]]
here = socket.inet_aton("127.0.0.1")
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
def folded(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return 0xffff - total
began, told = time.monotonic(), 0
while True:
    for source, destination in (ports, ports[::-1]):
        quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 128, 0, 0, 64, 17, 0, here, here)
        quoted += struct.pack("!HHHH", source, destination, 108, 0) + os.urandom(100)
        message = struct.pack("!BBHI", 3, 3, 0, 0) + quoted
        raw.sendto(message[:2] + struct.pack("!H", folded(message)) + message[4:], ("127.0.0.1", 0))
    if time.monotonic() >= began + told + 1:
        told += 1
        print("thrown for", told, "s", flush=True)
`;

const skip = process.getuid?.() === 0 ? false : "only root may send what ICMP has not said";

test("a connection at which forged ICMP is thrown, both ways, goes on", { skip }, async () => {
  await using server = serve();
  await using client = bind({ address: LOOPBACK });
  const near = await dial(client, server, { tls: clientTls() });
  const far = await server.accept();
  assert.ok(far);
  far.onstream = (stream) => {
    const duplex = stream.toDuplex();
    duplex.on("error", () => {});
    duplex.pipe(duplex);
  };
  const words = ["-c", FORGER, String(server.address.port), String(client.address.port)];
  await using forger = follow(spawn("python3", words), "the forger");
  await forger.waitFor(/thrown for 1 s/);
  // Long enough that who believed it would have ended it.
  let enough = false;
  const thrown = forger.waitFor(/thrown for 4 s/).then(() => (enough = true));
  const bytes = randomBytes(100_000);
  while (!enough) {
    const stream = await near.open();
    stream.end(bytes);
    assert.ok((await buffer(stream)).equals(bytes));
  }
  await thrown;
  // And where nothing comes for as long.
  await forger.waitFor(/thrown for 7 s/);
  await near.ping();
  assert.equal(client.connectionCount + server.connectionCount, 2);
});
