import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { staticIdentities } from "@alknet/core/static-identities";
import { connectionPair } from "@alknet/core/testing";
import { ownAccount } from "./account.ts";
import { connectSsh } from "./client.ts";
import { ssh } from "./ssh.ts";
import { HOST, LAPTOP } from "./test-keys.ts";
import { longestTurn } from "./testing-turns.ts";

test("what is passed on goes by short turns while a session has a terminal, and by long ones before and after", async () => {
  const long = await longestTurn();
  {
    const fingerprints = [LAPTOP.fingerprint];
    const scopes = ["ssh:exec"];
    using identities = staticIdentities([
      { peerId: "laptop", fingerprints, scopes, enabled: true },
    ]);
    await using pair = connectionPair({
      auth: { server: { identities, fingerprint: LAPTOP.fingerprint } },
    });
    const accounts = () => ({ ...ownAccount(), shell: "/bin/sh" });
    const served = ssh({ hostKey: HOST.privateKey, accounts }).handle(pair.server);
    const client = await connectSsh(await pair.client.open(), {
      user: "me",
      checkHostKey: (key) => key.fingerprint === HOST.fingerprint,
    });
    const program = { kind: "exec", command: "echo ready; exec cat" } as const;
    const plain = await client.session({ program });
    await once(plain.channel, "data");
    assert.ok((await longestTurn()) > long / 2);
    const size = { columns: 80, rows: 24 };
    const terminal = { name: "xterm", size, modes: Uint8Array.of(0) };
    const typed = await client.session({ program, terminal });
    await once(typed.channel, "data");
    assert.ok((await longestTurn()) < long / 2);
    await client.close();
    await served;
  }
  assert.ok((await longestTurn()) > long / 2);
});
