import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_SSH } from "@alknet/core/config";
import { ssh } from "@alknet/ssh/ssh";
import { DEFAULT_ACCEPT_ENV, DEFAULT_SSH_LIMITS, settingsOf } from "@alknet/ssh/ssh-settings";
import { hostKeyOf } from "./host-key.ts";
import { sshService } from "./ssh-service.ts";

const hostKey = hostKeyOf(new Uint8Array(32).fill(1)).file;

test("sshService() looks like the handler that it loads", () => {
  const { handler } = sshService({ hostKey });
  const { alpns, access, tls, transports } = ssh({ hostKey });
  assert.deepEqual(
    { ...handler, handle: undefined, transports: handler.transports },
    { alpns, access, tls, transports, handle: undefined },
  );
});

test("the defaults of [ssh] are those of the handler", () => {
  assert.deepEqual(DEFAULT_SSH.acceptEnv, DEFAULT_ACCEPT_ENV);
  assert.deepEqual(settingsOf(DEFAULT_SSH).limits, DEFAULT_SSH_LIMITS);
});
