import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as fc from "fast-check";
import { exec } from "./test-exec.ts";
import { CHANNELS, connectHostile, send, string, u32 } from "./test-hostile.ts";

const MiB = 2 ** 20;
const IDENTIFICATION = Buffer.from("SSH-2.0-t\r\n");

test("lengths of packets that cannot be are the end, and nothing is kept for them", async () => {
  for (const length of [0, 1, 4, 7, 35_001, 2 ** 31, 2 ** 32 - 1]) {
    await using it = await connectHostile();
    const head = Buffer.alloc(64);
    head.writeUInt32BE(length);
    it.stream.write(Buffer.concat([IDENTIFICATION, head]));
    it.stream.resume();
    await it.served;
  }
});

test("whatever comes before the keys are exchanged is the end, or waited for", async () => {
  const kinds = fc.constantFrom(1, 2, 3, 4, 5, 7, 20, 21, 30, 31, 50, 80, 90, 94, 98, 255);
  const packets = fc.array(fc.tuple(kinds, fc.uint8Array({ maxLength: 400 })), { maxLength: 6 });
  const raw = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 4 });
  const sent = fc.oneof(
    raw.map((pieces) => Buffer.concat(pieces)),
    packets.map((all) =>
      Buffer.concat([
        IDENTIFICATION,
        ...all.map(([kind, rest]) => packet(Buffer.concat([Buffer.of(kind), rest]))),
      ]),
    ),
  );
  await fc.assert(
    fc.asyncProperty(sent, async (bytes) => {
      await using it = await connectHostile();
      it.stream.resume();
      it.stream.end(bytes);
      await it.served;
    }),
    { numRuns: 60, seed: 7 },
  );
});

for (const state of ["before a login", "after it"] as const) {
  test(`whatever packets come ${state}, sealed as they should be, are answered or the end`, async () => {
    const kinds = fc.integer({ min: 0, max: 255 });
    const small = fc.constantFrom(...[0, 1, 2, 255, 2 ** 31, 2 ** 32 - 1].map(u32));
    const names = fc.constantFrom("session", "direct-tcpip", "exec", "env", "ssh-userauth", "none");
    const part = fc.oneof(small, names.map(string), fc.uint8Array({ maxLength: 60 }));
    const message = fc.tuple(kinds, fc.array(part, { maxLength: 6 }));
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 12 }), async (messages) => {
        await using it = await connectHostile();
        const { protocol } = await it.login(state === "after it");
        for (const [kind, parts] of messages) {
          send(protocol, Buffer.concat([Buffer.of(kind), ...parts]));
          await turn();
        }
        it.stream.end();
        await it.served;
        assert.equal(it.handler.sessions, 0);
      }),
      { numRuns: 60, seed: 11 },
    );
  });
}

test("bytes that are changed on their way end the connection, wherever they are", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(5_000), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
      await using it = await connectHostile();
      let passed = 0;
      const write = it.stream.write.bind(it.stream) as (data: Buffer) => boolean;
      it.stream.write = ((data: Buffer) => {
        const index = at - passed;
        passed += data.length;
        if (index < 0 || index >= data.length) return write(data);
        const changed = Buffer.from(data);
        changed[index] = (changed[index] as number) ^ mask;
        return write(changed);
      }) as Duplex["write"];
      // It may get in, where the byte is not sent before.
      const outcome = await it.login(true).then(
        () => "in",
        () => "out",
      );
      assert.ok(outcome === "out" || passed <= at + 4_000);
      it.stream.end();
      await it.served;
    }),
    { numRuns: 40, seed: 3 },
  );
});

test("ten thousand channels are refused beyond the limit, and the connection goes on", async () => {
  await using it = await connectHostile();
  const { client, protocol } = await it.login(true);
  const open = (number: number) =>
    Buffer.concat([Buffer.of(90), string("session"), u32(number), u32(MiB), u32(32_768)]);
  let refused = 0;
  protocol._handlers["CHANNEL_OPEN_FAILURE"] = () => refused++;
  for (let number = 0; number < 10_000; number++) {
    send(protocol, open(number));
    if (number % 500 === 0) await turn();
  }
  while (refused < 10_000 - CHANNELS) await turn();
  client.end();
  await it.served;
});

