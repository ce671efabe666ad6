import assert from "node:assert/strict";
import { test } from "node:test";
import { run, testHome } from "./testing.ts";

test("an option that only ssh itself has is told with how ssh is used, before the peer and after it", async () => {
  using home = testHome();
  for (const words of [
    ["-p", "22", "den"],
    ["den", "-i", "file"],
  ]) {
    const { code, stderr } = await run(home, ["ssh", ...words]);
    assert.equal(code, 2);
    assert.match(stderr, /unknown option '-[pi]'\nhint: .*alknet ssh-config --install/);
  }
});

test("the help of ssh shows no value as a program has it", async () => {
  using home = testHome();
  const { stdout } = await run(home, ["ssh", "--help"]);
  assert.deepEqual(stdout.match(/\(default: .*\)/g), ["(default: a shell)", "(default: ~)"]);
});
