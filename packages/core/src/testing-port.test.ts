import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { freePort } from "./testing-port.ts";

test("freePort() gives no port to two", { skip: process.platform !== "linux" }, async () => {
  const own = await Promise.all(Array.from({ length: 50 }, () => freePort()));
  const others = await inAnother("linux");
  assert.equal(new Set([...own, ...others]).size, 170);
});

test("freePort() gives no port that is in use, for TCP or for UDP", async () => {
  const [first, second] = [await freePort(), await freePort()];
  await using tcp = createServer().listen(first, "127.0.0.1");
  await using udp = createSocket("udp4").bind(second, "127.0.0.1");
  await Promise.all([tcp, udp].map((each) => once(each, "listening")));
  // Where ports cannot be reserved, as ours are here.
  const others = await inAnother("darwin");
  assert.ok(others.every((port) => port !== first && port !== second));
});

/** Ask for 120 ports in another process, that begins where this one did. */
async function inAnother(platform: NodeJS.Platform): Promise<number[]> {
  const code = `
    Object.defineProperty(process, "platform", { value: ${JSON.stringify(platform)} });
    Object.defineProperty(process, "pid", { value: ${process.pid} });
    const { freePort } = await import(${JSON.stringify(import.meta.resolve("./testing-port.ts"))});
    for (let each = 0; each < 120; each++) console.log(await freePort());`;
  const other = spawn(process.execPath, ["--input-type=module", "-e", code]);
  return (await text(other.stdout)).trim().split("\n").map(Number);
}
