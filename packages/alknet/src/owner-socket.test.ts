import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkOwner, isNobody, type OwnerSocket, serveOwner } from "./owner-socket.ts";

function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  const run = join(folder, "run");
  return {
    path: { run, socket: join(run, "a.sock") },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

const taken = (): Error => new Error("taken");
const echo = (client: Socket): void => void client.pipe(client);
const serve = (path: OwnerSocket, maxClients = 16): Promise<AsyncDisposable> =>
  serveOwner(path, echo, { maxClients, taken });

test("serveOwner() serves the owner alone, and leaves nothing behind", async () => {
  using place = scratch();
  const { path } = place;
  const server = await serve(path);
  assert.equal(statSync(path.run).mode & 0o777, 0o700);
  assert.equal(statSync(path.socket).mode & 0o777, 0o600);
  const client = connect(path.socket).end("hello");
  const [answer] = (await once(client, "data")) as [Buffer];
  assert.equal(String(answer), "hello");
  const cut = connect(path.socket);
  await once(cut, "connect");
  const closed = once(cut.resume(), "close");
  await server[Symbol.asyncDispose]();
  await closed;
  assert.equal(existsSync(path.socket), false);
});

test("of many that begin to serve at once one does, also where a socket was left behind", async () => {
  for (const left of [false, true]) {
    using place = scratch();
    const { path } = place;
    if (left) {
      mkdirSync(path.run, { mode: 0o700 });
      writeFileSync(path.socket, "");
    }
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => serve(path)));
    const serving = outcomes.filter((each) => each.status === "fulfilled");
    assert.equal(serving.length, 1);
    const client = connect(path.socket).end("hello");
    assert.equal(String((await once(client, "data"))[0]), "hello");
    await serving[0]!.value[Symbol.asyncDispose]();
  }
});

test("above the most clients the oldest gives way", async () => {
  using place = scratch();
  const { path } = place;
  await using _server = await serve(path, 2);
  const oldest = connect(path.socket);
  const closed = once(oldest.resume(), "close");
  await once(oldest, "connect");
  const others = [1, 2].map(() => connect(path.socket));
  await closed;
  for (const other of others) {
    other.end("hello");
    assert.equal(String((await once(other, "data"))[0]), "hello");
  }
});

test("of many that come at once no more stay than the most", async () => {
  using place = scratch();
  const { path } = place;
  await using _server = await serve(path, 2);
  const staying = new Set(Array.from({ length: 10 }, () => connect(path.socket)));
  await new Promise<void>((resolve) => {
    for (const client of staying) {
      client.on("error", () => {}).resume();
      client.once("close", () => {
        staying.delete(client);
        if (staying.size === 2) resolve();
      });
    }
  });
  for (const client of staying) {
    client.end("hello");
    assert.equal(String((await once(client, "data"))[0]), "hello");
  }
});

test("who takes no more clients for now is there all the same", async () => {
  using place = scratch();
  const { path } = place;
  mkdirSync(path.run, { mode: 0o700 });
  // It listens, with room for one that waits, and never looks.
  const program = `
    import socket, sys
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen(0)
    print("listens", flush=True)
    sys.stdin.read()`;
  const busy = spawn("python3", ["-c", program.replaceAll(/^ {4}/gm, ""), path.socket]);
  await once(busy.stdout, "data");
  const waiting = connect(path.socket);
  await once(waiting, "connect");
  const full = (await once(connect(path.socket), "error")) as [NodeJS.ErrnoException];
  assert.equal(full[0].code, "EAGAIN");
  await assert.rejects(serve(path), /taken/);
  waiting.destroy();
  busy.stdin.end();
  await once(busy, "close");
});

test("checkOwner() trusts a socket of ours in a folder of ours alone", async () => {
  using place = scratch();
  const { path } = place;
  const missing = (): Error => new Error("missing");
  assert.throws(() => checkOwner(path, missing), /missing/);
  const server = await serve(path);
  checkOwner(path, missing);
  chmodSync(path.run, 0o710);
  assert.throws(() => checkOwner(path, missing), { code: "FOLDER_PERMISSIONS" });
  chmodSync(path.run, 0o700);
  await server[Symbol.asyncDispose]();
  writeFileSync(path.socket, "");
  assert.throws(() => checkOwner(path, missing), {
    code: "FOLDER_PERMISSIONS",
    message: /expected a socket of ours/,
  });
});

test("isNobody() knows a socket that is not there, and one that nobody serves", async () => {
  using place = scratch();
  const [error] = (await once(connect(place.path.socket), "error")) as [Error];
  assert.equal(isNobody(error), true);
  assert.equal(isNobody(new Error("other")), false);
});
