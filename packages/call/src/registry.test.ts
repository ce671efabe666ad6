import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { operation } from "./operation.ts";
import { createRegistry, register } from "./registry.ts";
import { createSessionLayer } from "./session-layer.ts";

const schemas = { input: z.object({}), output: z.number() };
const one = operation({ name: "n/one", type: "query", ...schemas, handler: () => 1 });

test("a duplicate name is an error, and silently replaces nothing", () => {
  assert.throws(() => createRegistry([one, { ...one }]), {
    code: "DUPLICATE_OPERATION",
    message: 'cannot register operation "n/one": there is one of that name',
  });
  const layer = createSessionLayer();
  layer.add(one);
  assert.throws(() => layer.add(one), { code: "DUPLICATE_OPERATION" });
  assert.equal(layer.remove("n/one"), true);
  assert.equal(layer.remove("n/one"), false);
  layer.add(one);
  assert.equal(layer.find("n/one")?.provenance, "session");
});

test("a registry is fixed, and keeps its operations' types", () => {
  const registry = createRegistry([one]);
  assert.ok(Object.isFrozen(registry) && Object.isFrozen(registry.operations));
  const { name }: { name: "n/one" } = registry.operations[0];
  assert.equal(registry.find(name)?.operation, one);
  assert.equal(registry.find("constructor"), undefined);
});

test("a handler that is not of its operation's type is refused when it is registered", () => {
  const once = { ...schemas, name: "n/x", handler: async () => 1 };
  const items = { ...schemas, name: "n/x", async *handler() {} };
  const refused = [
    { ...once, type: "subscription" },
    { ...items, type: "query" },
    { ...items, type: "mutation" },
    { ...schemas, name: "n/x", type: "query", *handler() {} },
    { ...schemas, name: "n/x", type: "query", handler: 5 },
  ] as const;
  for (const definition of refused) {
    assert.throws(() => createRegistry([{ errors: {}, ...definition } as never]), {
      name: "TypeError",
      message: /^cannot register operation "n\/x": /,
    });
  }
});

test("an error code that is the protocol's, or is none, is refused", () => {
  for (const code of ["NOT_FOUND", "INTERNAL", "LIMIT", "notFound", "__proto__"]) {
    const errors = Object.fromEntries([[code, { description: "" }]]);
    assert.throws(() => createRegistry([{ ...one, errors }]), TypeError, code);
  }
});

test("what is imported composes nothing, and what is of a session composes what the sandbox may", () => {
  const composes = { operations: ["fs/*"] };
  assert.throws(() => register({ ...one, composes }, "from-openapi"), TypeError);
  assert.equal(register(one, "from-mcp").authority.reaches("fs/read"), false);
  const layer = createSessionLayer({ operations: ["fs/read"] });
  layer.add({ ...one, composes: { operations: ["**"], scopes: ["*"] } });
  const { authority, internal } = layer.find("n/one")!;
  assert.equal(internal, true);
  assert.equal(authority.reaches("fs/read"), true);
  assert.equal(authority.reaches("fs/write"), false);
  assert.equal(authority.allows("fs:read"), false);
});
