import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "./config.ts";
import { loadConfig } from "./config-file.ts";

test("loadConfig() takes a file that is not there for an empty one, and reports one that it cannot read", async (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-config-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "alknet.toml");
  assert.deepEqual(await loadConfig(path), defaultConfig(path));
  fs.writeFileSync(path, 'name = "den"');
  assert.equal((await loadConfig(path)).name, "den");
  await assert.rejects(loadConfig(folder), {
    code: "CONFIG_INVALID",
    message: /cannot read the configuration/,
  });
  fs.truncateSync(path, 17 * 2 ** 20);
  await assert.rejects(loadConfig(path), {
    code: "CONFIG_INVALID",
    message: /expected at most 16777216/,
  });
  fs.writeFileSync(path, Buffer.from([0x61, 0xff]));
  await assert.rejects(loadConfig(path), { code: "CONFIG_INVALID", message: /expected UTF-8$/ });
});
