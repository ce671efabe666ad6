/**
 * The key exchange that a node agrees on by default: X25519MLKEM768, over both transports.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { pingHandler } from "@alknet/core/ping";
import { site, until } from "./attack.ts";
import { captureHello, captureInitials } from "./captured.ts";
import { forge } from "./forger.ts";
import { openClientInitial, openServerInitials, readFrames } from "./initial-packet.ts";

/** draft-ietf-tls-ecdhe-mlkem */
const X25519MLKEM768 = 0x11ec;
const X25519 = 0x1d;
/** Of a TLS record. */
const HEADER = 5;

test("a node agrees on X25519MLKEM768 over TCP, and on X25519 with who has nothing better", async () => {
  await using place = await site({ handlers: [pingHandler()] });
  const answer = async (hello: Buffer): Promise<Buffer> => {
    const socket = net.connect({ host: "127.0.0.1", port: place.port, noDelay: true });
    socket.on("error", () => {});
    socket.write(hello);
    let bytes = Buffer.alloc(0);
    while (bytes.length < HEADER || bytes.length < HEADER + bytes.readUInt16BE(3)) {
      const [chunk] = (await once(socket, "data")) as [Buffer];
      bytes = Buffer.concat([bytes, chunk]);
    }
    socket.destroy();
    return bytes.subarray(HEADER);
  };
  assert.equal(selectedGroup(await answer(await captureHello())), X25519MLKEM768);
  const classic = await captureHello({ ecdhCurve: "X25519" });
  assert.equal(selectedGroup(await answer(classic)), X25519);
});

test("a node agrees on X25519MLKEM768 over QUIC", async () => {
  await using place = await site({ handlers: [pingHandler()], handshakeTimeout: 1_000 });
  using client = await forge("127.0.0.1");
  const initials = await captureInitials(2);
  const { destination } = openClientInitial(initials[0]!);
  await client.send(place.port, initials);
  const first = (): Buffer | undefined =>
    client.datagrams
      .flatMap((datagram) => openServerInitials(datagram, destination))
      .flatMap((payload) => readFrames(payload).crypto)
      .find(({ offset }) => offset === 0)?.data;
  await until(
    () => first() !== undefined,
    () => client.datagrams.length,
  );
  // The message is longer than its first packet, which the fields before the key itself are in.
  assert.equal(selectedGroup(first()!), X25519MLKEM768);
});

/** NamedGroup of the key_share in a ServerHello (RFC 8446 §4.1.3, §4.2.8), of which the end may be missing. */
function selectedGroup(hello: Buffer): number | undefined {
  const SERVER_HELLO = 2;
  assert.equal(hello[0], SERVER_HELLO);
  let at = 4 + 2 + 32;
  at += 1 + hello.readUInt8(at) + 2 + 1;
  const end = at + 2 + hello.readUInt16BE(at);
  for (at += 2; at + 6 <= Math.min(end, hello.length); at += 4 + hello.readUInt16BE(at + 2)) {
    const KEY_SHARE = 51;
    if (hello.readUInt16BE(at) === KEY_SHARE) return hello.readUInt16BE(at + 4);
  }
  return undefined;
}
