import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { testHome } from "../testing.ts";
import { checkConfig, checkIdentity, checkRunFolder } from "./files.ts";

const config = { identity: undefined };

test("the checks of files find nothing wrong with an empty folder", async () => {
  using here = testHome();
  assert.equal((await checkConfig(here.home)).finding.state, "ok");
  assert.equal((await checkIdentity(here.home, config)).state, "ok");
  assert.equal(checkRunFolder(here.home), undefined);
});

test("checkConfig() tells where the mistake is", async () => {
  using here = testHome();
  writeFileSync(here.home.config, 'name = "den"\nlissten = []\n');
  const { config, finding } = await checkConfig(here.home);
  assert.equal(config, undefined);
  assert.equal(finding.state, "problem");
  assert.match(finding.text, /alknet\.toml:2:1: unknown key "lissten".*did you mean "listen"/);
});

test("checkIdentity() tells who else can read the key, and the command that ends it", async () => {
  using here = testHome();
  const { fingerprint } = loadOrCreateIdentity(here.home.identity);
  assert.equal((await checkIdentity(here.home, config)).text, fingerprint);
  chmodSync(here.home.identity, 0o644);
  const finding = await checkIdentity(here.home, config);
  assert.equal(finding.state, "problem");
  assert.match(finding.fix!, /chmod 600 /);
});

test("checkRunFolder() tells that others can enter it", () => {
  using here = testHome();
  mkdirSync(here.home.run, { mode: 0o755 });
  chmodSync(here.home.run, 0o755);
  assert.deepEqual(checkRunFolder(here.home)?.fix, `chmod 700 ${here.home.run}`);
  chmodSync(here.home.run, 0o700);
  assert.equal(checkRunFolder(here.home)?.state, "ok");
});
