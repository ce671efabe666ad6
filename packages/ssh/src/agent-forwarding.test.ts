import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ownerContext } from "@alknet/core/access";
import { connectionPair } from "@alknet/core/testing";
import { ownAccount } from "./account.ts";
import { connectSsh } from "./client.ts";
import { ssh } from "./ssh.ts";
import { HOST } from "./test-keys.ts";

test("sockets of agents are as many as the programs that a peer may have, over all its connections", async () => {
  const hostKey = HOST.privateKey;
  const handler = ssh({ hostKey, accounts: ownAccount, limits: { sessionsPerPeer: 1 } });
  await using made = new AsyncDisposableStack();
  async function session(command: string) {
    const pair = made.use(connectionPair({ auth: { server: ownerContext() } }));
    const served = handler.handle(pair.server);
    made.defer(async () => {
      pair.client.abort(0);
      await served;
    });
    const client = await connectSsh(await pair.client.open(), {
      user: "",
      checkHostKey: () => true,
      connectAgent: () => Promise.reject(new Error("nobody asks it")),
    });
    return await client.session({ agent: true, program: { kind: "exec", command } });
  }
  const command = 'echo "at $SSH_AUTH_SOCK"; cat';
  const first = await session(command);
  assert.deepEqual(first.refused, []);
  assert.deepEqual((await session(command)).refused, ["agent"]);
  first.channel.end();
  const [, path = ""] = /^at (.+)\n$/.exec(await text(first.channel)) ?? [];
  assert.notEqual(path, "");
  while (existsSync(path)) await turn();
  assert.deepEqual((await session(command)).refused, []);
});
