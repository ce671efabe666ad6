/**
 * The fuzz campaign of the boundary between JavaScript and the QUIC engine, in a process of its own.
 *
 * `ALKNET_FUZZ_SECONDS` makes it shorter or longer, `ALKNET_FUZZ_SEED` repeats a run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";

test("random calls from several threads crash nothing and leave nothing behind", async () => {
  const seconds = process.env["ALKNET_FUZZ_SECONDS"] ?? "60";
  const seed = process.env["ALKNET_FUZZ_SEED"];
  const child = spawn(
    process.execPath,
    [
      "--expose-gc",
      "--conditions=@alknet/source",
      "fuzz/quic-boundary.ts",
      `--seconds=${seconds}`,
      ...(seed === undefined ? [] : [`--seed=${seed}`]),
    ],
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
  const { done, failures } = JSON.parse(out.trimEnd().split("\n").at(-1)!) as {
    done: { calls: number }[];
    failures: string[];
  };
  assert.deepEqual({ failures, status }, { failures: [], status: 0 }, said);
  assert.equal(done.length, 3);
  // It was no idle run.
  for (const { calls } of done) assert.ok(calls > 1_000, said);
});
