import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { createInvitation } from "@alknet/core/invitation";
import { formatInvitation } from "@alknet/core/invitation-ticket";
import { start, testHome } from "./testing.ts";

test(
  "an invitation is not in the list of programs while it is used",
  { skip: process.platform !== "linux" },
  async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { secret } = createInvitation();
    const ticket = formatInvitation({
      fingerprint: `ed25519:${"a".repeat(64)}`,
      addresses: [`127.0.0.1:${port}`],
      expiresAt: Date.now() + 60_000,
      secret,
    });
    using home = testHome();
    await using program = start(home, ["join", ticket, "--tcp"]);
    try {
      // It dials, and nobody answers.
      const [socket] = (await once(server, "connection")) as [Socket];
      const line = readFileSync(`/proc/${program.child.pid}/cmdline`, "latin1");
      socket.destroy();
      assert.match(line, /^alknet/);
      assert.doesNotMatch(line, /alkinvite/i);
    } finally {
      server.close();
    }
  },
);
