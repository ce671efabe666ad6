import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryOwnership } from "./ownership.ts";

const alice = { id: "alice", scopes: [], resources: {} };
const bob = { id: "bob", scopes: [], resources: {} };

test("memoryOwnership() knows who made what, by id of the identity", async () => {
  const owners = memoryOwnership();
  await owners.record(alice, "container", "web");
  await owners.record(alice, "container", "db");
  assert.equal(owners.owns({ ...alice, scopes: ["x:y"] }, "container", "web", "stop"), true);
  assert.equal(owners.owns(bob, "container", "web", undefined), false);
  assert.equal(owners.owns(alice, "terminal", "web", undefined), false);
  assert.deepEqual(owners.ownedResources(alice, "container"), ["web", "db"]);
  assert.deepEqual(owners.ownedResources(bob, "container"), []);
});

test("memoryOwnership() lets a record replace the owner, and revoke() forget what is not there", async () => {
  const owners = memoryOwnership();
  await owners.record(alice, "container", "web");
  await owners.record(bob, "container", "web");
  assert.equal(owners.ownsAny(alice, "container"), false);
  assert.equal(owners.ownsAny(bob, "container"), true);
  await owners.revoke("container", "web");
  await owners.revoke("container", "web");
  assert.equal(owners.ownsAny(bob, "container"), false);
  assert.equal(owners.owns(bob, "container", "web", undefined), false);
});
