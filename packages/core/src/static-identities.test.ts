import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticate } from "./access.ts";
import { staticIdentities } from "./static-identities.ts";

const fingerprint = `ed25519:${"a".repeat(64)}`;
const laptop = { peerId: "laptop", fingerprints: [fingerprint], enabled: true };

test("replace() moves a right from a peer into its role, and ends nothing", () => {
  using identities = staticIdentities([{ ...laptop, scopes: ["ssh:shell"] }]);
  using auth = authenticate(identities, { kind: "fingerprint", fingerprint });
  using grant = auth.grant("ssh:shell");
  const roles = new Map([["dev", ["ssh:shell"]]]);
  const none = { connections: 0, grants: 0 };
  assert.deepEqual(identities.replace([{ ...laptop, scopes: ["@dev"] }], [], roles), none);
  // And back, with the role gone in the same edit.
  const scopes = ["ssh:shell"];
  assert.deepEqual(identities.replace([{ ...laptop, scopes }], [], new Map()), none);
  assert.equal(grant.signal.aborted, false);
  const cut = identities.replace([{ ...laptop, scopes: ["@dev"] }]);
  assert.deepEqual(cut, { connections: 0, grants: 1 });
  assert.equal(grant.signal.aborted, true);
});

test("replace() that cannot hold leaves peers and roles as they were", () => {
  const roles = new Map([["dev", ["ssh:shell"]]]);
  using identities = staticIdentities([{ ...laptop, scopes: ["@dev"] }], { roles });
  const twice = [laptop, { ...laptop, peerId: "other" }].map((it) => ({ ...it, scopes: ["@dev"] }));
  assert.throws(() => identities.replace(twice, [], new Map()), { code: "DUPLICATE_FINGERPRINT" });
  assert.deepEqual(identities.resolveFingerprint(fingerprint)?.scopes, ["ssh:shell"]);
  identities.replace([{ ...laptop, scopes: ["@dev", "git:read"] }]);
  assert.deepEqual(identities.resolveFingerprint(fingerprint)?.scopes, ["ssh:shell", "git:read"]);
});
