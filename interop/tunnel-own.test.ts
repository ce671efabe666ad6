/**
 * No forward reaches the sockets of the node that carries it, whatever its peer was granted.
 */

import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startNode, twoMachines } from "./two-machines.ts";

test("a peer with every right reaches no socket of the node itself, and listens at none", async () => {
  await using machines = await twoMachines();
  const { den, laptop, key } = machines;
  den.configure(`
name = "den"
[peers.laptop]
fingerprint = "${key}"
scopes = ["*", "tunnel:dial:localhost:*", "tunnel:dial:0.0.0.0:*", "tunnel:dial:unix:/**",
  "tunnel:listen:localhost:*", "tunnel:listen:unix:/**"]
`);
  const { node, ticket } = await startNode(den);
  await using _stopped = node;
  const controlSocket = join(den.home, "run", "control.sock");
  const link = join(den.home, "link");
  symlinkSync(controlSocket, link);
  const targets = [
    "127.0.0.1:7433",
    "localhost:7433",
    "0.0.0.0:7433",
    "10.79.0.1:7433",
    "[::1]:7433",
    "[fd79::1]:7433",
    "[::ffff:10.79.0.1]:7433",
    controlSocket,
    link,
  ];
  const specs = targets.map((target, at) => `${9_000 + at}:${target}`);
  await using program = laptop.start("forward", "--json", ticket, ...specs);
  await program.waitFor(/^\{"event":"listening".*\}$/m);
  for (const [at, target] of targets.entries()) {
    const after = program.output.length;
    const asked = laptop.command("nc", "-w", "5", "127.0.0.1", String(9_000 + at));
    const [event] = await program.waitFor(/^\{"event":"refused".*\}$/m, { after });
    const { refusal, message } = JSON.parse(event) as { refusal: string; message: string };
    assert.equal(refusal, "not-allowed", target);
    assert.match(message, /Alknet's own socket/);
    await asked.ended;
  }
  // No vault's agent runs there: nobody may take its place.
  for (const place of [
    join(den.home, "run", "vault.sock"),
    join(den.home, "x.sock"),
    "127.0.0.1:7433",
  ]) {
    const { stderr } = await laptop.run("expose", ticket, `${place}:localhost:1`);
    assert.match(stderr, /Alknet's own, where nobody else listens/, place);
  }
});
