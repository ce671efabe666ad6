/**
 * `ssh-flows`: memory of our server for each of 1,000 connections that stock `ssh -L` holds open through it.
 *
 * Each has carried 64 KiB both ways. Held is what is left of heap and buffers after garbage was collected; resident
 * is what the system has given to the process.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, compare } from "./harness.ts";
import { killAtExit, startNode } from "./worker.ts";

const WORKER = new URL("ssh-flows-worker.ts", import.meta.url);
const FLOWS = 1_000;
/** Bytes for each flow that we allow ourselves. */
const LIMIT = 64 * 1024;
const SENT = 64 * 1024;

interface Stats {
  readonly held: number;
  readonly resident: number;
  readonly flows: number;
}

export const bench: Bench = {
  async run({ say }) {
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-flows-"));
    const at = (name: string): string => join(folder, name);
    // The end of the bench breaks them.
    const target = createServer((socket) => socket.on("error", () => {}).pipe(socket));
    target.listen(0, "127.0.0.1");
    await once(target, "listening");
    try {
      for (const name of ["host", "user"]) {
        execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)]);
      }
      await using server = await startNode(WORKER, [at("host"), at("user.pub")]);
      writeFileSync(
        at("known"),
        `[127.0.0.1]:${server.ready} ${readFileSync(at("host.pub"), "utf8")}`,
      );
      const { port } = target.address() as AddressInfo;
      const ssh = await forward(at, server.ready, port);
      const sockets: Socket[] = [];
      const open = async (count: number): Promise<void> => {
        for (let left = count; left > 0; left--) sockets.push(await exchange(at("socket")));
      };
      // Compiled, and with the tables grown, before anything is counted.
      await open(20);
      const before = await server.ask<Stats>("stats");
      await open(FLOWS);
      const after = await server.ask<Stats>("stats");
      say(`${after.flows} flows`);
      const perFlow = (name: "held" | "resident"): number =>
        Math.round((after[name] - before[name]) / FLOWS);
      ssh.kill();
      for (const socket of sockets) socket.destroy();
      return {
        main: compare("ssh-flows", [perFlow("held")], [LIMIT], {
          ...{ peerName: "the limit", unit: "bytes/flow", better: "lower", goal: 1 },
        }),
        facts: { resident_bytes_per_flow: perFlow("resident"), flows: after.flows },
      };
    } finally {
      target.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** `ssh -L` from a Unix socket, until it listens. */
async function forward(at: (name: string) => string, sshPort: string, port: number) {
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  const words = [
    ...["-F", "none", "-N", "-v", "-p", sshPort, "-i", at("user")],
    ...set("UserKnownHostsFile", at("known")),
    ...set("GlobalKnownHostsFile", "none"),
    ...set("IdentitiesOnly", "yes"),
    ...set("IdentityAgent", "none"),
    ...set("BatchMode", "yes"),
    ...["-L", `${at("socket")}:127.0.0.1:${port}`, "127.0.0.1"],
  ];
  const ssh = spawn("ssh", words, { stdio: ["ignore", "ignore", "pipe"] });
  killAtExit(ssh);
  let said = "";
  await new Promise<void>((resolve, reject) => {
    ssh.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
      if (said.includes("Entering interactive session")) resolve();
    });
    ssh.once("close", () => reject(new Error(`ssh ended:\n${said}`)));
  });
  return ssh;
}

/** A connection that has had all back that it sent, and stays. */
async function exchange(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.write(Buffer.alloc(SENT));
  let got = 0;
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("end", () => reject(new Error("a flow ended early")));
    socket.on("data", (data: Buffer) => {
      got += data.length;
      if (got === SENT) resolve();
    });
  });
  socket.removeAllListeners();
  socket.on("error", () => {});
  return socket;
}
