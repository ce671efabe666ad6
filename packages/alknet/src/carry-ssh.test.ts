import assert from "node:assert/strict";
import { once } from "node:events";
import { duplexPair, PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { sshPublicKeyBlob } from "@alknet/vault/openssh-key";
import { carrySsh } from "./carry-ssh.ts";

const HOST_KEY = sshPublicKeyBlob(new Uint8Array(32).fill(7));
const HELLO = Buffer.from("SSH-2.0-x\r\n");

function packet(type: number, body: Uint8Array): Buffer {
  const padding = 4 + ((8 - ((10 + body.length) % 8)) % 8);
  const head = Buffer.alloc(6);
  head.writeUInt32BE(2 + body.length + padding);
  head.set([padding, type], 4);
  return Buffer.concat([head, body, Buffer.alloc(padding)]);
}

const KEXINIT = packet(20, Buffer.alloc(50));
const REPLY = packet(31, Buffer.concat([Buffer.from([0, 0, 0, 51]), HOST_KEY, Buffer.alloc(90)]));

/** A server at one end, and what a client is handed at the other. */
function carrying(onhostkey: (key: Uint8Array) => Promise<void>) {
  const [stream, server] = duplexPair();
  const input = new PassThrough();
  const handedOn: Buffer[] = [];
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      handedOn.push(chunk);
      done();
    },
  });
  const lost: string[] = [];
  const onlost = (why: string): void => void lost.push(why);
  const carried = carrySsh(stream, { input, output }, { onhostkey, onlost });
  return { stream, server, input, output, carried, lost, handed: () => Buffer.concat(handedOn) };
}

test("the piece with the host key is handed on when the key has been used, and no sooner", async () => {
  const used = Promise.withResolvers<void>();
  const seen = Promise.withResolvers<Uint8Array>();
  const it = carrying((key) => {
    seen.resolve(key);
    return used.promise;
  });
  it.server.write(Buffer.concat([HELLO, KEXINIT]));
  it.server.write(REPLY.subarray(0, 60));
  it.server.write(Buffer.concat([REPLY.subarray(60), Buffer.from("after")]));
  assert.deepEqual(await seen.promise, Uint8Array.from(HOST_KEY));
  await turn();
  assert.deepEqual(it.handed(), Buffer.concat([HELLO, KEXINIT, REPLY.subarray(0, 60)]));
  used.resolve();
  it.server.end("to the last");
  await it.carried;
  const all = [HELLO, KEXINIT, REPLY, Buffer.from("afterto the last")];
  assert.deepEqual(it.handed(), Buffer.concat(all));
});

test("what is no SSH is handed on as it is, and it is said that there was no key", async () => {
  const it = carrying(() => Promise.reject(new Error("there is none")));
  const bytes = Buffer.alloc(200_000, "x");
  it.server.end(bytes);
  await it.carried;
  assert.deepEqual(it.handed(), bytes);
  assert.deepEqual(it.lost, ["it does not speak SSH"]);
});

test("a server that ends before it has shown a key ends it too", async () => {
  const it = carrying(() => Promise.resolve());
  it.server.end(HELLO);
  await it.carried;
  assert.deepEqual(it.handed(), HELLO);
  assert.deepEqual(it.lost, []);
});

test("the end of what a client sends is passed on, and what the server sends then still comes", async () => {
  const it = carrying(() => Promise.resolve());
  it.input.end("all of it");
  // Its iterator would end the other direction, too.
  let sent = "";
  it.server.on("data", (piece: Buffer) => (sent += piece.toString()));
  await once(it.server, "end");
  assert.equal(sent, "all of it");
  it.server.end(Buffer.concat([HELLO, KEXINIT, REPLY]));
  await it.carried;
  assert.equal(it.handed().length, HELLO.length + KEXINIT.length + REPLY.length);
});

test("a stream that fails ends it with its error, before the key and after", async () => {
  for (const bytes of [HELLO, Buffer.concat([HELLO, KEXINIT, REPLY, Buffer.from("x")])]) {
    const it = carrying(() => Promise.resolve());
    it.server.write(bytes);
    while (it.handed().length < bytes.length) await turn();
    it.stream.destroy(new Error("gone"));
    await assert.rejects(it.carried, /gone/);
  }
});

test("a client that reads no more is the end, whatever the server still has to say", async () => {
  for (const bytes of [HELLO, Buffer.concat([HELLO, KEXINIT, REPLY, Buffer.from("x")])]) {
    const it = carrying(() => Promise.resolve());
    it.server.write(bytes);
    while (it.handed().length < bytes.length) await turn();
    it.output.on("error", () => {});
    it.output.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    it.server.write(Buffer.alloc(100_000));
    await it.carried;
    assert.equal(it.stream.destroyed, true);
  }
});
