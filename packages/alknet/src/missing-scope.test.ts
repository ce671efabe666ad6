import assert from "node:assert/strict";
import { test } from "node:test";
import { FlowRefused } from "@alknet/tunnel/refused";
import { missingScope } from "./missing-scope.ts";

test("missingScope() finds the scope in a refusal, and takes nothing else for one", () => {
  const refused = (text: string) => missingScope(new FlowRefused("not-allowed", text));
  const scope = "tunnel:dial:[2001:db8::1]:22";
  assert.equal(refused(`[2001:db8::1]:22: not allowed, this key lacks ${scope}`), scope);
  assert.equal(refused("x:1: not allowed"), undefined);
  assert.equal(refused("x:1: not allowed, this key lacks manners"), undefined);
  assert.equal(missingScope(new FlowRefused("refused", `lacks ${scope}`)), undefined);
  assert.equal(missingScope(new Error(`it lacks ${scope}`)), undefined);
});
