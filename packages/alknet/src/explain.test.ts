import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionClosed } from "@alknet/core/connection";
import { DialError } from "@alknet/core/dial-error";
import { CommandError, ExitCode } from "./command-error.ts";
import { exitCodeOf, explain } from "./explain.ts";

test("explain() takes a command's own word for it", () => {
  const own = { code: "X", hint: "do this", details: { at: 1 }, exitCode: ExitCode.USAGE };
  assert.deepEqual(explain(new CommandError("no", own)), { message: "no", ...own });
});

test("explain() tells who was refused what to have pasted on the other side", () => {
  const error = new ConnectionClosed({ by: "peer", code: 2, name: "UNAVAILABLE", reason: "" });
  const { exitCode, hint } = explain(error, "ed25519:aa");
  assert.equal(exitCode, ExitCode.NOT_ALLOWED);
  assert.match(hint!, /alknet peers add NAME ed25519:aa --grant SCOPE$/);
});

test("explain() gives each way not to connect exit code 4, and what was used wrongly 2", () => {
  for (const code of ["UNREACHABLE", "HANDSHAKE_TIMEOUT", "NAME_NOT_FOUND"] as const) {
    assert.equal(explain(new DialError(code, "no")).exitCode, ExitCode.NOT_CONNECTED);
  }
  assert.equal(explain(new DialError("PEER_UNKNOWN", "no")).exitCode, ExitCode.USAGE);
  assert.equal(explain(new DialError("UNREACHABLE", "no", { hint: "own" })).hint, "own");
});

test("explain() says what lets a program listen at a low port: at the one that was asked for", () => {
  const error = Object.assign(new Error("no"), { code: "EACCES", syscall: "listen", port: 80 });
  assert.match(explain(error).hint!, /ip_unprivileged_port_start=80$/);
});

test("explain() shows nothing that moves the cursor, and survives what is no error", () => {
  assert.equal(explain(new Error("a\u001b[2J")).message, "a\ufffd[2J");
  assert.equal(explain("thrown").message, "thrown");
});

test("explain() takes no code for one that it knows which every object has", () => {
  for (const code of ["constructor", "toString", "__proto__"]) {
    const { exitCode, hint } = explain(Object.assign(new Error("no"), { code }));
    assert.deepEqual({ exitCode, hint }, { exitCode: 1, hint: undefined });
    assert.equal(exitCodeOf(code), 1);
  }
});
