import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdtempDisposableSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { removeDeadSocket } from "./dead-socket.ts";

function temporary() {
  const folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  return {
    at: (name: string): string => join(folder.path, name),
    [Symbol.dispose]: () => folder.remove(),
  };
}

async function listenAt(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).listen(path);
  await once(server, "listening");
  return server;
}

/** What a program leaves that is killed. */
async function makeDead(path: string): Promise<void> {
  const server = await listenAt(`${path}.made`);
  linkSync(`${path}.made`, path);
  server.close();
  await once(server, "close");
}

test("removeDeadSocket() removes a socket that nobody listens at, and says so", async () => {
  using folder = temporary();
  const path = folder.at("socket");
  await makeDead(path);
  assert.equal(await removeDeadSocket(path), true);
  assert.equal(existsSync(path), false);
  assert.equal(await removeDeadSocket(path), false);
});

test("removeDeadSocket() leaves a socket that somebody listens at, and all that is no socket", async () => {
  using folder = temporary();
  const at = folder.at("live");
  const server = await listenAt(at);
  writeFileSync(folder.at("file"), "");
  await makeDead(folder.at("dead"));
  symlinkSync(folder.at("dead"), folder.at("link"));
  for (const name of ["live", "file", "link"]) {
    assert.equal(await removeDeadSocket(folder.at(name)), false, name);
    assert.ok(existsSync(folder.at(name)), name);
  }
  server.close();
});

test("removeDeadSocket() leaves what has come to the place while it asked", async () => {
  using folder = temporary();
  await makeDead(folder.at("socket"));
  await makeDead(folder.at("next"));
  const removed = removeDeadSocket(folder.at("socket"));
  renameSync(folder.at("next"), folder.at("socket"));
  assert.equal(await removed, false);
  assert.ok(existsSync(folder.at("socket")));
});

test(
  "removeDeadSocket() leaves the socket of another user",
  { skip: process.geteuid?.() === 0 ? false : "only root can make one" },
  async () => {
    using folder = temporary();
    await makeDead(folder.at("socket"));
    execFileSync("chown", ["65534", folder.at("socket")]);
    assert.equal(await removeDeadSocket(folder.at("socket")), false);
    assert.ok(existsSync(folder.at("socket")));
  },
);
