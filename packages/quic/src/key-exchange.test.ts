import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { test } from "node:test";
import { bind } from "./endpoint.ts";
import { clientTls, LOOPBACK, serve } from "./test-identity.ts";
import { relay } from "./test-relay.ts";

/** RFC 9001 §5.2 */
const INITIAL_SALT = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex");
/** draft-ietf-tls-ecdhe-mlkem */
const X25519MLKEM768 = 0x11ec;

test("a handshake agrees on X25519MLKEM768", async () => {
  const answers: Buffer[] = [];
  let destination: Buffer | undefined;
  await using server = serve();
  await using between = await relay(server.address.port, (datagram, way) => {
    if (way === "toClient") answers.push(datagram);
    else destination ??= datagram.subarray(6, 6 + datagram[5]!);
    return true;
  });
  await using client = bind({ address: LOOPBACK });
  const port = between.port;
  const connection = await client.connect({ address: LOOPBACK, port, tls: clientTls() });
  connection.close();
  assert.ok(destination !== undefined);
  const secret = expand(hmac(INITIAL_SALT, destination), "server in", 32);
  const frames = answers
    .flatMap((datagram) => initialPackets(datagram, secret))
    .flatMap((payload) => cryptoFrames(payload));
  const hello = new Map(frames.map(({ offset, data }) => [offset, data]));
  const inOrder = [...hello].sort(([a], [b]) => a - b).map(([, data]) => data);
  assert.equal(selectedGroup(Buffer.concat(inOrder)), X25519MLKEM768);
});

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

/** HKDF-Expand-Label (RFC 8446 §7.1), of at most one block. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const head = Buffer.from([0, length, name.length]);
  return hmac(secret, Buffer.concat([head, name, Buffer.from([0, 1])])).subarray(0, length);
}

/** Payloads of the Initial packets in a datagram (RFC 9000 §17.2.2, RFC 9001 §5.3 and §5.4). */
function initialPackets(datagram: Buffer, secret: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let start = 0; start < datagram.length && (datagram[start]! & 0x80) !== 0;) {
    const isInitial = (datagram[start]! & 0x30) === 0;
    let at = start + 5;
    at += 1 + datagram[at]!;
    at += 1 + datagram[at]!;
    if (isInitial) {
      const [token, after] = varint(datagram, at);
      at = after + token;
    }
    const [length, number] = varint(datagram, at);
    const end = number + length;
    if (isInitial) payloads.push(unprotect(datagram, start, number, end, secret));
    start = end;
  }
  return payloads;
}

function unprotect(
  datagram: Buffer,
  start: number,
  number: number,
  end: number,
  secret: Buffer,
): Buffer {
  const header = createCipheriv("aes-128-ecb", expand(secret, "quic hp", 16), null);
  const mask = header.update(datagram.subarray(number + 4, number + 20));
  const packet = Buffer.from(datagram.subarray(start, end));
  packet[0]! ^= mask[0]! & 0x0f;
  const numberLength = (packet[0]! & 3) + 1;
  const body = number - start + numberLength;
  for (let index = 0; index < numberLength; index++) {
    packet[number - start + index]! ^= mask[1 + index]!;
  }
  const nonce = Buffer.from(expand(secret, "quic iv", 12));
  for (let index = 1; index <= numberLength; index++) {
    nonce[12 - index]! ^= packet[body - index]!;
  }
  const key = expand(secret, "quic key", 16);
  const open = createDecipheriv("aes-128-gcm", key, nonce);
  open.setAAD(packet.subarray(0, body));
  open.setAuthTag(packet.subarray(-16));
  return Buffer.concat([open.update(packet.subarray(body, -16)), open.final()]);
}

/** CRYPTO frames of a payload; Initial packets have no others but ACK, PING and PADDING here. */
function cryptoFrames(payload: Buffer): { offset: number; data: Buffer }[] {
  const frames: { offset: number; data: Buffer }[] = [];
  for (let at = 0; at < payload.length;) {
    const type = payload[at++]!;
    if (type === 6) {
      const [offset, next] = varint(payload, at);
      const [length, begin] = varint(payload, next);
      frames.push({ offset, data: payload.subarray(begin, begin + length) });
      at = begin + length;
    } else if (type === 2 || type === 3) {
      const fields: number[] = [];
      const read = (): number => {
        const [value, next] = varint(payload, at);
        at = next;
        fields.push(value);
        return value;
      };
      read();
      read();
      const ranges = read();
      read();
      for (let field = 0; field < 2 * ranges + (type === 3 ? 3 : 0); field++) read();
    } else {
      assert.ok(type <= 1, `frame ${type} in an Initial packet`);
    }
  }
  return frames;
}

/** NamedGroup of the key_share in a ServerHello (RFC 8446 §4.1.3, §4.2.8). */
function selectedGroup(hello: Buffer): number | undefined {
  assert.equal(hello[0], 2);
  let at = 4 + 2 + 32;
  at += 1 + hello[at]! + 2 + 1;
  const end = at + 2 + hello.readUInt16BE(at);
  for (at += 2; at < end; at += 4 + hello.readUInt16BE(at + 2)) {
    if (hello.readUInt16BE(at) === 51) return hello.readUInt16BE(at + 4);
  }
  return undefined;
}

/** A variable-length integer (RFC 9000 §16), and where it ends. */
function varint(bytes: Buffer, at: number): [value: number, next: number] {
  const length = 1 << (bytes[at]! >> 6);
  const masked = Buffer.from(bytes.subarray(at, at + length));
  masked[0]! &= 0x3f;
  return [masked.readUIntBE(0, Math.min(length, 6)), at + length];
}
