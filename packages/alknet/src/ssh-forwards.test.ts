import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { ownerContext } from "@alknet/core/access";
import { connectionPair } from "@alknet/core/testing";
import { ownAccount } from "@alknet/ssh/account";
import { connectSsh } from "@alknet/ssh/client";
import { ssh } from "@alknet/ssh/ssh";
import { inbound } from "@alknet/tunnel/inbound";
import { hostKeyOf } from "./host-key.ts";
import { parseLocalForward, parseRemoteForward } from "./ssh-forward-spec.ts";
import { listenHere, listenThere } from "./ssh-forwards.ts";

test("a target that resets what came from over there breaks that connection, and no other", async () => {
  await using it = await owner();
  await using target = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", (data) => {
      if (String(data) === "reset") socket.resetAndDestroy();
      else socket.end(data);
    });
  });
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
  const { port } = target.address() as { port: number };
  const refused: Error[] = [];
  const forward = parseRemoteForward(`0:127.0.0.1:${port}`);
  const place = await listenThere(it.client, forward, (_forward, error) => refused.push(error));
  assert.ok("port" in place);
  const ask = async (words: string): Promise<string> => {
    const socket = connect({ host: "127.0.0.1", port: place.port, allowHalfOpen: true });
    socket.write(words);
    return await text(socket).finally(() => socket.destroy());
  };
  await assert.rejects(ask("reset"), { code: "ECONNRESET" });
  assert.equal(await ask("again"), "again");
  assert.deepEqual(refused, []);
});

test("at the path of a listener here what is another's stays, before it and after", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-"));
  try {
    const path = join(folder, "socket");
    const forward = parseLocalForward(`${path}:localhost:1`);
    const never = async (): Promise<never> => assert.fail("nobody connects");
    const listening = await listenHere(forward, never, () => {});
    await assert.rejects(
      listenHere(forward, never, () => {}),
      { code: "EADDRINUSE" },
    );
    rmSync(path);
    writeFileSync(path, "another's");
    await listening.close();
    assert.ok(existsSync(path));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A client at a server that listens for it. */
async function owner() {
  await using made = new AsyncDisposableStack();
  const hostKey = hostKeyOf(Buffer.alloc(32, 1));
  const pair = made.use(connectionPair({ auth: { server: ownerContext() } }));
  const server = ssh({ hostKey: hostKey.file, accounts: ownAccount, inbound: inbound() });
  const served = server.handle(pair.server);
  made.defer(async () => {
    pair.client.abort(0);
    await served;
  });
  const client = await connectSsh(await pair.client.open(), {
    user: "",
    checkHostKey: () => true,
  });
  const owned = made.move();
  return { client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
