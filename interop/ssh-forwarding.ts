/**
 * What the tests of SSH's forwarding share: a server that forwards, a client that holds forwards open, and targets.
 *
 * @module
 */

import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import type { SshLimits } from "@alknet/ssh/ssh-settings";
import { inbound, type Inbound } from "@alknet/tunnel/inbound";
import { outbound, type Outbound, type OutboundOptions } from "@alknet/tunnel/outbound";
import {
  type OpenSsh,
  type OpenSshOptions,
  type SshProgram,
  startOpenSsh,
} from "./openssh-client.ts";

export interface Forwarding extends OpenSsh {
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  /** One connection that others share (`ControlMaster`), with these options, which runs nothing. */
  hold(...options: string[]): Promise<Held>;
  /** The words of a config file in which `host` is this server. @returns its path. */
  config(...hosts: string[]): string;
}

export interface Held extends AsyncDisposable {
  readonly master: SshProgram;
  /** Another session over it. */
  run(options: readonly string[], ...command: string[]): SshProgram;
}

export async function startForwarding(
  scopes: readonly string[],
  options: OutboundOptions & OpenSshOptions & { readonly ssh?: SshLimits } = {},
): Promise<Forwarding> {
  const ways = { outbound: outbound(options), inbound: inbound() };
  const { ssh: limits, limits: _ofOutbound, ...rest } = options;
  const it = await startOpenSsh(scopes, limits, { ...rest, ...ways });
  return {
    ...it,
    ...ways,
    async hold(...words) {
      const control = ["-S", it.at("control")];
      const master = it.run(["-v", "-M", "-N", ...words, ...control]);
      await master.waitFor(/Entering interactive session/);
      return {
        master,
        run: (more, ...command) => it.run([...more, ...control], ...command),
        [Symbol.asyncDispose]: () => master[Symbol.asyncDispose](),
      };
    },
    config(...hosts) {
      const path = it.at("config");
      const key = readFileSync(it.at("host.pub"), "utf8");
      writeFileSync(it.at("known"), `${hosts.join(",")},[127.0.0.1]:${it.port} ${key}`);
      const lines = [
        `Host ${hosts.join(" ")}`,
        ...["HostName 127.0.0.1", `Port ${it.port}`, "User me", "BatchMode yes"],
        ...[`IdentityFile ${it.at("user")}`, "IdentitiesOnly yes", "IdentityAgent none"],
        ...[`UserKnownHostsFile ${it.at("known")}`, "GlobalKnownHostsFile none"],
        ...["StrictHostKeyChecking yes", "CheckHostIP no"],
      ];
      writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
      return path;
    },
  };
}

export interface Target extends AsyncDisposable {
  readonly port: number;
  /** Connections that stand. */
  readonly sockets: ReadonlySet<Socket>;
}

/** A TCP server on 127.0.0.1, or on a Unix socket, which hands each connection to `serve`. */
export async function startTarget(serve: (socket: Socket) => void, path?: string): Promise<Target> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(path === undefined ? { host: "127.0.0.1", port: 0 } : { path });
  await once(server, "listening");
  return {
    port: path === undefined ? (server.address() as AddressInfo).port : 0,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** What comes goes back, and its end too. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** Connect to a Unix socket, or a port of 127.0.0.1; half-open. */
export async function reach(to: string | number): Promise<Socket> {
  const where = typeof to === "string" ? { path: to } : { host: "127.0.0.1", port: to };
  const socket = connect({ ...where, allowHalfOpen: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** What comes until the end. Unlike `buffer()` this leaves the other direction as it is. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on("data", (data: Buffer) => parts.push(data));
  await once(socket, "end");
  return Buffer.concat(parts);
}

/** Resolves when it is closed: with what broke it, or `undefined` if it came to its ends. */
export function closed(socket: Socket): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    let failed: NodeJS.ErrnoException | undefined;
    socket.once("error", (error) => (failed = error));
    socket.once("close", () => resolve(failed));
    socket.resume();
  });
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
