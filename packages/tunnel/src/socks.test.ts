import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import * as fc from "fast-check";
import type { Listener } from "./listener.ts";
import { socks } from "./socks.ts";
import { deadPort, memoryLog, readAll, tcpServer, tunnelPair } from "./testing.ts";

function connectTo({ address: { address, port } }: Listener): Socket {
  return connect({ host: address, port, allowHalfOpen: true, noDelay: true });
}

const GREETING = [5, 1, 0];

/** A CONNECT to a name, or to what stands as one. */
function request(host: string, port: number, command = 1): Buffer {
  return Buffer.from([5, command, 0, 3, host.length, ...Buffer.from(host), port >> 8, port & 0xff]);
}

test("socks() carries what the client asks for, and leaves names to the far side", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  const asked: string[] = [];
  await using node = tunnelPair(["tunnel:dial:localhost:*"], {
    resolve: async (host) => {
      asked.push(host);
      return ["127.0.0.1"];
    },
  });
  await using proxy = await socks(node.dial, { port: 0 });
  const { port } = target.to;
  for (const address of [
    [3, 8, ...Buffer.from("Db.Local")],
    [1, 127, 0, 0, 1],
  ]) {
    const socket = connectTo(proxy);
    // All at once, data included: a client that trusts its proxy may.
    socket.end(Buffer.from([...GREETING, 5, 1, 0, ...address, port >> 8, port & 0xff, 0x68, 0x69]));
    assert.deepEqual(
      [...(await readAll(socket))],
      [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x68, 0x69],
    );
  }
  assert.deepEqual(asked, ["db.local"]);
});

test("socks() takes its client's words however they are cut", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using proxy = await socks(node.dial, { port: 0 });
  const words = Buffer.from([5, 3, 1, 2, 0, ...request("127.0.0.1", target.to.port), 0x68, 0x69]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(words.length), { maxLength: 8 }), async (cuts) => {
      const socket = connectTo(proxy);
      const answer = readAll(socket);
      let from = 0;
      for (const at of cuts.toSorted((a, b) => a - b)) {
        socket.write(words.subarray(from, at));
        from = at;
        await new Promise(setImmediate);
      }
      socket.end(words.subarray(from));
      assert.deepEqual([...(await answer)], [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x68, 0x69]);
    }),
    { numRuns: 30 },
  );
});

test("socks() answers each failure with its own code", async () => {
  const dead = await deadPort();
  const codes: Record<string, string> = {
    "10.0.0.1": "EHOSTUNREACH",
    "10.0.0.2": "ENETUNREACH",
    "10.0.0.3": "ETIMEDOUT",
    "10.0.0.4": "EMFILE",
    "10.0.0.5": "ECONNREFUSED",
  };
  await using node = tunnelPair(["tunnel:dial:10.0.0.0/8:*", "tunnel:dial:no.where:*"], {
    resolve: async () => {
      throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
    },
    connect: async (address) => {
      throw Object.assign(new Error("no"), { code: codes[address] });
    },
  });
  await using proxy = await socks(node.dial, { port: 0 });
  for (const [words, reply] of [
    [request("localhost", dead), 2],
    [request("10.0.0.2", 80), 3],
    [request("10.0.0.1", 80), 4],
    [request("no.where", 80), 4],
    [request("10.0.0.5", 80), 5],
    [request("10.0.0.3", 80), 6],
    [request("10.0.0.4", 80), 1],
    [request("10.0.0.1", 80, 2), 7],
    [request("10.0.0.1", 80, 3), 7],
    [request("10.0.0.1", 0), 1],
    [request("a b", 80), 4],
    [Buffer.from([5, 1, 0, 9, 1, 1, 1]), 8],
    [Buffer.from([5, 7]), 7],
  ] as const) {
    const socket = connectTo(proxy);
    socket.write(Buffer.concat([Buffer.from(GREETING), words]));
    const answer = await readAll(socket);
    assert.deepEqual([...answer], [5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0], words.toString("hex"));
    socket.end();
    await once(socket, "close");
  }
});

test("socks() answers general failure when there is no way to the peer, and says so", async () => {
  const { log, logger } = memoryLog();
  const dial = async () => {
    throw new Error("cannot reach peer");
  };
  await using proxy = await socks(dial, { port: 0, logger });
  const socket = connectTo(proxy);
  socket.end(Buffer.concat([Buffer.from(GREETING), request("localhost", 80)]));
  assert.equal((await readAll(socket))[3], 1);
  assert.equal(log[0]?.message, "no flow: cannot reach peer");
});

test("socks() answers a client without a method that we have, and not at all who speaks otherwise", async () => {
  const { log, logger } = memoryLog();
  await using node = tunnelPair([]);
  await using proxy = await socks(node.dial, { port: 0, logger });
  for (const [words, answer] of [
    [Buffer.from([5, 1, 2]), [5, 0xff]],
    [Buffer.from([5, 0]), [5, 0xff]],
    [Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0]), []],
    [Buffer.from("GET / HTTP/1.1\r\n\r\n"), []],
  ] as const) {
    const socket = connectTo(proxy);
    socket.end(words);
    assert.deepEqual([...(await readAll(socket))], answer);
  }
  assert.match(log.map(({ message }) => message).join("\n"), /password[^]*SOCKS 4[^]*HTTP/);
});

test("socks() lets go of clients that say nothing, or not enough, in time", async () => {
  const clock = new FakeClock();
  await using node = tunnelPair([]);
  await using proxy = await socks(node.dial, { port: 0, clock });
  for (const words of [[], [5], [...GREETING, 5, 1, 0, 3, 200, 0x61]]) {
    const socket = connectTo(proxy);
    const ended = readAll(socket);
    socket.write(Buffer.from(words));
    while (proxy.connections === 0 || clock.pending === 0) await new Promise(setImmediate);
    clock.advance(10_000);
    assert.ok((await ended).length <= 2);
    socket.end();
    while (proxy.connections > 0) await new Promise(setImmediate);
    clock.advance(10_000);
  }
});

test("socks() takes any bytes, and goes on", async () => {
  await using node = tunnelPair([]);
  await using proxy = await socks(node.dial, { port: 0 });
  const words = fc
    .tuple(fc.constantFrom([], [5], GREETING, [...GREETING, 5, 1, 0, 3]), fc.uint8Array())
    .map(([head, rest]) => Buffer.from([...head, ...rest]));
  await fc.assert(
    fc.asyncProperty(words, async (words) => {
      const socket = connectTo(proxy);
      socket.end(words);
      await readAll(socket).catch(() => {});
    }),
    { numRuns: 50 },
  );
  while (proxy.connections > 0) await new Promise(setImmediate);
});
