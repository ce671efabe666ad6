import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { proxyGate } from "./proxy-gate.ts";

const login = { user: "me", password: "secret" };

test("proxyGate() lets everybody in where no login is wanted", async () => {
  const gate = proxyGate(undefined, new FakeClock());
  assert.equal(gate.isClosed, false);
  assert.equal(await gate.check(Buffer.from("anybody")), true);
});

test("proxyGate() answers the right login at once, and a wrong one after a second", async () => {
  const clock = new FakeClock();
  const gate = proxyGate(login, clock);
  assert.equal(await gate.check(Buffer.from("me:secret")), true);
  let answer: boolean | undefined;
  void gate.check(Buffer.from("me:guess")).then((known) => (answer = known));
  clock.advance(999);
  await new Promise(setImmediate);
  assert.equal(answer, undefined);
  clock.advance(1);
  await new Promise(setImmediate);
  assert.equal(answer, false);
});

test("proxyGate() takes no more guesses than sixteen in a second, over however many connections", async () => {
  const clock = new FakeClock();
  const gate = proxyGate(login, clock);
  const guesses = Array.from({ length: 16 }, () => gate.check(Buffer.from("me:guess")));
  assert.equal(await gate.check(Buffer.from("me:secret")), false);
  clock.advance(1_000);
  await Promise.all(guesses);
  assert.equal(await gate.check(Buffer.from("me:secret")), true);
});

test("proxyGate() refuses a login that a protocol could not send", () => {
  const clock = new FakeClock();
  for (const wrong of [
    { user: "", password: "x" },
    { user: "me", password: "" },
    { user: "a:b", password: "x" },
    { user: "ü".repeat(128), password: "x" },
  ]) {
    assert.throws(() => proxyGate(wrong, clock), RangeError);
  }
});
