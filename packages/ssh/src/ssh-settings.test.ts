import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ACCEPT_ENV, DEFAULT_SSH_LIMITS, settingsOf } from "./ssh-settings.ts";

test("settingsOf() takes what is given, and defaults for all that is left out or undefined", () => {
  assert.deepEqual(settingsOf({}), { acceptEnv: DEFAULT_ACCEPT_ENV, limits: DEFAULT_SSH_LIMITS });
  const limits = { channels: undefined, attempts: 3 };
  assert.deepEqual(settingsOf({ acceptEnv: ["LANG"], limits }), {
    acceptEnv: ["LANG"],
    limits: { ...DEFAULT_SSH_LIMITS, attempts: 3 },
  });
});

test("settingsOf() lets a peer have the channels of one connection, unless it is given fewer", () => {
  const perPeer = (channels: number, channelsPerPeer?: number): number =>
    settingsOf({ limits: { channels, channelsPerPeer } }).limits.channelsPerPeer;
  assert.equal(perPeer(2), 4_096);
  assert.equal(perPeer(10_000), 10_000);
  assert.equal(perPeer(10_000, 9), 9);
});
