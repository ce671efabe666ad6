import assert from "node:assert/strict";
import { test } from "node:test";
import { configEntries } from "./config-entries.ts";
import { EXAMPLE_CONFIG } from "./config-page.ts";
import { formatTomlPath } from "./config-problem.ts";

function entriesOf(text: string): ReadonlyMap<string, readonly [unknown, string]> {
  return new Map(
    configEntries(text, "x.toml").map(({ path, value, from }) => [
      formatTomlPath(path),
      [value, from],
    ]),
  );
}

test("configEntries() tells what is from the file and what is a default", () => {
  const entries = entriesOf(EXAMPLE_CONFIG);
  for (const [key, value, from] of [
    ["name", "den", "file"],
    ["limits.drain", "10s", "file"],
    ["limits.handshake_timeout", "10s", "default"],
    ["limits.penalties.maximum", "1h", "file"],
    ["limits.penalties.minimum", "15s", "default"],
    ["peers.laptop.enabled", true, "default"],
    ["peers.phone.enabled", false, "file"],
    ["api_keys[0].expires_at", "2126-12-31T18:00:00.000Z", "file"],
    ["log.level", "debug", "file"],
  ] as const) {
    assert.deepEqual(entries.get(key), [value, from], key);
  }
  for (const { from } of configEntries("", "x.toml")) assert.equal(from, "default");
  assert.equal(entriesOf("").has("api_keys"), false);
});

test("configEntries() shows no hash", () => {
  const text = `${EXAMPLE_CONFIG}[peers.laptop2]\ntoken_hash = "sha256:${"9".repeat(64)}"\n`;
  const entries = entriesOf(text);
  assert.deepEqual(entries.get("api_keys[0].hash"), ["sha256:33333333…", "file"]);
  assert.deepEqual(entries.get("peers.laptop2.token_hash"), ["sha256:99999999…", "file"]);
  assert.doesNotMatch(JSON.stringify([...entries]), /3{20}|9{20}/);
});
