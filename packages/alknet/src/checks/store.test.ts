import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { run, testHome, type TestHome } from "../testing.ts";
import { checkClock } from "./store.ts";

interface Finding {
  readonly check: string;
  readonly state: string;
  readonly text: string;
  readonly fix?: string;
}

async function findings(home: TestHome, check: string): Promise<readonly Finding[]> {
  const { stdout } = await run(home, ["doctor", "--json"]);
  const document = JSON.parse(stdout.split("\n")[0]!) as { findings: Finding[] };
  return document.findings.filter((it) => it.check === check);
}

test("doctor counts the peers of the store, and names entries that grant less than was meant", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  assert.match((await findings(home, "store"))[0]?.text ?? "", /none yet/);
  await run(home, ["peers", "add", "laptop", `ed25519:${"a".repeat(64)}`, "--grant", "@nobody"]);
  assert.match((await findings(home, "store"))[0]?.text ?? "", /alknet\.db, 1 peer$/);
  const [problem] = await findings(home, "rights");
  assert.match(problem?.text ?? "", /^peer laptop .*nobody/);
  assert.equal(problem?.fix, "look at it: alknet peers show laptop");
  assert.equal((await findings(home, "clock"))[0]?.state, "ok");
});

test("doctor says that a store is none, and what to do", async () => {
  using home = testHome();
  home.config('listen = ["127.0.0.1:0"]');
  writeFileSync(home.home.database, "this is no database, and never was one".repeat(100));
  const [finding] = await findings(home, "store");
  assert.equal(finding?.state, "problem");
  assert.ok(finding?.text.includes(home.home.database));
});

test("checkClock() tells a clock that was set back from one that is a little off", () => {
  const now = Date.parse("2026-12-01T12:00:00Z");
  assert.equal(checkClock(undefined, now).state, "ok");
  assert.equal(checkClock(now - 1_000, now).state, "ok");
  assert.equal(checkClock(now + 2_000, now).state, "ok");
  const { state, text } = checkClock(now + 3_600_000, now);
  assert.equal(state, "problem");
  assert.match(text, /^3600 s behind/);
});
