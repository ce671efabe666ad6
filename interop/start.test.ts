/**
 * `npm start` in a checkout that is set up: quick, and without a network. And where something is missing: one line.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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

test("a missing prerequisite gets one line that says what to install", () => {
  // What the set-up reads of a checkout in which nothing was built.
  const checkout = mkdtempSync(join(tmpdir(), "alknet-fresh-"));
  try {
    for (const path of [
      "scripts",
      "package.json",
      "native/quic/Cargo.toml",
      "packages/quic/package.json",
    ]) {
      cpSync(path, join(checkout, path), { recursive: true });
    }
    const programs = join(checkout, "programs");
    mkdirSync(programs);
    const setUp = (): { status: number | null; lines: string[] } => {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ["scripts/bootstrap.mjs", "native"],
        { cwd: checkout, env: { PATH: programs, HOME: checkout }, encoding: "utf8" },
      );
      return { status, lines: `${stdout}${stderr}`.trimEnd().split("\n") };
    };
    const withoutCargo = setUp();
    assert.equal(withoutCargo.status, 1);
    assert.equal(withoutCargo.lines.length, 1, withoutCargo.lines.join("\n"));
    assert.match(withoutCargo.lines[0]!, /cargo is missing: install Rust from https:/);
    writeFileSync(join(programs, "cargo"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const withoutCompiler = setUp();
    assert.equal(withoutCompiler.status, 1);
    assert.equal(withoutCompiler.lines.length, 1, withoutCompiler.lines.join("\n"));
    assert.match(withoutCompiler.lines[0]!, /C compiler is missing: install gcc/);
  } finally {
    rmSync(checkout, { recursive: true, force: true });
  }
});
