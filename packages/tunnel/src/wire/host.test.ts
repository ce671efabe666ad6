import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { formatTarget, MAX_HOST, parseHost } from "./host.ts";

test("parseHost() takes names and addresses, in lower case", () => {
  for (const [text, host] of [
    ["localhost", "localhost"],
    ["DB.Internal", "db.internal"],
    ["db.internal.", "db.internal"],
    ["_ldap._tcp.example.com", "_ldap._tcp.example.com"],
    ["3com.com", "3com.com"],
    ["10.0.0.1", "10.0.0.1"],
    ["::1", "::1"],
    ["FE80::1", "fe80::1"],
    ["::ffff:127.0.0.1", "::ffff:127.0.0.1"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ] as const) {
    assert.equal(parseHost(text), host);
  }
});

test("parseHost() refuses what resolvers take for an address, zones, and all else", () => {
  for (const text of [
    "",
    ".",
    "a..b",
    "a..",
    "127.1",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "1.2.3.4.5",
    "1.2.3.256",
    "010.0.0.1",
    "10.0.0.1.",
    "fe80::1%eth0",
    "[::1]",
    "a b",
    "a/b",
    "a:b",
    "-a",
    "a-",
    "bücher.example",
    "a\0b",
    "x".repeat(64),
    "x.".repeat(200),
  ]) {
    assert.throws(() => parseHost(text), SyntaxError, text);
  }
});

test("parseHost() settles: what it returns, it takes and returns again", () => {
  fc.assert(
    fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
      let host: string;
      try {
        host = parseHost(text);
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
        return;
      }
      assert.equal(parseHost(host), host);
      assert.ok(host.length <= MAX_HOST);
    }),
  );
});

test("formatTarget() puts IPv6 in brackets", () => {
  assert.equal(formatTarget({ host: "::1", port: 80 }), "[::1]:80");
  assert.equal(formatTarget({ host: "db", port: 5432 }), "db:5432");
});
