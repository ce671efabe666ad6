import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  formatPlace,
  parseDynamicForward,
  parseLocalForward,
  parsePlace,
  parseRemoteForward,
} from "./ssh-forward-spec.ts";

test("parseLocalForward() takes three and four parts, IPv6 in brackets, and sockets on either side", () => {
  for (const [text, listen, target] of [
    ["5432:db.internal:5432", "localhost:5432", "db.internal:5432"],
    ["0:localhost:80", "localhost:0", "localhost:80"],
    ["localhost:8080:web:80", "localhost:8080", "web:80"],
    ["127.0.0.1:8080:web:80", "127.0.0.1:8080", "web:80"],
    ["*:8080:web:80", "[::]:8080", "web:80"],
    ["[::1]:8080:[2001:db8::1]:80", "[::1]:8080", "[2001:db8::1]:80"],
    ["8080:[::1]:80", "localhost:8080", "[::1]:80"],
    ["8080:/run/app.sock", "localhost:8080", "/run/app.sock"],
    ["[::1]:8080:/run/app.sock", "[::1]:8080", "/run/app.sock"],
    ["/tmp/db.sock:db.internal:5432", "/tmp/db.sock", "db.internal:5432"],
    ["/tmp/a.sock:/tmp/b.sock", "/tmp/a.sock", "/tmp/b.sock"],
  ] as const) {
    const forward = parseLocalForward(text);
    assert.equal(forward.text, text);
    assert.equal(formatPlace(forward.listen), listen, text);
    assert.equal(formatPlace(forward.target!), target, text);
  }
});

test("parseRemoteForward() takes the same, names of the other side, and a port alone for SOCKS", () => {
  for (const [text, listen, target] of [
    ["8080:localhost:3000", "localhost:8080", "localhost:3000"],
    ["0:localhost:3000", "localhost:0", "localhost:3000"],
    ["*:8080:localhost:3000", "*:8080", "localhost:3000"],
    [":8080:localhost:3000", "*:8080", "localhost:3000"],
    ["eth.example:8080:[::1]:3000", "eth.example:8080", "[::1]:3000"],
    ["/run/far.sock:localhost:3000", "/run/far.sock", "localhost:3000"],
    ["8080:/run/near.sock", "localhost:8080", "/run/near.sock"],
    ["1080", "localhost:1080", undefined],
    ["0", "localhost:0", undefined],
    ["[::1]:1080", "[::1]:1080", undefined],
  ] as const) {
    const forward = parseRemoteForward(text);
    assert.equal(formatPlace(forward.listen), listen, text);
    assert.equal(forward.target && formatPlace(forward.target), target, text);
  }
});

test("parseDynamicForward() takes a port, alone or with an address", () => {
  assert.equal(formatPlace(parseDynamicForward("1080").listen), "localhost:1080");
  assert.equal(formatPlace(parseDynamicForward("[::1]:0").listen), "[::1]:0");
});

test("what is wrong with a forward is said", () => {
  for (const [text, message] of [
    ["", /expected \[bind:\]port:host:hostport/],
    ["8080", /expected \[bind:\]port:host:hostport/],
    ["8080:web", /expected \[bind:\]port:host:hostport/],
    ["/tmp/a.sock", /absolute path of a socket/],
    ["/tmp/a.sock:80", /absolute path of a socket/],
    ["a:b:c:d:e", /expected \[bind:\]port:host:hostport/],
    ["8080:web:0", /port "0" to be 1 to 65535/],
    ["65536:web:80", /port "65536" to be 0 to 65535/],
    ["eth0:8080:web:80", /"eth0" to be an address of this machine/],
    ["x:/tmp/a.sock", /port "x"/],
  ] as const) {
    assert.throws(
      () => parseLocalForward(text),
      (error) => error instanceof SyntaxError && message.test(error.message),
      text,
    );
  }
  assert.throws(() => parseRemoteForward("/tmp/a.sock"), SyntaxError);
  assert.throws(() => parseRemoteForward("web"), /port "web"/);
});

test("every text is a forward or a SyntaxError", () => {
  const part = fc.oneof(fc.constantFrom("", "[::1]", "*", "80", "/a", "["), fc.string());
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      for (const parse of [parseLocalForward, parseRemoteForward, parseDynamicForward]) {
        try {
          formatPlace(parse(parts.join(":")).listen);
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      }
    }),
  );
});

test("parsePlace() takes a host with a port, or a socket", () => {
  for (const [text, place] of [
    ["db.internal:5432", "db.internal:5432"],
    ["[::1]:80", "[::1]:80"],
    ["/run/app.sock", "/run/app.sock"],
  ] as const) {
    assert.equal(formatPlace(parsePlace(text)), place);
  }
  for (const text of ["", "db", "80", "db:0", "db:65536", ":80", "a:b:80", "::1:80", "run/app"]) {
    assert.throws(() => parsePlace(text), SyntaxError, text);
  }
});
