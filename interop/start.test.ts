/**
 * `npm start` in a checkout that is set up: quick, and without a network.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { createNamespace } from "./netns.ts";
import { follow } from "./program.ts";

/** Milliseconds, of the quickest of three: other work of this machine comes and goes. */
const QUICK = 2_000;

test("a later npm start needs no network, and the node is up within 2 s", async (t) => {
  // Loopback only, and nobody else's ports.
  await using alone = await createNamespace("start");
  const home = mkdtempSync(join(tmpdir(), "alknet-start-"));
  writeFileSync(join(home, "alknet.toml"), 'listen = ["127.0.0.1:7433"]\n');
  const took: number[] = [];
  try {
    for (let i = 0; i < 3; i++) {
      const { PATH, LANG, HOME, ALKNET_QUIC_ADDON } = process.env;
      const from = performance.now();
      const child = alone.spawn("npm", ["start"], {
        env: { PATH, LANG, HOME, ALKNET_QUIC_ADDON, ALKNET_HOME: home, npm_config_offline: "true" },
        stdio: ["ignore", "pipe", "pipe"],
      });
      await using start = follow(child, "npm start");
      // What it prints once it listens.
      await start.waitFor(/ed25519:[0-9a-f]{64}/);
      took.push(Math.round(performance.now() - from));
      const { status } = await start.stop("SIGTERM");
      assert.equal(status, 0, start.output);
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  t.diagnostic(`up after ${took.join(", ")} ms`);
  assert.ok(Math.min(...took) < QUICK, `up after ${took.join(", ")} ms`);
});
