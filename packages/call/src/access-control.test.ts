import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticate, ownerContext } from "@alknet/core/access";
import { staticIdentities } from "@alknet/core/static-identities";
import { admit, compileAccess, mayCall } from "./access-control.ts";
import type { CallError } from "./call-error.ts";
import type { Access } from "./operation.ts";
import { memoryOwnership } from "./ownership.ts";

const KEY = `ed25519:${"1".repeat(64)}`;
const entry = (scopes: string[], resources?: Record<string, string[]>) => [
  { peerId: "alice", fingerprints: [KEY], scopes, enabled: true, resources },
];

function alice(scopes: string[], resources?: Record<string, string[]>) {
  const peers = staticIdentities(entry(scopes, resources));
  return { peers, auth: authenticate(peers, { kind: "fingerprint", fingerprint: KEY }) };
}

/** What a caller with these rights is told; `undefined`: nothing, it may. */
function told(
  access: Access | undefined,
  scopes: string[],
  resources?: Record<string, string[]>,
  input?: unknown,
): string | undefined {
  using auth = alice(scopes, resources).auth;
  try {
    admit(compileAccess("fs/list", access), auth, input, undefined)?.[Symbol.dispose]();
    return undefined;
  } catch (error) {
    const { code, message, retryable } = error as CallError;
    assert.deepEqual([code, retryable], ["FORBIDDEN", false]);
    return message;
  }
}

test("without a rule of its own an operation asks for call:invoke of its name", () => {
  const missing = "missing required scope: call:invoke:fs/list";
  assert.equal(told(undefined, []), missing);
  assert.equal(told(undefined, ["call:invoke:fs/read"]), missing);
  for (const scope of ["call:invoke", "call:invoke:fs/*", "call:invoke:fs/list", "call:*", "*"]) {
    assert.equal(told(undefined, [scope]), undefined, scope);
  }
});

test("scopes have all to be there, of anyScope one", () => {
  const rule = { scopes: ["fs:read", "node:status"], anyScope: ["git:read:a", "git:write:a"] };
  assert.equal(told(rule, ["fs:read"]), "missing required scope: node:status");
  assert.equal(
    told(rule, ["fs:read", "node:status", "git:read:b"]),
    "missing required scope (any of: git:read:a, git:write:a)",
  );
  assert.equal(told(rule, ["fs:*", "node:*", "git:write"]), undefined);
});

test("resources are names: the list of the type has the one that is asked for, or all", () => {
  const rule = {
    resourceType: "container",
    resourceAction: "stop",
    resourceId: "$.spec.id",
  } as const;
  const web = { spec: { id: "web" } };
  assert.equal(told(rule, ["*"], {}, web), "missing resource: container/web");
  assert.equal(told(rule, [], { container: ["db"] }, web), "missing resource: container/web");
  assert.equal(told(rule, [], { container: ["stop"] }, web), "missing resource: container/web");
  assert.equal(told(rule, [], { container: ["db", "web"] }, web), undefined);
  assert.equal(told(rule, [], { container: ["*"] }, web), undefined);
});

test("without an id in the input, having any resource of the type is enough", () => {
  const rule = {
    resourceType: "container",
    resourceAction: "stop",
    resourceId: "$/spec/id",
  } as const;
  for (const input of [undefined, null, {}, { spec: null }, { spec: { id: 5 } }, { spec: "id" }]) {
    assert.equal(told(rule, [], {}, input), "missing resource: container/stop");
    assert.equal(told(rule, [], { container: ["db"] }, input), undefined);
  }
  const inherited = Object.create({ spec: { id: "web" } }) as object;
  assert.equal(told(rule, [], { container: ["db"] }, inherited), undefined);
  assert.equal(told({ resourceType: "__proto__" }, []), "missing resource: __proto__/*");
});

test("a provider of ownership is asked in the place of the lists", async () => {
  const ownership = memoryOwnership();
  const one = compileAccess("c/stop", { resourceType: "container", resourceId: "$.id" });
  using auth = alice([], { container: ["web", "db"] }).auth;
  const stop = (id?: string) => admit(one, auth, { id }, ownership);
  assert.throws(() => stop(), { message: "no owned resources of type: container" });
  assert.throws(() => stop("web"), { message: "not owner of resource: container/web" });
  await ownership.record({ id: "alice", scopes: [], resources: {} }, "container", "web");
  using _web = stop("web");
  using _any = stop();
  assert.throws(() => stop("db"), { message: "not owner of resource: container/db" });
  using owner = ownerContext();
  using _all = admit(one, owner, { id: "db" }, ownership);
});