test("global requests, and messages that mean nothing, cost nothing that stays", async () => {
  await using it = await connectHostile();
  const { client, protocol } = await it.login(true);
  const asked = Buffer.concat([Buffer.of(80), string("no-such@example"), Buffer.of(1)]);
  let answered = 0;
  protocol._handlers["REQUEST_FAILURE"] = () => answered++;
  const before = process.memoryUsage().rss;
  for (let each = 0; each < 5_000; each++) {
    send(protocol, asked);
    send(protocol, Buffer.concat([Buffer.of(2), string("ignored")]));
    send(protocol, Buffer.concat([Buffer.of(4, 1), string("debug"), string("")]));
    if (each % 200 === 0) await turn();
  }
  while (answered < 5_000) await turn();
  assert.ok(process.memoryUsage().rss - before < 100 * MiB);
  client.end();
  await it.served;
});

test("a client that grants 4 GiB and reads nothing is not written to without end", async () => {
  await using it = await connectHostile();
  const { client, protocol } = await it.login(true);
  const channel = await exec(client, "yes");
  const { outgoing } = channel as unknown as { outgoing: { id: number } };
  it.stream.pause();
  // As much as a window may have, which is 2 MiB now.
  const grant = Buffer.concat([Buffer.of(93), u32(outgoing.id), u32(2 ** 32 - 1 - 2 * MiB)]);
  const before = process.memoryUsage().rss;
  send(protocol, grant);
  // The server's side is full, and stays so.
  for (let each = 0; each < 2_000; each++) await turn();
  assert.ok(process.memoryUsage().rss - before < 100 * MiB);
  it.stream.destroy();
  await it.served;
  while (it.handler.sessions > 0) await turn();
});

test("packets of one byte, for a program that does not read, take little more than their bytes", async () => {
  await using it = await connectHostile();
  const { client, protocol } = await it.login(true);
  const channel = await exec(client, "exec sleep 1000");
  const { outgoing } = channel as unknown as { outgoing: { id: number } };
  const data = Buffer.concat([Buffer.of(94), u32(outgoing.id), string("x")]);
  const before = process.memoryUsage().rss;
  for (let each = 0; each < 60_000; each++) {
    send(protocol, data);
    if (each % 500 === 0) await turn();
  }
  while (it.stream.writableLength > 0) await turn();
  assert.ok(process.memoryUsage().rss - before < 100 * MiB);
  it.stream.destroy();
  await it.served;
  while (it.handler.sessions > 0) await turn();
});

test("a second KEXINIT within an exchange of keys is the end", async () => {
  await using it = await connectHostile();
  const { protocol } = await it.login(true);
  protocol.rekey();
  send(protocol, Buffer.concat([Buffer.of(20), randomBytes(200)]));
  await it.served;
});

test("clients that vanish from their sessions leave no memory behind", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  async function round(): Promise<number> {
    for (let each = 0; each < 15; each++) {
      await using it = await connectHostile();
      const { client } = await it.login(true);
      client.on("error", () => {});
      const channel = await exec(client, "exec cat");
      channel.write(Buffer.alloc(64 * 1024));
      it.stream.destroy();
      await it.served;
      while (it.handler.sessions > 0) await turn();
    }
    // What finalizers let go of is there for the next one.
    for (let each = 0; each < 5; each++) {
      collect();
      await turn();
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }
  // The first ones fill caches, and are compiled.
  await round();
  const before = await round();
  await round();
  // A connection that stayed would be 100 KiB at least, and thirty 3 MiB.
  assert.ok((await round()) - before < MiB);
});

/** RFC 4253 §6, before there are keys. */
function packet(payload: Buffer): Buffer {
  const padding = 4 + ((8 - ((payload.length + 9) % 8)) % 8);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(1 + payload.length + padding);
  head.writeUInt8(padding, 4);
  return Buffer.concat([head, payload, Buffer.alloc(padding)]);
}
