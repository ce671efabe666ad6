import assert from "node:assert/strict";
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
