import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeConnectRequest,
  encodeHttpError,
  encodeHttpRefusal,
  encodeLoginRequired,
  HttpError,
  MAX_HTTP_HEAD,
} from "./http-connect.ts";

const head = (...lines: string[]): Buffer => Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");

test("decodeConnectRequest() takes a name, and addresses of both families", () => {
  for (const [target, host, port] of [
    ["Example.ORG:443", "example.org", 443],
    ["192.0.2.1:1", "192.0.2.1", 1],
    ["[2001:DB8::1]:65535", "2001:db8::1", 65_535],
  ] as const) {
    const bytes = head(`CONNECT ${target} HTTP/1.1`, `Host: ${target}`);
    const decoded = decodeConnectRequest(Buffer.concat([bytes, Buffer.from("surplus")]));
    assert.deepEqual(decoded, { host, port, login: undefined, length: bytes.length });
  }
});

test("decodeConnectRequest() takes a login by Basic, and none of another scheme", () => {
  const login = Buffer.from("me:secret: ü");
  const of = (...fields: string[]) =>
    decodeConnectRequest(head("CONNECT a:1 HTTP/1.0", ...fields))?.login;
  assert.deepEqual(of(`proxy-AUTHORIZATION:  bAsic  ${login.toString("base64")} `), login);
  assert.equal(of("Proxy-Authorization: Bearer abc"), undefined);
  assert.equal(of("Authorization: Basic YTpi"), undefined);
});

test("decodeConnectRequest() waits for the end of the head", () => {
  const name = fc.domain();
  const fields = fc.array(fc.stringMatching(/^X-[A-Za-z]{1,20}: [ -~]{0,50}$/), { maxLength: 5 });
  fc.assert(
    fc.property(
      name,
      fc.integer({ min: 1, max: 65_535 }),
      fields,
      fc.uint8Array(),
      (host, port, lines, next) => {
        const bytes = head(`CONNECT ${host}:${port} HTTP/1.1`, ...lines);
        const decoded = decodeConnectRequest(Buffer.concat([bytes, next]));
        assert.deepEqual(decoded, { host, port, login: undefined, length: bytes.length });
        assert.equal(decodeConnectRequest(bytes.subarray(0, -1)), undefined);
      },
    ),
  );
});

test("decodeConnectRequest() says what it does not serve, each by its own status", () => {
  for (const [status, bytes] of [
    [405, head("GET http://example.org/ HTTP/1.1", "Host: example.org")],
    [405, head("OPTIONS * HTTP/1.1")],
    [505, head("PRI * HTTP/2.0")],
    [400, head("CONNECT example.org HTTP/1.1")],
    [400, head("CONNECT example.org:0 HTTP/1.1")],
    [400, head("CONNECT example.org:65536 HTTP/1.1")],
    [400, head("CONNECT http://example.org:80/ HTTP/1.1")],
    [400, head("CONNECT 2001:db8::1:80 HTTP/1.1")],
    [400, head("CONNECT [127.0.0.1]:80 HTTP/1.1")],
    [400, head("CONNECT 127.1:80 HTTP/1.1")],
    [400, head("CONNECT m\u00fcller:80 HTTP/1.1")],
    [400, head("CONNECT a:1 HTTP/1.1", " folded: line")],
    [400, head("CONNECT a:1 HTTP/1.1", "no field")],
    [
      400,
      head(
        "CONNECT a:1 HTTP/1.1",
        "Proxy-Authorization: Basic YQ==",
        "Proxy-Authorization: Basic YQ==",
      ),
    ],
    [400, head("hello")],
    [431, Buffer.alloc(MAX_HTTP_HEAD, "x")],
  ] as const) {
    assert.throws(() => decodeConnectRequest(bytes), { name: "HttpError", status });
  }
});

test("decodeConnectRequest() takes any bytes: a value, undefined, or an HttpError", () => {
  const begun = fc.constantFrom("", "CONNECT ", "CONNECT a:1 HTTP/1.1\r\n", "GET / HTTP/1.1\r\n");
  const rest = fc.oneof(fc.string(), fc.constantFrom("\r\n\r\n", ":", "[::1]:1 HTTP/1.1\r\n\r\n"));
  fc.assert(
    fc.property(begun, fc.array(rest), fc.uint8Array(), (begun, parts, bytes) => {
      const given = Buffer.concat([Buffer.from(begun + parts.join("")), bytes]);
      try {
        const decoded = decodeConnectRequest(given);
        if (decoded !== undefined) assert.ok(decoded.length <= given.length);
      } catch (error) {
        assert.ok(error instanceof HttpError);
      }
    }),
  );
});

test("answers are complete, and say how long they are", () => {
  for (const [answer, line, field] of [
    [
      encodeLoginRequired(),
      "407 Proxy Authentication Required",
      'Proxy-Authenticate: Basic realm="alknet"',
    ],
    [encodeHttpError(new HttpError(405, "no")), "405 Method Not Allowed", "Allow: CONNECT"],
    [encodeHttpRefusal("not-allowed"), "403 Forbidden", "error=destination_ip_prohibited"],
    [encodeHttpRefusal("host-not-found"), "502 Bad Gateway", "error=dns_error"],
    [encodeHttpRefusal("refused"), "502 Bad Gateway", "error=connection_refused"],
    [encodeHttpRefusal("timed-out"), "504 Gateway Timeout", "error=connection_timeout"],
    [encodeHttpRefusal("limit"), "503 Service Unavailable", "error=connection_limit_reached"],
    [encodeHttpRefusal(undefined), "503 Service Unavailable", "error=destination_unavailable"],
  ] as const) {
    const [top = "", body = ""] = Buffer.from(answer).toString().split("\r\n\r\n");
    assert.ok(top.startsWith(`HTTP/1.1 ${line}\r\n`), top);
    assert.ok(top.includes(field), top);
    assert.ok(top.includes(`Content-Length: ${Buffer.byteLength(body)}\r\n`), top);
  }
});
