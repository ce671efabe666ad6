import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { formatHost, formatHostPort, parseHost, parseHostPort } from "./host.ts";

function normal(text: string): string | undefined {
  const host = parseHost(text);
  return host === undefined ? undefined : `${host.kind}:${formatHost(host)}`;
}

test("parseHost() brings names to one form", () => {
  const same: [string, string[]][] = [
    ["name:example.com", ["example.com", "EXAMPLE.com.", "ｅxample.com", "example。com"]],
    [
      "name:xn--bcher-kva.example",
      ["bücher.example", "BÜCHER.example.", "xn--bcher-kva.example", "bu\u0308cher.example"],
    ],
    ["name:_srv.a-b.x1", ["_srv.a-b.x1", "_SRV.A-B.X1."]],
    ["name:localhost", ["localhost", "LocalHost."]],
  ];
  for (const [expected, texts] of same)
    for (const text of texts) assert.equal(normal(text), expected, text);
});

test("parseHost() takes for an address what a resolver would", () => {
  const texts = [
    "127.0.0.1",
    "::ffff:127.0.0.1",
    "[::ffff:7f00:1]",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "１２７.0.0.1",
    "127.0.0.1.",
  ];
  for (const text of texts) assert.equal(normal(text), "address:127.0.0.1", text);
  assert.equal(normal("[FE80::1%eth0]"), "address:fe80::1");
});

test("parseHost() refuses what is neither", () => {
  const texts = [
    "",
    ".",
    "..",
    "a..b",
    "example.com..",
    "ex%61mple.com",
    "a b",
    "a\tb",
    "a\0b",
    "a/b",
    "a:b",
    "a@b",
    "*.a",
    "[::1",
    "[localhost]",
    "1.2.3.4.5",
    "a.256",
    "\u00ad",
    "％",
    `${"a".repeat(64)}.b`,
    `${"a.".repeat(127)}aa`,
    "a".repeat(5_000),
    "::1::",
  ];
  for (const text of texts) assert.equal(normal(text), undefined, JSON.stringify(text));
});

test("parseHost() never throws, and is idempotent", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "binary" }), fc.domain(), fc.ipV4Extended(), fc.ipV6()),
      (text) => {
        const once = parseHost(text);
        if (once !== undefined) assert.deepEqual(parseHost(formatHost(once)), once);
      },
    ),
    { numRuns: 1_000 },
  );
});

test("a name that is taken as it is has no other form", () => {
  const label = fc.stringMatching(/^[a-z0-9_x-]{1,63}$/);
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 5 }), (labels) => {
      const text = labels.join(".");
      const host = parseHost(text);
      // Through the domain functions: a trailing dot keeps it from being taken as it is.
      assert.deepEqual(parseHost(`${text}.`), host);
    }),
    { numRuns: 2_000 },
  );
});

test("parseHostPort() undoes formatHostPort()", () => {
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
  fc.assert(
    fc.property(host, fc.nat(65_535), (text, port) => {
      const parsed = parseHost(text);
      fc.pre(parsed !== undefined);
      const value = { host: formatHost(parsed), port };
      assert.deepEqual(parseHostPort(formatHostPort(value)), value);
    }),
  );
});

test("parseHostPort() takes a host alone where there is a default port", () => {
  assert.deepEqual(parseHostPort("den.example", 7433), { host: "den.example", port: 7433 });
  assert.deepEqual(parseHostPort("::1", 7433), { host: "::1", port: 7433 });
  assert.deepEqual(parseHostPort("[::1]", 7433), { host: "::1", port: 7433 });
  assert.deepEqual(parseHostPort("[::1]:5", 7433), { host: "::1", port: 5 });
});

test("parseHostPort() says what was expected", () => {
  for (const text of [
    "",
    ":1",
    "a",
    "a:",
    "a:65536",
    "a:-1",
    "a:1:2",
    "::1",
    "[::1]",
    "[::1]:",
    "[::1",
    "a:1 ",
    "a:0x1",
  ]) {
    assert.throws(
      () => parseHostPort(text),
      { code: "ADDRESS_INVALID", message: /expected "host:port"/ },
      text,
    );
  }
});
