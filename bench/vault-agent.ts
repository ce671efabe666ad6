/**
 * `vault-agent`: a signature over the SSH agent's socket: its time, one after the other, and how many with 8 clients.
 *
 * The agent is the real program, and real `ssh-agent` stands beside it with a key of the same kind. The request is
 * that of a login, of which this process makes no more than bytes.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sshKeyPath } from "@alknet/vault/derivation-path";
import { opensshPrivateKeyFile, sshPublicKeyBlob } from "@alknet/vault/openssh-key";
import { createVault } from "@alknet/vault/vault";
import { sshString } from "@alknet/vault/wire/ssh-data";
import { vaultAgent } from "./alknet-cli.ts";
import { type Bench, compare, median, takeTurns } from "./harness.ts";
import { startWorker } from "./worker.ts";

/** What we want at most of one signature, in milliseconds, and at least of all of them together. */
const LIMIT = 0.5;
const RATE = 5_000;
const CLIENTS = 8;

export const bench: Bench = {
  async run(options) {
    const folder = mkdtempSync(join(tmpdir(), "alk-bench-"));
    try {
      return await measure(folder, options);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function measure(folder: string, options: Parameters<Bench["run"]>[0]) {
  using vault = createVault();
  vault.unlockSeed(new Uint8Array(64).fill(1));
  using key = vault.deriveEd25519(sshKeyPath());
  const request = loginRequest(key.publicKey);
  await using ours = await vaultAgent(folder);
  await using theirs = await opensshAgent(
    folder,
    opensshPrivateKeyFile(key.privateKey, key.publicKey, "bench"),
  );
  const count = options.quick ? 2_000 : 10_000;
  const one = (socket: string) => () => signOneByOne(socket, request, count / 4);
  const many = (socket: string) => () => signTogether(socket, request, count);
  // What is compiled once.
  for (const { ready } of [ours, theirs]) await many(ready)();
  const rounds = options.quick ? 5 : 9;
  const times = await takeTurns(
    rounds,
    { ours: one(ours.ready), "ssh-agent": one(theirs.ready) },
    options,
  );
  const rates = await takeTurns(
    rounds,
    { ours: many(ours.ready), "ssh-agent": many(theirs.ready) },
    options,
  );
  const limits = (of: readonly number[], limit: number): number[] => of.map(() => limit);
  const [time, rate] = [
    { unit: "ms", better: "lower" },
    { unit: "signatures/s", better: "higher" },
  ] as const;
  const limit = { peerName: "limit", goal: 1 };
  const openssh = { peerName: "ssh-agent" };
  return {
    main: compare("vault-agent", times.ours, limits(times.ours, LIMIT), { ...time, ...limit }),
    variants: [
      compare(`vault-agent ${CLIENTS} clients`, rates.ours, limits(rates.ours, RATE), {
        ...rate,
        ...limit,
      }),
      compare("vault-agent", times.ours, times["ssh-agent"], { ...time, ...openssh }),
      compare(`vault-agent ${CLIENTS} clients`, rates.ours, rates["ssh-agent"], {
        ...rate,
        ...openssh,
      }),
    ],
  };
}

async function opensshAgent(folder: string, privateKey: Uint8Array) {
  const [socket, file] = [join(folder, "openssh.sock"), join(folder, "key")];
  writeFileSync(file, privateKey, { mode: 0o600 });
  const agent = await startWorker("ssh-agent", ["-D", "-a", socket], {
    isReady: (line) => (line.startsWith("SSH_AUTH_SOCK=") ? socket : undefined),
  });
  execFileSync("ssh-add", ["-q", file], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
  return agent;
}

/** A login of a user (RFC 4252 §7) to be signed, as a message to an agent. */
function loginRequest(publicKey: Uint8Array): Buffer {
  const blob = sshPublicKeyBlob(publicKey);
  const login = Buffer.concat([
    sshString(Buffer.alloc(32, 7)),
    Buffer.of(50),
    ...["ann", "ssh-connection", "publickey"].map(sshString),
    Buffer.of(1),
    ...["ssh-ed25519", blob].map(sshString),
  ]);
  return sshString(
    Buffer.concat([Buffer.of(13), sshString(blob), sshString(login), Buffer.alloc(4)]),
  );
}

/** @returns the median of their times, in milliseconds. */
async function signOneByOne(socket: string, request: Buffer, count: number): Promise<number> {
  const client = await open(socket);
  const times: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const begin = performance.now();
    await sign(client, request);
    times.push(performance.now() - begin);
  }
  client.destroy();
  return median(times);
}

/** @returns signatures a second, of all clients together. */
async function signTogether(socket: string, request: Buffer, count: number): Promise<number> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => open(socket)));
  const begin = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      for (let left = count / CLIENTS; left > 0; left -= 1) await sign(client, request);
    }),
  );
  const seconds = (performance.now() - begin) / 1_000;
  for (const client of clients) client.destroy();
  return count / seconds;
}

async function open(socket: string): Promise<Socket> {
  const client = connect(socket);
  await once(client, "connect");
  return client;
}

/** Length of a signature's message: its number, and the signature behind two lengths. */
const ANSWER = 4 + 1 + 4 + 4 + 11 + 4 + 64;

function sign(client: Socket, request: Buffer): Promise<void> {
  client.write(request);
  return new Promise((resolve, reject) => {
    client.once("data", (answer: Buffer) => {
      if (answer.length === ANSWER) resolve();
      else reject(new Error(`expected a signature, got ${answer.toString("hex")}`));
    });
  });
}
