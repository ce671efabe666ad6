import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { freePort } from "@alknet/core/testing-port";
import * as fc from "fast-check";
import type { Listener } from "./listener.ts";
import { socks } from "./socks.ts";
import { memoryLog, readAll, tcpServer, type TunnelPair, tunnelPair } from "./testing.ts";

function connectTo({ address: { address, port } }: Listener): Socket {
  return connect({ host: address, port, allowHalfOpen: true, noDelay: true });
}

/** A node for which every name is this machine. */
function resolvingPair(): TunnelPair & { readonly asked: readonly string[] } {
  const asked: string[] = [];
  const resolve = async (host: string) => {
    asked.push(host);
    return ["127.0.0.1"];
  };
  return Object.assign(tunnelPair(["tunnel:dial:localhost:*"], { resolve }), { asked });
}

const GREETING = [5, 1, 0];

/** A CONNECT to a name, or to what stands as one. */
function request(host: string, port: number, command = 1): Buffer {
  return Buffer.from([5, command, 0, 3, host.length, ...Buffer.from(host), port >> 8, port & 0xff]);
}

test("socks() carries what the client asks for, and leaves names to the far side", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = resolvingPair();
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
  assert.deepEqual(node.asked, ["db.local"]);
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
  const dead = await freePort();
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
    // TLS to what is none.
    [Buffer.from([0x16, 3, 1, 0, 1]), []],
    [Buffer.from([0]), []],
  ] as const) {
    const socket = connectTo(proxy);
    socket.end(words);
    assert.deepEqual([...(await readAll(socket))], answer);
  }
  assert.match(log.map(({ message }) => message).join("\n"), /password[^]*first byte of 22/);
});

/** What a client is answered that says `words` at once. */
async function answerTo(
  proxy: Listener,
  ...words: (string | readonly number[])[]
): Promise<string> {
  const socket = connectTo(proxy);
  socket.end(Buffer.concat(words.map((part) => Buffer.from(part as string))));
  return (await readAll(socket)).toString("latin1");
}

const text = (value: string): number[] => [...Buffer.from(value), 0];

test("socks() serves SOCKS 4 and 4a, and HTTP CONNECT, on the same port, names on the far side", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = resolvingPair();
  await using proxy = await socks(node.dial, { port: 0 });
  const { port } = target.to;
  const at = [port >> 8, port & 0xff];
  const granted = "\0\x5a\0\0\0\0\0\0";
  assert.equal(
    await answerTo(proxy, [4, 1, ...at, 127, 0, 0, 1, ...text("me")], "hi"),
    `${granted}hi`,
  );
  const named = [4, 1, ...at, 0, 0, 0, 1, ...text("me"), ...text("Db.Local")];
  assert.equal(await answerTo(proxy, named, "hi"), `${granted}hi`);
  const connected = "HTTP/1.1 200 Connection established\r\n\r\n";
  const http = (to: string) => `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`;
  assert.equal(await answerTo(proxy, http(`db.local:${port}`), "hi"), `${connected}hi`);
  assert.equal(await answerTo(proxy, http(`127.0.0.1:${port}`), "hi"), `${connected}hi`);
  assert.deepEqual(node.asked, ["db.local", "db.local"]);
});

test("socks() says no in the words of each protocol", async () => {
  const dead = await freePort();
  await using node = tunnelPair([`tunnel:dial:localhost:${dead}`]);
  await using proxy = await socks(node.dial, { port: 0 });
  const rejected = "\0\x5b\0\0\0\0\0\0";
  for (const words of [
    [4, 1, dead >> 8, dead & 0xff, 127, 0, 0, 1, 0],
    [4, 2, 0, 80, 127, 0, 0, 1, 0],
    [4, 1, 0, 0, 127, 0, 0, 1, 0],
    [4, 1, 0, 80, 0, 0, 0, 1, 0, ...text("a b")],
    [4, 9],
  ]) {
    assert.equal(await answerTo(proxy, words), rejected);
  }
  for (const [line, status] of [
    [`CONNECT localhost:${dead} HTTP/1.1`, "502 Bad Gateway"],
    ["CONNECT example.org:80 HTTP/1.1", "403 Forbidden"],
    ["CONNECT example.org HTTP/1.1", "400 Bad Request"],
    ["GET http://example.org/ HTTP/1.1", "405 Method Not Allowed"],
  ] as const) {
    assert.ok(
      (await answerTo(proxy, `${line}\r\n\r\n`)).startsWith(`HTTP/1.1 ${status}\r\n`),
      line,
    );
  }
});

test("socks() with a login lets in who has it, by SOCKS 5 and by HTTP, and nobody else", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  const clock = new FakeClock();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const login = { user: "me", password: "s:ü" };
  await using proxy = await socks(node.dial, { port: 0, login, clock });
  const words = [...request("127.0.0.1", target.to.port)];
  const part = (value: string) => [Buffer.byteLength(value), ...Buffer.from(value)];
  const logIn = (user: string, password: string) => [
    5,
    2,
    0,
    2,
    1,
    ...part(user),
    ...part(password),
  ];
  const ok = "\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0";
  assert.equal(await answerTo(proxy, logIn("me", "s:ü"), words, "hi"), `${ok}hi`);
  const basic = (value: string) =>
    `CONNECT 127.0.0.1:${target.to.port} HTTP/1.1\r\nProxy-Authorization: Basic ${Buffer.from(value).toString("base64")}\r\n\r\n`;
  assert.match(await answerTo(proxy, basic("me:s:ü"), "hi"), /^HTTP\/1\.1 200 .*\r\n\r\nhi$/);

  // Who does not try is told at once what is wanted.
  assert.equal(await answerTo(proxy, [5, 1, 0]), "\x05\xff");
  assert.match(await answerTo(proxy, "CONNECT a:1 HTTP/1.1\r\n\r\n"), /^HTTP\/1\.1 407 /);
  assert.equal(await answerTo(proxy, [4, 1, 0, 80, 127, 0, 0, 1, 0]), "\0\x5b\0\0\0\0\0\0");

  // Who guesses waits a second.
  for (const [guess, answer] of [
    [logIn("me", "s:u"), "\x05\x02\x01\x01"],
    [logIn("", ""), "\x05\x02\x01\x01"],
    [[...Buffer.from(basic("me:"))], "HTTP/1.1 407 "],
  ] as const) {
    const told = answerTo(proxy, guess);
    let over = false;
    void told.then(() => (over = true));
    while (!over) {
      await new Promise(setImmediate);
      clock.advance(1_000);
    }
    assert.ok((await told).startsWith(answer), await told);
  }
});

test("socks() hands UDP ASSOCIATE to who serves it, and refuses it where nobody does", async () => {
  await using node = tunnelPair([]);
  const asked: unknown[] = [];
  await using proxy = await socks(node.dial, {
    port: 0,
    async associate(socket, { host, port }) {
      asked.push({ host, port });
      socket.end("relayed");
    },
  });
  const words = [...GREETING, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
  assert.equal(await answerTo(proxy, words), "\x05\0relayed");
  assert.deepEqual(asked, [{ host: "0.0.0.0", port: 0 }]);
  await using without = await socks(node.dial, { port: 0 });
  assert.equal((await answerTo(without, words)).charCodeAt(3), 7);
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
