import assert from "node:assert/strict";
import { test } from "node:test";
import { DialError } from "@alknet/core/dial-error";
import { CommandError, ExitCode } from "./command-error.ts";
import { isLasting } from "./ssh-retry.ts";

test("a node that takes no connection now, or is not reached, may do so later; a no stays", () => {
  assert.equal(isLasting(new DialError("REFUSED", "not now", { final: true })), false);
  assert.equal(isLasting(new DialError("UNREACHABLE", "nobody")), false);
  assert.equal(isLasting(new DialError("UNKNOWN_ALPN", "no SSH there", { final: true })), true);
  assert.equal(isLasting(new CommandError("no", { exitCode: ExitCode.NOT_ALLOWED })), true);
  assert.equal(isLasting(new CommandError("away", { exitCode: ExitCode.NOT_CONNECTED })), false);
});
