import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  compileScopes,
  mayPermit,
  neededScope,
  parseRequest,
  parseScope,
  permits,
  type Resource,
} from "./scope.ts";

function may(scopes: string[], action: string, resource?: Resource): boolean {
  return permits(compileScopes(scopes), parseRequest(action, resource));
}

/** Every scope that the registry lists, with and without what may be added to it. */
const REGISTRY = [
  "*",
  "tunnel:*",
  "tunnel:dial",
  "tunnel:dial:localhost:5432",
  "tunnel:dial:*.example.com:443",
  "tunnel:dial:10.0.0.0/8:1024-65535",
  "tunnel:dial:[::1]:5432",
  "tunnel:dial:[fd00::/8]:*",
  "tunnel:dial:*:*",
  "tunnel:dial:unix:/run/postgresql/.s.PGSQL.*",
  "tunnel:listen",
  "tunnel:listen:127.0.0.1:8080",
  "tunnel:listen:localhost:0",
  "tunnel:listen:0.0.0.0:8000-8999",
  "tunnel:listen:unix:/run/forward/**",
  "ssh:*",
  "ssh:shell",
  "ssh:exec",
  "ssh:exec:git-upload-pack *",
  "ssh:exec:rsync --server **",
  "ssh:agent",
  "sftp:read",
  "sftp:read:/srv/**",
  "sftp:write:/srv/in/*",
  "git:read",
  "git:read:team/*",
  "git:write:team/site",
  "git:force",
  "git:create",
  "fs:read",
  "fs:read:photos/2026/**",
  "fs:write",
  "fs:share",
  "call:invoke",
  "call:invoke:docker.*",
  "http:view",
  "mcp:use",
  "dns:update",
  "dns:update:*.home.example",
  "msg:send",
  "msg:mailbox",
  "relay:connect",
  "node:status",
  "node:admin",
];

test("parseScope() reads every scope of the registry", () => {
  for (const text of REGISTRY) assert.equal(parseScope(text).text, text);
  assert.deepEqual(parseScope("fs:read"), {
    text: "fs:read",
    service: "fs",
    action: "read",
    resource: undefined,
  });
});

test("parseScope() quotes what it was given and says what it expected", () => {
  const fails = (text: string, message: RegExp): void => {
    assert.throws(
      () => parseScope(text),
      { name: "SyntaxError", code: "SCOPE_INVALID", message },
      text,
    );
  };
  for (const text of [
    "",
    "tunnel",
    ":",
    ":dial",
    "**",
    "*:dial",
    "*:*",
    "Tunnel:dial",
    " tunnel:dial",
    "ssh_x:y",
    "@admins",
  ]) {
    fails(text, /expected "service:action", "service:action:resource", "service:\*" or "\*"$/);
  }
  for (const text of ["git:", "git:Read", "git:re*", "git:read until 2026-01-01T00:00:00Z"])
    fails(text, /expected after "git:" an action in lower case/);
  fails("git:*:x", /expected no resource after "git:\*"$/);
  fails("git:read:", /expected a resource after "git:read:", or no colon there$/);
  fails(
    "tunnel:dail:localhost:80",
    /"tunnel:dail:localhost:80": expected as action "dial", "listen" or "\*"$/,
  );
  fails("tunnel:dial:localhost", /"tunnel:dial:localhost": .*"localhost": expected "host:port"/);
  fails("tunnel:dial:localhost:0", /1 to 65535/);
  fails("git:read:***", /three/);
  fails(`git:read:${"x".repeat(1_100)}`, /at most 1024 characters$/);
});

test("a scope covers its own action, and no other", () => {
  assert.equal(may(["git:read"], "git:read"), true);
  assert.equal(may(["git:read"], "git:read", "team/site"), true);
  assert.equal(may(["git:read"], "git:write", "team/site"), false);
  assert.equal(may(["git:*"], "git:write", "team/site"), true);
  assert.equal(may(["git:*"], "ssh:shell"), false);
  assert.equal(may(["*"], "ssh:shell"), true);
  assert.equal(may([], "ssh:shell"), false);
});

test("a resource is a glob, and a scope that has one does not cover the action as a whole", () => {
  assert.equal(may(["git:read:team/*"], "git:read", "team/site"), true);
  assert.equal(may(["git:read:team/*"], "git:read", "team/site/sub"), false);
  assert.equal(may(["git:read:team/**"], "git:read", "team/site/sub"), true);
  assert.equal(may(["git:read:**"], "git:read"), false);
  assert.equal(may(["git:read:a", "git:read:b"], "git:read", "b"), true);
});

test("a command is matched by no glob", () => {
  assert.equal(may(["ssh:exec:git *"], "ssh:exec", "git status; rm -rf /"), false);
  assert.equal(may(["ssh:exec:ls"], "ssh:exec", "ls"), false);
  assert.equal(may(["ssh:exec"], "ssh:exec", "ls"), true);
});

