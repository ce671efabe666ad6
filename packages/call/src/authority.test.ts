import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePeer } from "@alknet/core/peers";
import { z } from "zod";
import { compileAuthority } from "./authority.ts";
import { operation } from "./operation.ts";

test("compileAuthority() reaches what is named: by name, by glob, as an operation, of one peer", () => {
  const schemas = { input: z.object({}), output: z.number() };
  const list = operation({ name: "fs/list", type: "query", ...schemas, handler: () => 1 });
  const { reaches, reachesAt } = compileAuthority("agent/chat", {
    operations: [list, "jobs/*", { peer: "den", operation: "render/**" }],
  });
  assert.deepEqual(["fs/list", "fs/read", "jobs/run", "jobs/a/b", "render/frame"].map(reaches), [
    true,
    false,
    true,
    false,
    false,
  ]);
  assert.deepEqual(
    [reachesAt("den", "render/a/b"), reachesAt("lab", "render/a/b"), reachesAt("lab", "fs/list")],
    [true, false, true],
  );
});

test("an authority has the rights that it declares, and no peer has its name", () => {
  const authority = compileAuthority("agent/chat", {
    operations: [],
    scopes: ["fs:read:/srv/**"],
    resources: { container: ["web"] },
  });
  assert.equal(authority.grant("fs:read", "/srv/a").action, "fs:read");
  assert.throws(() => authority.grant("fs:write", "/srv/a"), {
    code: "ACCESS_DENIED",
    missing: "fs:write:/srv/a",
  });
  assert.equal(authority.allows("fs:read", "/etc"), false);
  assert.equal(
    authority.hold("x", ({ resources }) => resources["container"]?.[0] === "web").action,
    "x",
  );
  assert.throws(() => authority.hold("x", () => false), { code: "ACCESS_DENIED" });
  assert.throws(
    () => parsePeer({ peerId: authority.peer.id, fingerprints: [], scopes: [], enabled: true }),
    {
      code: "PEER_INVALID",
    },
  );
});

test("compileAuthority() refuses scopes and globs that do not parse", () => {
  assert.throws(
    () => compileAuthority("a/b", { operations: [], scopes: ["nonsense"] }),
    SyntaxError,
  );
  assert.throws(() => compileAuthority("a/b", { operations: ["a***"] }), SyntaxError);
});

test("an operation that declares no composition reaches nothing", () => {
  const authority = compileAuthority("a/b", undefined);
  assert.equal(authority.reaches("a/b"), false);
  assert.equal(authority.allows("fs:read"), false);
});
