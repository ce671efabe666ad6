/**
 * The fuzz campaign of the boundary between JavaScript and the QUIC engine, as long as the gate has for it.
 *
 * `ALKNET_FUZZ_SECONDS` makes it longer or shorter.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import test from "node:test";

const seconds = Number(process.env["ALKNET_FUZZ_SECONDS"] ?? 60);

test(
  "random calls from several threads, with collections forced, crash nothing and leave nothing",
  { timeout: (seconds + 60) * 1000 },
  async () => {
    const child = spawn(
      process.execPath,
      [
        "--expose-gc",
        "--conditions=@alknet/source",
        "fuzz/quic-boundary.ts",
        `--seconds=${seconds}`,
      ],
      // Injected panics write their traces there.
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
    assert.equal(code, 0, output);
  },
);
