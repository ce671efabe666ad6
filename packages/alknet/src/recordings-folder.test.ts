import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "@alknet/core/config";
import { checkRecordings } from "./recordings-folder.ts";
import { run, testHome } from "./testing.ts";

test("a folder for recordings that cannot be one is refused at the start, and named by doctor", async () => {
  using it = testHome();
  writeFileSync(join(it.folder, "file"), "not a folder");
  const record = join(it.folder, "file", "sessions");
  it.config('listen = ["127.0.0.1:0"]', "[ssh]", `record = ${JSON.stringify(record)}`);
  const { code, stderr } = await run(it, ["up"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /cannot record sessions in ".*sessions": ENOTDIR.*\nhint: .*record in \[ssh\]/,
  );
  const doctor = await run(it, ["doctor"]);
  assert.equal(doctor.code, 1);
  assert.match(doctor.stdout, /BAD {3}ssh: no session on a terminal begins: .*ENOTDIR.*\n +fix: /);
});

test("checkRecordings() takes a folder that is there or can be made, and makes none", () => {
  using it = testHome();
  const config = defaultConfig(it.home.config);
  const names = (record: string | undefined) => ({ ...config, ssh: { ...config.ssh, record } });
  for (const record of [it.folder, join(it.folder, "a", "b"), undefined]) {
    checkRecordings(names(record));
  }
  const taken = names("/proc/version");
  assert.throws(() => checkRecordings(taken), { code: "RECORDINGS_UNUSABLE" });
  checkRecordings({ ...taken, handlers: [] });
  assert.deepEqual(readdirSync(it.folder), []);
});
