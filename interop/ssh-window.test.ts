/**
 * Receive windows as stock `ssh` is told of them: they grow beyond 2 MiB on a long line, over plain TCP and over QUIC, and
 * those of one connection have an end together.
 */

import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { makeLogin, ourServer } from "../bench/ssh-peer.ts";
import { openSshWan } from "../bench/ssh-wan-ends.ts";
import { openWan, type Wan } from "../bench/wan.ts";
import { follow } from "./program.ts";
import { startForwarding } from "./ssh-forwarding.ts";

const MiB = 2 ** 20;
/** `DEFAULT_WINDOWS` of `receive-window.ts`, in bytes. */
const [INITIAL, CHANNEL, CONNECTION] = [2 * MiB, 16 * MiB, 64 * MiB];
const LEAST = 64 * 1024;
const LINE = { roundTrip: 100, rate: 1e9, lossPpm: 0, congestion: "cubic", seed: 1 } as const;
const CHUNK = Buffer.alloc(64 * 1024);
/** What is sent, in bytes. */
const UPLOAD = 64 * MiB;

test("a channel's window grows beyond 2 MiB while ssh sends over 100 ms (plain TCP)", async () => {
  await using wan = await openWan(LINE);
  using login = makeLogin();
  const address = wan.farAddress;
  const asked = { userKey: `${login.key}.pub`, address, spawn: wan.spawnFar };
  await using server = await ourServer(asked);
  login.know(address, server);
  const to = `${userInfo().username}@${address}`;
  assertGrown(await upload(wan, ["ssh", "-T", ...login.words(server.port), to]));
});

test("a channel's window grows beyond 2 MiB while ssh sends over 100 ms (QUIC)", async () => {
  await using ends = await openSshWan(LINE);
  assertGrown(await upload(ends.wan, ends.proxied));
});

test("the windows of a connection are bounded together: beyond 64 MiB a channel gets 64 KiB", async () => {
  const full = CONNECTION / INITIAL;
  await using it = await startForwarding(["ssh:exec"]);
  await using held = await it.hold("-vv");
  for (let each = 0; each < full + 2; each++) {
    await held.run(["-T"], `echo session ${each}; read end`).waitFor(/^session/m);
  }
  const { windows } = told(held.master.stderr);
  assert.deepEqual(windows, [...Array(full).fill(INITIAL), LEAST, LEAST]);
});

/** Have `ssh` send to a program that reads all of it. @returns what it was told. */
async function upload(wan: Wan, [file = "", ...words]: readonly string[]): Promise<Told> {
  const stdio = ["pipe", "pipe", "pipe"] as const;
  const child = wan.spawnNear(file, [...words, "-vv", "wc -c"], { stdio: [...stdio] });
  await using program = follow(child, "ssh");
  async function* content(): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < UPLOAD; sent += CHUNK.length) yield CHUNK;
  }
  await pipeline(content, child.stdin!);
  const { status, stdout, stderr } = await program.ended;
  assert.equal(status, 0, stderr);
  assert.equal(Number(stdout), UPLOAD);
  return told(stderr);
}

/** What a server grants, as `ssh -vv` prints it, in bytes. */
interface Told {
  /** When channels are opened. */
  readonly windows: readonly number[];
  readonly adjustments: readonly number[];
}

function told(log: string): Told {
  const all = (pattern: RegExp): number[] =>
    [...log.matchAll(pattern)].map(([, bytes]) => Number(bytes));
  return {
    windows: all(/open confirm rwindow (\d+)/g),
    adjustments: all(/rcvd adjust (\d+)/g),
  };
}

/** A single adjustment is no more than the window holds. */
function assertGrown({ windows, adjustments }: Told): void {
  assert.deepEqual(windows, [INITIAL]);
  const largest = Math.max(...adjustments);
  assert.ok(largest > INITIAL && largest <= CHANNEL, `adjusted by ${adjustments.join(", ")}`);
}
