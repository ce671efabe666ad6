import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionEnv } from "./connection-env.ts";

test("connectionEnv() has both ends as sshd writes them, and says of this one what sshd says without knowing", () => {
  assert.deepEqual(
    connectionEnv({ remoteAddress: "[2001:db8::1]:50000", localAddress: "[::1]:2222" }),
    {
      SSH_CLIENT: "2001:db8::1 50000 2222",
      SSH_CONNECTION: "2001:db8::1 50000 ::1 2222",
    },
  );
  assert.deepEqual(connectionEnv({ remoteAddress: "192.0.2.1:50000", localAddress: undefined }), {
    SSH_CLIENT: "192.0.2.1 50000 65535",
    SSH_CONNECTION: "192.0.2.1 50000 UNKNOWN 65535",
  });
});

test("connectionEnv() has nothing of a connection that comes from nowhere", () => {
  for (const remoteAddress of [undefined, "", "memory", "/run/alknet.sock"]) {
    assert.deepEqual(connectionEnv({ remoteAddress, localAddress: "127.0.0.1:2222" }), {});
  }
});
