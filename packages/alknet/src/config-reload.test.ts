import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticate } from "@alknet/core/access";
import { parseConfig } from "@alknet/core/config-parse";
import { FakeClock } from "@alknet/core/fake-clock";
import { AdmissionLimits } from "@alknet/core/limits";
import { MemoryDatabase } from "@alknet/core/memory-store";
import { staticIdentities } from "@alknet/core/static-identities";
import { inbound } from "@alknet/tunnel/inbound";
import { outbound } from "@alknet/tunnel/outbound";
import { reconfigure } from "./config-reload.ts";

const key = (digit: string) => `ed25519:${digit.repeat(64)}`;

test("reconfigure() ends what the new configuration does not allow, in the store's peers too, and no more", async () => {
  const parse = (...lines: string[]) => parseConfig(lines.join("\n"), "/x.toml");
  const roles = '[roles]\ndev = ["git:read", "ssh:shell"]';
  const one = `[peers.one]\nfingerprint = "${key("1")}"\nscopes = ["@dev", "msg:send"]`;
  const before = parse(roles, one);
  using configured = staticIdentities(before.peers, { roles: before.roles });
  await using store = await new MemoryDatabase().open({ roles: before.roles });
  await store.putPeer({
    peerId: "two",
    fingerprints: [key("2")],
    scopes: ["@dev"],
    enabled: true,
  });
  const limits = new AdmissionLimits({ clock: new FakeClock() });
  const node = { configured, store, limits, outbound: outbound(), inbound: inbound() };
  using first = authenticate(configured, { kind: "fingerprint", fingerprint: key("1") });
  using second = authenticate(store, { kind: "fingerprint", fingerprint: key("2") });
  const kept = [first.grant("git:read"), first.grant("msg:send"), second.grant("git:read")];
  const lost = [first.grant("ssh:shell"), second.grant("ssh:shell")];

  const narrower = parse('[roles]\ndev = "git:read"', one, '[limits]\nexempt = ["::1"]');
  assert.deepEqual(reconfigure(node, narrower), { connections: 0, grants: 2 });
  assert.ok(lost.every(({ signal }) => signal.aborted));
  assert.ok(kept.every(({ signal }) => !signal.aborted));
  // The limits hold as well: an exempt source has no 16 of its own.
  const begun = Array.from({ length: 20 }, () => {
    let dropped = false;
    limits.begin({ address: "::1", validated: true }, "tcp", () => (dropped = true));
    return () => dropped;
  });
  assert.ok(begun.every((isDropped) => !isDropped()));

  assert.deepEqual(reconfigure(node, parse("# nobody")), { connections: 1, grants: 1 });
  assert.ok(first.revoked.aborted && !second.revoked.aborted);
});

test("reconfigure() takes away from the store's peers also where a follower of the others fails", async () => {
  const parse = (...lines: string[]) => parseConfig(lines.join("\n"), "/x.toml");
  const before = parse('[roles]\ndev = ["git:read", "ssh:shell"]');
  using configured = staticIdentities([], { roles: before.roles });
  await using store = await new MemoryDatabase().open({ roles: before.roles });
  await store.putPeer({
    peerId: "two",
    fingerprints: [key("2")],
    scopes: ["@dev"],
    enabled: true,
  });
  const flows = outbound();
  const node = {
    configured,
    store,
    limits: new AdmissionLimits(),
    outbound: flows,
    inbound: inbound(),
  };
  using second = authenticate(store, { kind: "fingerprint", fingerprint: key("2") });
  const lost = second.grant("ssh:shell");
  configured.subscribe(() => {
    throw new Error("disk on fire");
  });
  assert.throws(() => reconfigure(node, parse('[roles]\ndev = "git:read"')), /cannot tell all/);
  assert.equal(lost.signal.aborted, true);
});
