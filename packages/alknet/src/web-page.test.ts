import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect as http2Connect } from "node:http2";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { type Clock, systemClock } from "@alknet/core/clock";
import { connectionPair, FakeClock } from "@alknet/core/testing";
import { webPage } from "./web-page.ts";

/** One request over a fresh connection; what came of it. */
async function http1(method: string, path: string, clock?: Clock) {
  await using pair = connectionPair({ alpn: "http/1.1", multiplexed: false });
  const served = webPage({ clock }).handle(pair.server);
  const stream = await pair.client.open();
  const headers = { connection: "keep-alive" };
  const createConnection = () => stream;
  const request = httpRequest({ method, path, headers, host: "den", createConnection });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = await text(response);
  await served;
  return { status: response.statusCode, headers: response.headers, body };
}

test("webPage() serves its page over http/1.1, and nothing else", async () => {
  const got = await http1("GET", "/");
  assert.equal(got.status, 200);
  assert.match(got.body, /It works/);
  assert.equal(got.headers["content-length"], String(Buffer.byteLength(got.body)));
  assert.equal(got.headers.connection, "close");
  const head = await http1("HEAD", "/?x");
  assert.deepEqual([head.status, head.body], [200, ""]);
  assert.equal((await http1("GET", "/admin")).status, 404);
  assert.equal((await http1("POST", "/")).status, 405);
});

test("webPage() serves its page over h2", async () => {
  await using pair = connectionPair({ alpn: "h2", multiplexed: false });
  const served = webPage().handle(pair.server);
  const stream = await pair.client.open();
  const session = http2Connect("http://den", { createConnection: () => stream });
  for (const [method, path, status, body] of [
    ["GET", "/", 200, /It works/],
    ["HEAD", "/", 200, /^$/],
    ["GET", "/admin", 404, /^$/],
  ] as const) {
    const request = session.request({ ":method": method, ":path": path });
    const closed = once(request, "close");
    let answer = "";
    request.on("data", (chunk) => (answer += String(chunk)));
    const [headers] = (await once(request, "response")) as [Record<string, unknown>];
    assert.equal(headers[":status"], status);
    await closed;
    assert.match(answer, body);
  }
  session.close();
  await served;
});

test("webPage() keeps nothing of a connection that has ended", async () => {
  const waits: AbortSignal[] = [];
  const timeout = (milliseconds: number): AbortSignal => {
    const signal = systemClock.timeout(milliseconds);
    waits.push(signal);
    return signal;
  };
  await http1("GET", "/", { ...systemClock, timeout });
  assert.equal(waits.length, 1);
  for (const signal of waits) assert.deepEqual(getEventListeners(signal, "abort"), []);
});

test("webPage() lets go of who says nothing", async () => {
  for (const alpn of ["h2", "http/1.1"]) {
    await using pair = connectionPair({ alpn, multiplexed: false });
    const clock = new FakeClock();
    const served = webPage({ clock }).handle(pair.server);
    const stream = await pair.client.open();
    stream.on("error", () => {});
    stream.write(alpn === "h2" ? "PRI * HTTP/2.0\r\n" : "GET / HTTP/1.1\r\n");
    while (clock.pending === 0) await new Promise(setImmediate);
    clock.advance(30_000);
    await served;
  }
});
