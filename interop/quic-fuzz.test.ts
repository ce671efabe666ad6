/**
 * The fuzz campaign of the boundary between JavaScript and the QUIC engine, in a process of its own: first the seeds
 * that are kept, then one that nobody has tried.
 *
 * `ALKNET_FUZZ_SECONDS` makes it shorter or longer, `ALKNET_FUZZ_SEED` repeats a run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";

/** See `fuzz/README.md`. */
interface Campaign {
  readonly seed?: string | number | undefined;
  readonly kind?: string | undefined;
  readonly threads?: number | undefined;
  readonly seconds: string | number;
}

const kept = JSON.parse(readFileSync("fuzz/seeds.json", "utf8")) as (Campaign & { why: string })[];

for (const { why, ...campaign } of kept) {
  test(`seed ${campaign.seed} finds nothing any more: ${why}`, async () => {
    await run(campaign);
  });
}

test("random calls from several threads crash nothing and leave nothing behind", async (t) => {
  const { seed, calls } = await run({
    threads: 3,
    seconds: process.env["ALKNET_FUZZ_SECONDS"] ?? "60",
    seed: process.env["ALKNET_FUZZ_SEED"],
  });
  t.diagnostic(`seed ${seed}: ${calls} calls`);
});

async function run(campaign: Campaign): Promise<{ seed: number; calls: number }> {
  const { threads = 3 } = campaign;
  const flags = Object.entries({ ...campaign, threads }).flatMap(([name, value]) =>
    value === undefined ? [] : `--${name}=${value}`,
  );
  const child = spawn(
    process.execPath,
    ["--expose-gc", "--conditions=@alknet/source", "fuzz/quic-boundary.ts", ...flags],
    {
      stdio: ["ignore", "pipe", "pipe"],
      // Injected panics say so on stderr; where they happened is known.
      env: { ...process.env, NODE_OPTIONS: "", NODE_TEST_CONTEXT: undefined, RUST_BACKTRACE: "0" },
    },
  );
  const [out, err, [status, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null, string | null]>,
  ]);
  const said = `${out}\n${err.slice(-4_000)}`;
  assert.equal(signal, null, said);
  const { seed, done, failures } = JSON.parse(out.trimEnd().split("\n").at(-1)!) as {
    seed: number;
    done: { calls: number }[];
    failures: string[];
  };
  assert.deepEqual({ failures, status }, { failures: [], status: 0 }, said);
  assert.equal(done.length, threads);
  // It was no idle run.
  for (const { calls } of done) assert.ok(calls > 1_000, said);
  return { seed, calls: done.reduce((sum, { calls }) => sum + calls, 0) };
}