test("bare tunnel scopes leave out special addresses and Unix sockets", () => {
  for (const scope of ["tunnel:dial", "tunnel:*", "*"]) {
    assert.equal(
      may([scope], "tunnel:dial", { host: "a.example", port: 80, address: "192.0.2.1" }),
      true,
    );
    for (const address of [
      "127.0.0.1",
      "::1",
      "0.0.0.0",
      "169.254.169.254",
      "fe80::1",
      "224.0.0.1",
    ]) {
      assert.equal(may([scope], "tunnel:dial", { host: "a.example", port: 80, address }), false);
      assert.equal(
        may([scope, "tunnel:dial:localhost:80"], "tunnel:dial", {
          host: "a.example",
          port: 80,
          address,
        }),
        /^127|::1$/.test(address) && address !== "fe80::1",
      );
    }
    assert.equal(may([scope], "tunnel:dial", { unixPath: "/run/docker.sock" }), false);
  }
  assert.equal(may(["tunnel:dial"], "tunnel:listen", { host: "10.0.0.1", port: 80 }), false);
  assert.equal(
    may(["tunnel:dial:10.0.0.1:80"], "tunnel:listen", { host: "10.0.0.1", port: 80 }),
    false,
  );
});

test("localhost needs no look-up, and is covered only as a whole", () => {
  const local = { host: "localhost", port: 80 };
  assert.equal(may(["tunnel:dial:localhost:80"], "tunnel:dial", local), true);
  assert.equal(
    may(["tunnel:dial:localhost:80"], "tunnel:dial", { host: "app.localhost", port: 80 }),
    true,
  );
  assert.equal(may(["tunnel:dial:127.0.0.1:80"], "tunnel:dial", local), false);
  assert.equal(
    may(["tunnel:dial:127.0.0.1:80", "tunnel:dial:[::1]:80"], "tunnel:dial", local),
    true,
  );
});

test("mayPermit() refuses only what no address could make right", () => {
  const maybe = (scopes: string[], host: string): boolean =>
    mayPermit(compileScopes(scopes), parseRequest("tunnel:dial", { host, port: 80 }));
  for (const scope of [
    "*",
    "tunnel:*",
    "tunnel:dial",
    "tunnel:dial:a.example:80",
    "tunnel:dial:10.0.0.0/8:80",
    "tunnel:dial:localhost:80",
  ]) {
    assert.equal(maybe([scope], "a.example"), true, scope);
    assert.equal(may([scope], "tunnel:dial", { host: "a.example", port: 80 }), false, scope);
  }
  for (const scope of ["tunnel:dial:b.example:80", "tunnel:dial:*:81", "tunnel:listen", "git:*"])
    assert.equal(maybe([scope], "a.example"), false, scope);
  assert.equal(maybe(["*"], "localhost"), false);
  assert.equal(maybe(["tunnel:dial:127.0.0.1:80"], "localhost"), true);
});

test("compileScopes() keeps what parses, and lists what does not", () => {
  const rights = compileScopes(["tunel", "git:read"]);
  assert.deepEqual(rights.invalid, ["tunel"]);
  assert.equal(permits(rights, parseRequest("git:read")), true);
});

test("parseRequest() throws at mistakes of the calling code", () => {
  for (const action of ["", "tunnel", "tunnel:dial:x", "tunnel:*", "*", "Tunnel:dial"]) {
    assert.throws(() => parseRequest(action), {
      name: "TypeError",
      message: /expected "service:action"$/,
    });
  }
  assert.throws(() => parseRequest("tunnel:dial"), {
    name: "TypeError",
    message: /\{ host, port, address \}/,
  });
  assert.throws(() => parseRequest("tunnel:dial", "localhost:80"), { name: "TypeError" });
  assert.throws(() => parseRequest("git:read", { host: "a", port: 1 }), { name: "TypeError" });
});

test("neededScope() names a scope that covers the request", () => {
  const target = fc.record({
    host: fc.oneof(fc.domain(), fc.constant("localhost"), fc.ipV4(), fc.ipV6()),
    port: fc.integer({ min: 1, max: 65_535 }),
    address: fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.constantFrom("127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
    ),
  });
  fc.assert(
    fc.property(target, (resource) => {
      const request = parseRequest("tunnel:dial", resource);
      assert.equal(permits(compileScopes([neededScope(request)]), request), true);
    }),
  );
  assert.equal(
    neededScope(
      parseRequest("tunnel:dial", { host: "db.example", port: 5432, address: "127.0.0.1" }),
    ),
    "tunnel:dial:localhost:5432",
  );
  assert.equal(
    neededScope(
      parseRequest("tunnel:dial", { host: "DB.example.", port: 5432, address: "10.0.0.1" }),
    ),
    "tunnel:dial:db.example:5432",
  );
  assert.equal(
    neededScope(parseRequest("tunnel:dial", { unixPath: "/run/x" })),
    "tunnel:dial:unix:/run/x",
  );
  assert.equal(neededScope(parseRequest("git:read", "a/b")), "git:read:a/b");
});

test("permits() says of several scopes what it says of any of them", () => {
  const scope = fc.constantFrom(...REGISTRY);
  const requests: [string, Resource | undefined][] = [
    ["tunnel:dial", { host: "a.example.com", port: 443, address: "192.0.2.1" }],
    ["tunnel:dial", { host: "x", port: 5432, address: "::1" }],
    ["tunnel:listen", { host: "127.0.0.1", port: 8080 }],
    ["tunnel:dial", { unixPath: "/run/postgresql/.s.PGSQL.5432" }],
    ["git:read", "team/site"],
    ["ssh:shell", undefined],
    ["fs:read", "photos/2026/a/b"],
  ];
  fc.assert(
    fc.property(
      fc.array(scope, { maxLength: 6 }),
      fc.constantFrom(...requests),
      (scopes, [action, resource]) => {
        const any = scopes.some((each) => may([each], action, resource));
        assert.equal(may(scopes, action, resource), any);
      },
    ),
  );
});
