import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { parseProxy } from "./proxy.ts";

test("parseProxy() reads both kinds, names, addresses and defaults", () => {
  for (const [text, kind, host, port] of [
    ["socks5://127.0.0.1:9050", "socks5", "127.0.0.1", 9050],
    ["socks5h://tor.internal", "socks5", "tor.internal", 1080],
    ["SOCKS5://Tor.Internal.:1/", "socks5", "tor.internal", 1],
    ["http://[2001:db8::1]:3128", "http", "2001:db8::1", 3128],
    ["http://proxy", "http", "proxy", 80],
  ] as const) {
    const proxy = parseProxy(text);
    assert.deepEqual({ ...proxy }, { kind, host, port, credentials: undefined });
  }
});

test("parseProxy() decodes user and password, and shows them to nobody who looks", () => {
  const proxy = parseProxy("socks5://us%40er:pass%3Aword%25@proxy:1080");
  assert.deepEqual(proxy.credentials?.(), { user: "us@er", password: "pass:word%" });
  assert.doesNotMatch(inspect(proxy, { depth: 9 }) + JSON.stringify(proxy), /us@|pass|word/);
  assert.equal(parseProxy("http://me@proxy", "from%20file").credentials?.().password, "from file");
});

test("parseProxy() takes what it made of any user and password that fit", () => {
  const text = fc.string({ minLength: 1, maxLength: 60, unit: "grapheme-ascii" });
  fc.assert(
    fc.property(text, text, (user, password) => {
      const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
      const proxy = parseProxy(`socks5://${login}@proxy:1`);
      assert.deepEqual(proxy.credentials?.(), { user, password });
    }),
  );
});

test("parseProxy() refuses the rest, and never repeats a password", () => {
  for (const [text, expected] of [
    ["", /expected "socks5/],
    ["https://me:secret@proxy", /expected "socks5/],
    ["socks4://proxy:1080", /expected "socks5/],
    ["proxy:1080", /expected "socks5/],
    ["socks5://me:secret@", /expected "socks5/],
    ["socks5://me:secret@proxy:1/path", /expected "socks5/],
    ["socks5://me:sec@ret@proxy:1", /expected "socks5/],
    ["socks5://me:secret@proxy:0", /port 1 to 65535/],
    ["socks5://me:secret@proxy:65536", /port 1 to 65535/],
    ["socks5://me:secret@127.1:1", /a name or an address/],
    ["socks5://me:secret@[proxy]:1", /a name or an address/],
    ["socks5://me:secret@a b:1", /a name or an address/],
    ["socks5://me@proxy:1", /no password/],
    ["socks5://:secret@proxy:1", /1 to 255 bytes/],
    [`socks5://me:secret${"x".repeat(250)}@proxy:1`, /1 to 255 bytes/],
    ["socks5://me:secret%@proxy:1", /percent-encoded/],
    ["http://m%3ae:secret@proxy:1", /must not contain ":"/],
  ] as const) {
    assert.throws(
      () => parseProxy(text),
      (error) => {
        assert.ok(error instanceof SyntaxError);
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
  assert.throws(() => parseProxy("http://proxy:1", "secret"), /no user/);
});
