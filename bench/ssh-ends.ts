/**
 * Both servers of the SSH benches, and clients of ours that are logged in on them.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@alknet/core/clock";
import { ALGORITHMS, extendSshClient } from "@alknet/ssh/ssh2-extension";
import ssh2 from "ssh2";
import { startSshServer } from "../interop/ssh-server.ts";
import { startNode } from "./worker.ts";

const WORKER = new URL("ssh-worker.ts", import.meta.url);

export interface SshEnds extends AsyncDisposable {
  /** Ports on 127.0.0.1. */
  readonly ours: number;
  readonly theirs: number;
  /** Log in. Whoever asks ends the client. */
  connect(port: number): Promise<ssh2.Client>;
}

/** Start our server and OpenSSH's, with keys of their own. */
export async function startSshEnds(): Promise<SshEnds> {
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
  const at = (name: string): string => join(folder, name);
  for (const name of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)]);
  }
  const ours = await startNode(WORKER, [at("host"), at("user.pub")]);
  const theirs = await startSshServer([readFileSync(at("user.pub"), "utf8").trim()]);
  const privateKey = readFileSync(at("user"), "utf8");
  return {
    ours: Number(ours.ready),
    theirs: theirs.port,
    async connect(port) {
      const sock = connectTcp({ host: "127.0.0.1", port, noDelay: true });
      await once(sock, "connect");
      const client = new ssh2.Client();
      client.connect({
        sock,
        privateKey,
        username: process.env["USER"] ?? "root",
        algorithms: ALGORITHMS as ssh2.Algorithms,
        // Both were started here, just now.
        hostVerifier: () => true,
      });
      extendSshClient(client, { clock: systemClock, channels: 64 });
      await once(client, "ready");
      return client;
    },
    async [Symbol.asyncDispose]() {
      await ours[Symbol.asyncDispose]();
      await theirs[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Run a command in a session of its own. */
export function exec(client: ssh2.Client, command: string): Promise<ssh2.ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) =>
      error === undefined ? resolve(channel) : reject(error),
    );
  });
}
