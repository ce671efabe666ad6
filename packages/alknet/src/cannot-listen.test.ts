import assert from "node:assert/strict";
import { test } from "node:test";
import { cannotListen } from "./cannot-listen.ts";

function failure(code: string, more: { readonly port?: number; readonly path?: string }): Error {
  return Object.assign(new Error(`listen ${code}: no 127.0.0.1`), { code, ...more });
}

test("cannotListen() says what lets a program listen at a low port, and else to choose another", () => {
  for (const [code, more, hint] of [
    ["EACCES", { port: 80 }, /sudo sysctl net\.ipv4\.ip_unprivileged_port_start=80$/],
    ["EACCES", { port: 8_080 }, /^choose another local port/],
    ["EADDRINUSE", { port: 80 }, /^choose another local port/],
    ["EACCES", { path: "/run/x.sock" }, /^choose another path/],
  ] as const) {
    const error = cannotListen(failure(code, more));
    assert.deepEqual([error.code, error.message], [code, `cannot listen: ${code}: no 127.0.0.1`]);
    assert.match(error.hint!, hint);
  }
});
