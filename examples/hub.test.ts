import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { keyOf } from "./hub-keys.ts";

/** A process of the example, and the lines that it writes. */
class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(name: string, ...args: string[]) {
    const script = join(import.meta.dirname, `${name}.ts`);
    const node = ["--conditions=@alknet/source", script, ...args];
    this.#child = spawn(process.execPath, node, { stdio: ["ignore", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** The next line, as JSON; `undefined` once there are no more. */
  async next(): Promise<unknown> {
    const { done = false, value } = await this.#lines.next();
    return done ? undefined : (JSON.parse(value as string) as unknown);
  }

  /** Lines up to the end of the process. */
  async rest(): Promise<unknown[]> {
    const all: unknown[] = [];
    for (let line = await this.next(); line !== undefined; line = await this.next()) all.push(line);
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
  }
}

test("hub, workers and caller: three programs over QUIC, and what one can do the other calls", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-hub-"));
  try {
    // Before the programs start: they would all make them at once.
    for (const name of ["hub", "worker-1", "worker-2", "alice"]) keyOf(folder, name);
    await using hub = new Program("hub", folder);
    const { address } = (await hub.next()) as { address: string };
    const imported = { message: "operations of a peer imported" };
    await using _first = new Program("hub-worker", folder, address, "worker-1");
    assert.deepEqual(await hub.next(), { ...imported, peer: "worker-1" });
    await using _second = new Program("hub-worker", folder, address, "worker-2");
    assert.deepEqual(await hub.next(), { ...imported, peer: "worker-2" });
    await using caller = new Program("hub-caller", folder, address);
    assert.deepEqual(await caller.rest(), [
      { frame: 7, by: "worker-1", for: "alice" },
      ...[0, 25, 50, 75, 100],
      { frame: 0, by: "worker-1", for: "alice" },
      { frame: 1, by: "worker-2", for: "alice" },
      { frame: 2, by: "worker-1", for: "alice" },
      { frame: 3, by: "worker-2", for: "alice" },
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
