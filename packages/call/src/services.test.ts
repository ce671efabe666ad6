import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import type { CallError } from "./call-error.ts";
import { callPair } from "./test-fixture.ts";
import { client } from "./client.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { memoryOwnership } from "./ownership.ts";
import {
  type DescribedOperation,
  type ListedPeers,
  parseDescribedOperation,
  parseOperationList,
  type ServiceOperations,
} from "./services.ts";

const OWN = ["services/list", "services/schema", "services/list-peers"];

function query(name: string, more: Partial<AnyOperation> = {}): AnyOperation {
  const schemas = { input: z.object({ id: z.string() }), output: z.number() };
  return { ...operation({ name, type: "query", ...schemas, handler: () => 1 }), ...more };
}

const operations = [
  query("a/plain"),
  query("a/open", { access: "anyone" }),
  query("a/internal", { visibility: "internal" }),
  query("a/scoped", { access: { scopes: ["fs:read"] } }),
  query("c/stop", {
    access: { resourceType: "container", resourceAction: "stop", resourceId: "$.id" },
  }),
  operation({
    name: "b/deep/events",
    type: "subscription",
    description: "What happens.",
    input: z.object({}),
    output: z.string(),
    resumable: true,
    errors: {
      GONE: { description: "it is gone", details: z.object({ at: z.number() }), httpStatus: 410 },
      BUSY: { description: "try again" },
    },
    async *handler() {},
  }),
];

async function listed(options: Parameters<typeof callPair>[0]): Promise<string[]> {
  await using pair = callPair({ operations, ...options });
  return parseOperationList(await pair.client.call("services/list", {})).map(({ name }) => name);
}

test("services/list shows what the caller may call, and nothing else", async () => {
  assert.deepEqual(await listed({ caller: "stranger" }), ["a/open", ...OWN]);
  assert.deepEqual(await listed({ scopes: ["call:invoke:a/*"] }), ["a/plain", "a/open", ...OWN]);
  assert.deepEqual(await listed({ scopes: ["call:invoke", "fs:read"] }), [
    "a/plain",
    "a/open",
    "a/scoped",
    "b/deep/events",
    ...OWN,
  ]);
});

test("services/list tells name, namespace and kind", async () => {
  await using pair = callPair({ operations });
  const { operations: list } = await client<ServiceOperations>(pair.client).services.list();
  assert.deepEqual(list[2], {
    name: "b/deep/events",
    namespace: "b",
    op_type: "subscription",
  });
});

test("known mistake: what asks for a resource is listed for who has one of its type", async () => {
  const has = async (options: Parameters<typeof callPair>[0]) =>
    (await listed(options)).includes("c/stop");
  assert.equal(await has({}), false);
  assert.equal(await has({ resources: { terminal: ["x"] } }), false);
  assert.equal(await has({ resources: { container: ["x"] } }), true);
  const ownership = memoryOwnership();
  assert.equal(await has({ ownership, resources: { container: ["x"] } }), false);
  await ownership.record({ id: "alice", scopes: [], resources: {} }, "container", "web");
  assert.equal(await has({ ownership }), true);
});

test("known mistake: services/schema answers NOT_FOUND for what the caller could not call", async () => {
  await using pair = callPair({ operations });
  for (const name of [
    "a/internal",
    "a/scoped",
    "c/stop",
    "a/missing",
    "constructor",
    "//a/plain",
  ]) {
    await assert.rejects(pair.client.call("services/schema", { name }), (error: CallError) => {
      assert.equal(error.code, "NOT_FOUND", name);
      return true;
    });
  }
  pair.permit(["call:invoke", "fs:read"]);
  for (const name of ["a/scoped", "/a/plain", "services/list"]) {
    const schema = (await pair.client.call("services/schema", { name })) as DescribedOperation;
    assert.equal(schema.name, name.replace(/^\//, ""));
  }
});

test("known mistake: services/schema tells all of an operation, the resource's id included", async () => {
  await using pair = callPair({ operations, resources: { container: ["web"] } });
  const schema = (name: string) => pair.client.call("services/schema", { name });
  assert.deepEqual(await schema("c/stop"), {
    name: "c/stop",
    namespace: "c",
    op_type: "query",
    visibility: "external",
    input_schema: {
      type: "object",
      properties: { id: { type: "string" } },
      required: ["id"],
    },
    output_schema: { type: "number" },
    error_schemas: [],
    access_control: {
      required_scopes: [],
      required_scopes_any: null,
      resource_type: "container",
      resource_action: "stop",
    },
    resource_id_path: "$.id",
    resumable: false,
  });
  const events = (await schema("b/deep/events")) as DescribedOperation;
  assert.equal(events.description, "What happens.");
  assert.equal(events.resumable, true);
  assert.deepEqual(events.access_control.required_scopes, ["call:invoke:b/deep/events"]);
  assert.deepEqual(events.error_schemas, [
    {
      code: "GONE",
      description: "it is gone",
      schema: {
        type: "object",
        properties: { at: { type: "number" } },
        required: ["at"],
        additionalProperties: false,
      },
      http_status: 410,
    },
    { code: "BUSY", description: "try again", schema: {}, http_status: null },
  ]);
  assert.equal(parseDescribedOperation(events).name, "b/deep/events");
});

test("services/list-peers of a node without peers shows its own operations as local", async () => {
  await using pair = callPair({ operations, scopes: ["call:invoke:a/*"] });
  const { peers } = (await pair.client.call("services/list-peers", {})) as ListedPeers;
  assert.deepEqual(
    peers.map(({ peer_id, operations: list }) => [peer_id, list.map(({ name }) => name)]),
    [["local", ["a/plain", "a/open"]]],
  );
});

test("the answers of another node are read strictly, and with bounds", () => {
  const many = Array.from({ length: 10_001 }, () => ({
    name: "a/b",
    namespace: "a",
    op_type: "query",
  }));
  for (const answer of [null, {}, { operations: [{}] }, { operations: many }]) {
    assert.throws(() => parseOperationList(answer), { name: "ZodError" });
  }
  // A node that knows nothing of our fields.
  const schema = {
    name: "a/b",
    namespace: "a",
    op_type: "query",
    input_schema: {},
    output_schema: {},
  };
  assert.deepEqual(parseDescribedOperation(schema), {
    ...schema,
    error_schemas: [],
    resource_id_path: null,
    resumable: false,
  });
  const deep: unknown = JSON.parse('{"not":'.repeat(50_000) + "{}" + "}".repeat(50_000));
  const error = (at: unknown) => ({ code: `E${String(at)}`, schema: {} });
  for (const wrong of [
    { op_type: "batch" },
    { input_schema: { title: "x".repeat(70_000) } },
    { output_schema: deep },
    { error_schemas: [{ ...error(1), schema: { title: "x".repeat(70_000) } }] },
    { error_schemas: Array.from({ length: 65 }, (_, at) => error(at)) },
  ]) {
    assert.throws(() => parseDescribedOperation({ ...schema, ...wrong }), { name: "ZodError" });
  }
});
