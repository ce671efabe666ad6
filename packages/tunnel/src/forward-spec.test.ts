import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseForward, parseListen } from "./forward-spec.ts";

test("parseForward() takes three and four parts, and IPv6 in brackets", () => {
  for (const [text, bind, port, host, hostPort] of [
    ["5432:db.internal:5432", "localhost", 5432, "db.internal", 5432],
    ["0:localhost:80", "localhost", 0, "localhost", 80],
    ["localhost:8080:web:80", "localhost", 8080, "web", 80],
    ["127.0.0.1:8080:web:80", "127.0.0.1", 8080, "web", 80],
    ["0.0.0.0:8080:10.0.0.1:80", "0.0.0.0", 8080, "10.0.0.1", 80],
    ["[::1]:8080:[2001:db8::1]:80", "::1", 8080, "2001:db8::1", 80],
    ["8080:[::1]:80", "localhost", 8080, "::1", 80],
    ["*:8080:web:80", "::", 8080, "web", 80],
    [":8080:web:80", "::", 8080, "web", 80],
    ["8080:WEB.Example.:80", "localhost", 8080, "web.example", 80],
    ["8080:bücher.example:80", "localhost", 8080, "xn--bcher-kva.example", 80],
  ] as const) {
    assert.deepEqual(parseForward(text), { bind, port, target: { host, port: hostPort } }, text);
  }
});

test("parseForward() says what is wrong", () => {
  for (const [text, message] of [
    ["", /expected \[bind:\]port:host:hostport/],
    ["8080", /expected \[bind:\]port:host:hostport/],
    ["8080:web", /expected \[bind:\]port:host:hostport/],
    ["a:b:c:d:e", /expected \[bind:\]port:host:hostport/],
    ["8080:::1:80", /expected \[bind:\]port:host:hostport|host/],
    ["8080:web:0", /port "0" to be 1 to 65535/],
    ["65536:web:80", /port "65536" to be 0 to 65535/],
    ["8080:web:http", /port "http"/],
    ["8080:we b:80", /"we b" to be a host/],
    ["8080::80", /"" to be a host/],
    ["eth0:8080:web:80", /"eth0" to be an address of this machine/],
  ] as const) {
    assert.throws(
      () => parseForward(text),
      (error) => {
        assert.ok(error instanceof SyntaxError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

test("parseListen() takes a port, alone or with an address", () => {
  assert.deepEqual(parseListen("1080"), { bind: "localhost", port: 1080 });
  assert.deepEqual(parseListen("[::1]:1080"), { bind: "::1", port: 1080 });
  assert.deepEqual(parseListen("*:0"), { bind: "::", port: 0 });
  assert.throws(() => parseListen("a:b:c"), SyntaxError);
  assert.throws(() => parseListen("::1:1080"), SyntaxError);
});

test("parseForward() and parseListen() parse or throw SyntaxError on any text", () => {
  const part = fc.oneof(fc.constantFrom("", "[::1]", "*", "80", "[", "]"), fc.string());
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      for (const parse of [parseForward, parseListen]) {
        try {
          parse(parts.join(":"));
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      }
    }),
  );
});
