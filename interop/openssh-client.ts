/**
 * Stock OpenSSH against a server of ours: keys, known hosts and a folder of its own; nothing of the user's is read.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { staticIdentities, type StaticIdentities } from "@alknet/core/static-identities";
import { ownAccount } from "@alknet/ssh/account";
import {
  ssh,
  type SshHandler,
  type SshOptions,
  type SshRefusal,
  type StreamOrigin,
} from "@alknet/ssh/ssh";
import type { SshLimits } from "@alknet/ssh/ssh-settings";
import { follow, type Program } from "./program.ts";

/** A server on loopback, and a peer `laptop` who has the key that `run` logs in with. */
export interface OpenSsh extends AsyncDisposable {
  readonly server: SshHandler;
  /** On 127.0.0.1. */
  readonly port: number;
  readonly identities: StaticIdentities;
  readonly refused: readonly SshRefusal[];
  /** A path in the folder that goes with it. */
  at(name: string): string;
  /** Give the peer these rights and login names, and no others. */
  allow(scopes: readonly string[], users?: readonly string[]): void;
  /** Start `ssh` with these words: options, then the command. It logs in as `me` unless they say `-o User=…`. */
  run(options: readonly string[], ...command: string[]): SshProgram;
  /** What `run` starts, for who starts it otherwise. */
  words(options: readonly string[], ...command: string[]): readonly [string, ...string[]];
}

export interface SshProgram extends Program {
  write(text: string): void;
  end(): void;
  /** SHA-256 of all that came on stdout so far, in hex. */
  sum(): string;
}

export type OpenSshOptions = Partial<SshOptions> & Pick<StreamOrigin, "draining">;

export async function startOpenSsh(
  scopes: readonly string[],
  limits: SshLimits = {},
  { draining, ...options }: OpenSshOptions = {},
): Promise<OpenSsh> {
  const folder = mkdtempSync(join(tmpdir(), "alknet-ssh-"));
  const at = (name: string): string => join(folder, name);
  for (const name of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)]);
  }
  const { fingerprint } = parseSshPublicKey(readFileSync(at("user.pub"), "utf8").trim());
  const laptop = (rights: readonly string[], users?: readonly string[]) => {
    const resources = users === undefined ? undefined : { user: users };
    const peer = { peerId: "laptop", fingerprints: [fingerprint], scopes: rights, resources };
    return [{ ...peer, enabled: true }];
  };
  const identities = staticIdentities(laptop(scopes));
  const refused: SshRefusal[] = [];
  const server = ssh({
    hostKey: readFileSync(at("host"), "utf8"),
    // The tests may run as root, whom no peer is by default.
    accounts: () => ({ ...ownAccount(), shell: "/bin/sh", home: folder }),
    limits,
    onrefused: (each) => refused.push(each),
    ...options,
  });
  const listener = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const remoteAddress = `127.0.0.1:${socket.remotePort}`;
    const localAddress = `127.0.0.1:${socket.localPort}`;
    void server.serve(socket, { identities, remoteAddress, localAddress, draining });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  writeFileSync(at("known"), `[127.0.0.1]:${port} ${readFileSync(at("host.pub"), "utf8")}`);

  const running = new Set<Program>();
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  const settings = [
    ...["-F", "none", "-p", String(port)],
    ...set("UserKnownHostsFile", at("known")),
    ...set("GlobalKnownHostsFile", "none"),
    ...set("StrictHostKeyChecking", "yes"),
    ...set("IdentityAgent", "none"),
    ...set("BatchMode", "yes"),
    ...set("IdentitiesOnly", "yes"),
    ...set("IdentityFile", at("user")),
    ...set("User", "me"),
  ];
  const words: OpenSsh["words"] = (options, ...command) => [
    ...(["ssh", ...options, ...settings, "127.0.0.1", ...command] as const),
  ];
  return {
    server,
    port,
    identities,
    refused,
    at,
    words,
    allow: (rights, users) => void identities.replace(laptop(rights, users)),
    run(options, ...command) {
      const [file, ...args] = words(options, ...command);
      const child = spawn(file, args, { stdio: "pipe" });
      child.stdin.on("error", () => {});
      const program = follow(child, "ssh");
      running.add(program);
      void program.ended.then(() => running.delete(program));
      const hash = createHash("sha256");
      child.stdout.on("data", (text: string) => hash.update(text));
      return Object.assign(program, {
        sum: () => hash.copy().digest("hex"),
        write: (text: string) => void child.stdin.write(text),
        end: () => void child.stdin.end(),
      });
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...running].map((program) => program.stop()));
      await new Promise((resolve) => listener.close(resolve));
      identities[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
