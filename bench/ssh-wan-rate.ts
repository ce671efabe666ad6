/**
 * How fast a program's bytes come out of an SSH client, or how fast it takes them in.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { killAtExit, type Spawn } from "./worker.ts";

export type Direction = "download" | "upload";

export interface Span {
  /** Milliseconds, each. */
  readonly warmUp: number;
  readonly measure: number;
}

const CHUNK = Buffer.alloc(65_536);

/**
 * Megabits in a second that come from a program over there, or go to one.
 *
 * @param client the words that start one, up to what it is to run.
 */
export async function rate(
  spawn: Spawn,
  client: readonly string[],
  direction: Direction,
  { warmUp, measure }: Span,
): Promise<number> {
  const [file, ...words] = client;
  if (file === undefined) throw new TypeError("expected a command");
  const isUpload = direction === "upload";
  const command = isUpload ? "cat >/dev/null" : "cat /dev/zero";
  const child = spawn(file, [...words, command], { stdio: ["pipe", "pipe", "inherit"] });
  killAtExit(child);
  const ended = new Promise((resolve) => child.once("close", resolve));
  let bytes = 0;
  child.stdout?.on("data", (data: Buffer) => (bytes += data.length));
  // It ends in the middle of it.
  child.stdin?.on("error", () => {});
  const write = (): void => {
    child.stdin?.write(CHUNK, (error) => {
      bytes += CHUNK.length;
      if (error === undefined || error === null) write();
    });
  };
  if (isUpload) write();
  await sleep(warmUp);
  const [begin, before] = [performance.now(), bytes];
  await sleep(measure);
  const megabits = ((bytes - before) * 8) / 1e6;
  const seconds = (performance.now() - begin) / 1_000;
  if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode}`);
  child.kill();
  await ended;
  return megabits / seconds;
}
