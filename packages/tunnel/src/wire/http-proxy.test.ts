import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { decodeHttpAnswer, encodeHttpConnect, MAX_HEAD } from "./http-proxy.ts";
import { ProxyError } from "./socks5-client.ts";

const answer = (text: string) => decodeHttpAnswer(Buffer.from(text, "latin1"));

test("encodeHttpConnect() asks for the target, with brackets around IPv6, and logs in by RFC 7617", () => {
  assert.equal(
    String(encodeHttpConnect({ host: "db.internal", port: 5432 })),
    "CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n",
  );
  assert.equal(
    String(
      encodeHttpConnect({ host: "::1", port: 80 }, { user: "Aladdin", password: "open sesame" }),
    ),
    "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
  );
});

test("decodeHttpAnswer() takes the head exactly, and leaves every byte after it", () => {
  const line = fc.string({ maxLength: 40 }).filter((text) => !/[\r\n]/.test(text));
  fc.assert(
    fc.property(
      fc.integer({ min: 200, max: 599 }),
      line,
      fc.array(line),
      fc.uint8Array(),
      (status, reason, fields, next) => {
        const lines = [`HTTP/1.1 ${status} ${reason}`, ...fields.filter((field) => field !== "")];
        const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
        const decoded = decodeHttpAnswer(Buffer.concat([head, next]));
        assert.deepEqual(decoded, { value: status, length: head.length });
        for (let cut = 0; cut < head.length; cut++) {
          assert.equal(decodeHttpAnswer(head.subarray(0, cut)), undefined);
        }
      },
    ),
  );
});

test("decodeHttpAnswer() reads the status where it belongs, and nowhere else", () => {
  assert.equal(answer("HTTP/1.0 200\r\n\r\n")?.value, 200);
  assert.equal(answer("HTTP/1.1 502 not 200 at all\r\nX: 200\r\n\r\n")?.value, 502);
  for (const text of [
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 20 0\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n\r\n",
    "200 OK\r\n\r\n",
    "SSH-2.0-x",
  ]) {
    assert.throws(() => answer(text), ProxyError, text);
  }
});

test("decodeHttpAnswer() skips interim answers, within its bound", () => {
  const interim = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n";
  const text = `${interim}${interim}HTTP/1.1 200 OK\r\n\r\n`;
  assert.deepEqual(answer(`${text}rest`), { value: 200, length: text.length });
  assert.equal(answer(interim), undefined);
  assert.throws(() => answer(interim.repeat(1_000)), ProxyError);
});

test("decodeHttpAnswer() waits for no more than its bound", () => {
  const begun = "HTTP/1.1 200 OK\r\nX: ";
  assert.equal(answer(begun.padEnd(MAX_HEAD - 1, "x")), undefined);
  assert.throws(() => answer(begun.padEnd(MAX_HEAD, "x")), ProxyError);
  assert.throws(() => answer("HTTP/1.1 200 ".padEnd(MAX_HEAD + 9, "x")), ProxyError);
});

test("decodeHttpAnswer() answers or throws ProxyError on any bytes, and on an answer that was changed", () => {
  const whole = Buffer.from("HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 407 No\r\nX: y\r\n\r\n");
  const changed = fc.tuple(fc.nat(), fc.nat({ max: 255 })).map(([at, value]) => {
    const bytes = Buffer.from(whole);
    bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), changed), (bytes) => {
      try {
        const decoded = decodeHttpAnswer(bytes);
        if (decoded !== undefined) assert.ok(decoded.length <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof ProxyError);
      }
    }),
  );
});
