import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parsePostgresUrl, type PostgresTls } from "./postgres-url.ts";

test("parsePostgresUrl() takes a URL apart", () => {
  const { label, ...rest } = parsePostgresUrl(
    "postgresql://al%40ice:p%3A%2F%40ss@db.example:6543/al%20knet?application_name=den",
  );
  assert.deepEqual(rest, {
    hosts: [{ kind: "tcp", host: "db.example", port: 6_543 }],
    database: "al knet",
    user: "al@ice",
    password: "p:/@ss",
    tls: { kind: "verified", caFile: undefined },
    applicationName: "den",
  });
  assert.equal(label, "postgres://al%40ice@db.example:6543/al%20knet");
});

test("parsePostgresUrl() knows several hosts, IPv6 and sockets", () => {
  const hosts = (url: string): readonly object[] => parsePostgresUrl(url).hosts;
  assert.deepEqual(hosts("postgres://one,two:1,[::1]:2,[2001:db8::1]/x"), [
    { kind: "tcp", host: "one", port: 5_432 },
    { kind: "tcp", host: "two", port: 1 },
    { kind: "tcp", host: "::1", port: 2 },
    { kind: "tcp", host: "2001:db8::1", port: 5_432 },
  ]);
  const socket = [{ kind: "unix", path: "/var/run/postgresql/.s.PGSQL.5433" }];
  assert.deepEqual(hosts("postgres://%2Fvar%2Frun%2Fpostgresql:5433/x"), socket);
  assert.deepEqual(hosts("postgres:///x?host=/var/run/postgresql&port=5433"), socket);
  assert.equal(parsePostgresUrl("postgres:///x?host=/run&user=me").user, "me");
});

test("parsePostgresUrl() has another machine verified, unless it is told otherwise", () => {
  const cases: [string, PostgresTls][] = [
    ["postgres://localhost/x", { kind: "none" }],
    ["postgres://127.0.0.1/x", { kind: "none" }],
    ["postgres://[::1]/x", { kind: "none" }],
    ["postgres://%2Frun/x", { kind: "none" }],
    ["postgres://10.0.0.1/x", { kind: "verified", caFile: undefined }],
    ["postgres://127.example/x", { kind: "verified", caFile: undefined }],
    ["postgres://localhost,db/x", { kind: "verified", caFile: undefined }],
    ["postgres://db/x?sslmode=disable", { kind: "none" }],
    ["postgres://db/x?sslmode=require", { kind: "unverified" }],
    ["postgres://localhost/x?sslmode=verify-full", { kind: "verified", caFile: undefined }],
    ["postgres://db/x?sslrootcert=/etc/ca.pem", { kind: "verified", caFile: "/etc/ca.pem" }],
  ];
  for (const [url, tls] of cases) assert.deepEqual(parsePostgresUrl(url).tls, tls, url);
});

test("parsePostgresUrl() says what is wrong, and shows nothing of a password", () => {
  const cases: [string, RegExp][] = [
    ["", /expected postgres:\/\//],
    ["mysql://u:hunter2@db/x", /expected postgres:\/\//],
    ["postgres://u:hun@ter2@db/x", /%40 for @/],
    ["postgres://u:hunter2/@db/x", /expected/],
    ["postgres://u:hunter2%@db/x", /% and two hex digits in its password/],
    ["postgres://u:hunter2%00@db/x", /no zero byte/],
    ["postgres://u:hunter2@db", /name of a database/],
    ["postgres://u:hunter2@/x", /expected a host/],
    ["postgres://u:hunter2@db:0/x", /port from 1 to 65535/],
    ["postgres://u:hunter2@db:99999/x", /port from 1 to 65535/],
    ["postgres://u:hunter2@d b/x", /expected a name/],
    ["postgres://u:hunter2@db/x?sslmode=prefer", /verify-full, require or disable/],
    ["postgres://u:hunter2@db/x?sslmode=require&sslrootcert=/a", /verify-full beside/],
    ["postgres://u:hunter2@db/x?pool=1", /got "pool"/],
    ["postgres://u:hunter2@db/x?hunter2!=1", /got another/],
    ["postgres://u@db/x?password=hunter2", /before the host/],
    ["postgres://u:hunter2@db/x?port=1&port=2", /once/],
    [`postgres://u:hunter2@${"a,".repeat(20)}b/x`, /at most 16 hosts/],
  ];
  for (const [url, message] of cases) {
    assert.throws(
      () => parsePostgresUrl(url),
      (error) => {
        assert.ok(error instanceof SyntaxError, url);
        assert.match(error.message, message, url);
        assert.ok(!`${error.stack} ${JSON.stringify(error)}`.includes("hunter2"), url);
        return true;
      },
    );
  }
});

test("parsePostgresUrl() gives back what was encoded, and its label has no password", () => {
  const text = fc.string({ unit: "binary", minLength: 1 }).filter((it) => !it.includes("\0"));
  fc.assert(
    fc.property(text, text, text, (user, secret, database) => {
      const password = `<${secret}>`;
      const [u, p, d] = [user, password, database].map(encodeURIComponent);
      const parsed = parsePostgresUrl(`postgres://${u}:${p}@db:1/${d}`);
      assert.deepEqual([parsed.user, parsed.password, parsed.database], [user, password, database]);
      assert.equal(parsed.label, `postgres://${u}@db:1/${d}`);
    }),
  );
});