test("an operation may give up what it owns: losing ownership does not end the call", async () => {
  const ownership = memoryOwnership();
  const { auth, peers } = alice([]);
  using _auth = auth;
  await ownership.record(auth.peer!, "container", "web");
  const rule = compileAccess("c/remove", { resourceType: "container", resourceId: "$.id" });
  using admission = admit(rule, auth, { id: "web" }, ownership)!;
  admission.follow(() => assert.fail("ended"));
  await ownership.revoke("container", "web");
  peers.replace(entry(["fs:read"]));
});

test("who is nobody may call what asks for nothing, and is told that it has to say who it is", () => {
  using stranger = authenticate(staticIdentities([]), { kind: "fingerprint", fingerprint: KEY });
  assert.equal(admit(compileAccess("fs/list", "anyone"), stranger, {}, undefined), undefined);
  for (const access of [undefined, { scopes: ["fs:read"] }, { resourceType: "container" }]) {
    assert.throws(() => admit(compileAccess("fs/list", access), stranger, {}, undefined), {
      code: "FORBIDDEN",
      message: "authentication required",
    });
  }
});

test("a right that is taken back is told once, whichever it was", () => {
  for (const [rule, taken] of [
    [{ scopes: ["fs:read"] }, []],
    [{ anyScope: ["fs:read"] }, []],
    [{ resourceType: "container", resourceId: "$.id" }, ["fs:read"]],
    [{ scopes: ["fs:read"], resourceType: "container" }, []],
  ] as const) {
    const { auth, peers } = alice(["fs:read"], { container: ["web"] });
    using _auth = auth;
    using admission = admit(compileAccess("fs/list", rule), auth, { id: "web" }, undefined)!;
    const lost: CallError[] = [];
    admission.follow((error) => lost.push(error));
    peers.replace(entry(["fs:read", "fs:write"], { container: ["web", "db"] }));
    assert.equal(lost.length, 0);
    peers.replace(entry([...taken], {}));
    assert.deepEqual(
      lost.map(({ code }) => code),
      ["FORBIDDEN"],
    );
    assert.match(lost[0]!.message, /^access revoked: peer "alice" no longer has /);
  }
});

test("of scopes of which any would do, another may take the place of the one that is taken back", () => {
  const { auth, peers } = alice(["fs:read", "fs:write"]);
  using _auth = auth;
  const rule = compileAccess("fs/list", { anyScope: ["fs:read", "fs:write"] });
  using admission = admit(rule, auth, {}, undefined)!;
  const lost: string[] = [];
  admission.follow(({ message }) => lost.push(message));
  peers.replace(entry(["fs:write"]));
  assert.deepEqual(lost, []);
  peers.replace(entry(["fs:read"]));
  assert.deepEqual(lost, []);
  peers.replace(entry([]));
  assert.deepEqual(lost, ['access revoked: peer "alice" no longer has fs:read']);
});

test("admit() holds nothing of what it refuses, and nothing once disposed of", () => {
  const { auth, peers } = alice(["fs:read"]);
  using _auth = auth;
  const rule = compileAccess("fs/list", { scopes: ["fs:read", "fs:write"] });
  assert.throws(() => admit(rule, auth, {}, undefined), { code: "FORBIDDEN" });
  const admission = admit(compileAccess("a/b", { scopes: ["fs:read"] }), auth, {}, undefined)!;
  admission.follow(() => assert.fail("told after its end"));
  admission[Symbol.dispose]();
  assert.deepEqual(peers.replace(entry([])), { connections: 0, grants: 0 });
});

test("mayCall() says what admit() would, some input given", () => {
  const { auth } = alice(["fs:read"], { container: ["web"] });
  using _auth = auth;
  const may = (access: Access | undefined) =>
    mayCall(compileAccess("a/b", access), auth, undefined);
  assert.deepEqual(
    [undefined, "anyone", { scopes: ["fs:read"] }, { scopes: ["fs:write"] }].map((it) =>
      may(it as Access),
    ),
    [false, true, true, false],
  );
  assert.equal(may({ resourceType: "container", resourceId: "$.id" }), true);
  assert.equal(may({ resourceType: "terminal", resourceId: "$.id" }), false);
});

test("compileAccess() refuses a rule that nobody could keep, or that says nothing", () => {
  for (const rule of [
    {},
    { scopes: [] },
    { scopes: ["*"] },
    { scopes: ["fs:*"] },
    { scopes: ["nonsense"] },
    { scopes: ["tunnel:dial:localhost:5432"] },
    { resourceAction: "stop" },
    { scopes: ["fs:read"], resourceId: "$.id" },
    { resourceType: "c", resourceId: "id" },
    { resourceType: "c", resourceId: "$" },
    { resourceType: "c", resourceId: "$.a/b" },
  ]) {
    assert.throws(
      () => compileAccess("a/b", rule as Access),
      (error) => error instanceof TypeError || error instanceof SyntaxError,
      JSON.stringify(rule),
    );
  }
});
