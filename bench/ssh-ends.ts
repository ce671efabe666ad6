/**
 * Both servers of the SSH benches, and clients of ours that are logged in on them.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { systemClock } from "@alknet/core/clock";
import { ALGORITHMS, extendSshClient } from "@alknet/ssh/ssh2-extension/extend";
import ssh2 from "ssh2";
import { startSshServer } from "../interop/ssh-server.ts";
import { CANNOT_MAKE_ACCOUNTS, makeAccount } from "../interop/system-account.ts";
import { startNode } from "./worker.ts";

const WORKER = new URL("ssh-worker.ts", import.meta.url);

export interface SshEnds extends AsyncDisposable {
  /** Ports on 127.0.0.1. */
  readonly ours: number;
  readonly theirs: number;
  /** Log in. Whoever asks ends the client. */
  connect(port: number): Promise<ssh2.Client>;
}

/**
 * Start our server and OpenSSH's, with keys of their own. Commands run in an account that is made for it, if root runs
 * this: what is in somebody's own `.bashrc` can take longer than all the rest.
 */
export async function startSshEnds(): Promise<SshEnds> {
  await using made = new AsyncDisposableStack();
  const account = CANNOT_MAKE_ACCOUNTS === false ? made.use(makeAccount()) : undefined;
  const username = account?.name ?? userInfo().username;
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  for (const name of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)]);
  }
  if (account !== undefined) {
    mkdirSync(join(account.home, ".ssh"));
    copyFileSync(at("user.pub"), join(account.home, ".ssh/authorized_keys"));
    // sshd lets nobody in whose account is locked.
    execFileSync("usermod", ["--password", "*", username]);
  }
  const ours = made.use(
    await startNode(WORKER, [at("host"), at("user.pub"), "127.0.0.1", username]),
  );
  const theirs = made.use(await startSshServer([readFileSync(at("user.pub"), "utf8").trim()]));
  const privateKey = readFileSync(at("user"), "utf8");
  const all = made.move();
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
        username,
        algorithms: ALGORITHMS as ssh2.Algorithms,
        // Both were started here, just now.
        hostVerifier: () => true,
      });
      extendSshClient(client, { clock: systemClock, channels: 64 });
      await once(client, "ready");
      return client;
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Run a command in a session of its own, to its end. @returns its status. */
export function runToEnd(client: ssh2.Client, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error);
      let status: number | undefined;
      // At once: it may be in hand already.
      channel.once("exit", (code: number) => (status = code));
      channel.once("close", () => {
        if (status === undefined) reject(new Error("no status has come"));
        else resolve(status);
      });
      channel.resume();
    });
  });
}
