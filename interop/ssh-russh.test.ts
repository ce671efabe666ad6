/**
 * russh, which has the post-quantum key exchange that OpenSSH 9.2 lacks, against `alknet/ssh`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { KeyPair, SSHClient, SshTransport } from "russh";
import { startOpenSsh } from "./openssh-client.ts";

for (const exchange of ["mlkem768x25519-sha256", "curve25519-sha256"]) {
  test(`russh runs a command, by keys exchanged with ${exchange}`, async () => {
    await using it = await startOpenSsh(["ssh:exec"]);
    const transport = await SshTransport.newSocket(`127.0.0.1:${it.port}`);
    const config = { preferred: { kex: [exchange] } };
    const client = await SSHClient.connect(transport, async () => true, config);
    const key = await KeyPair.parse(readFileSync(it.at("user"), "utf8"));
    const user = await client.authenticateWithKeyPair("me", key, null);
    assert.ok("openSessionChannel" in user, "not logged in");
    const channel = await user.activateChannel(await user.openSessionChannel());
    let out = "";
    channel.data$.subscribe((data) => (out += Buffer.from(data).toString()));
    const closed = new Promise<void>((resolve) => channel.closed$.subscribe(() => resolve()));
    await channel.requestExec("echo hello");
    await closed;
    assert.equal(out, "hello\n");
    await user.disconnect();
  });
}
