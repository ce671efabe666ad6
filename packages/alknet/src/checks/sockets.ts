/**
 * Checks of this machine's network: can the ports be had, and is there room for UDP.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import type { Finding } from "./finding.ts";

/** Whether both ports of `listen` can be bound, here and now. They are given back at once. */
export async function checkPort(listen: HostPort): Promise<Finding> {
  const check = "port";
  const where = formatHostPort(listen);
  const failures = (
    await Promise.all([
      bindTcp(listen).then((code) => (code === undefined ? [] : [{ name: "TCP", code }])),
      bindUdp(listen).then((code) => (code === undefined ? [] : [{ name: "UDP", code }])),
    ])
  ).flat();
  if (failures.length === 0) {
    return { check, state: "ok", text: `${where} can be had, UDP and TCP` };
  }
  const names = failures.map(({ name }) => name).join(" and ");
  const codes = new Set(failures.map(({ code }) => code));
  const text = `${where} cannot be had for ${names}: ${[...codes].join(", ")}`;
  return { check, state: "problem", text, fix: fixFor([...codes][0]!, listen) };
}

function fixFor(code: string, { port }: HostPort): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return `see who has it: sudo ss -lntup 'sport = :${port}'; or set another port in alknet.toml: listen = ["[::]:${port + 1 > 65_535 ? 7433 : port + 1}"]`;
    case "EACCES":
      return `ports below 1024 need rights: sudo sysctl net.ipv4.ip_unprivileged_port_start=${port}`;
    case "EADDRNOTAVAIL":
      return "that address is not one of this machine: see ip addr, then correct listen in alknet.toml";
    case "EAFNOSUPPORT":
      return `this machine has no IPv6: set listen = ["0.0.0.0:${port}"] in alknet.toml`;
    default:
      return undefined;
  }
}

/** @returns the system's error code, or `undefined` when it could be had. */
function bindTcp({ host, port }: HostPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port }, () => server.close(() => resolve(undefined)));
  });
}

function bindUdp({ host, port }: HostPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      resolve(error.code ?? error.message);
    });
    socket.bind(port, host, () => socket.close(() => resolve(undefined)));
  });
}

/** What the engine asks of the kernel for each direction, in bytes: 512 MiB over loopback lost nothing. */
const WANTED = 4 * 2 ** 20;

/**
 * Whether the kernel grants buffers that hold what comes while the program is busy. Linux only.
 *
 * @param read reads a file of /proc, or throws.
 */
export function checkUdpBuffers(read: (path: string) => string = readText): Finding | undefined {
  const limits: { name: string; value: number }[] = [];
  for (const name of ["rmem_max", "wmem_max"]) {
    try {
      limits.push({ name, value: Number(read(`/proc/sys/net/core/${name}`)) });
    } catch {
      // Another system, or a container that hides it.
      return undefined;
    }
  }
  const check = "UDP buffers";
  const small = limits.filter(({ value }) => value < WANTED);
  if (small.length === 0) return { check, state: "ok", text: "4 MiB each way" };
  const list = small.map(({ name, value }) => `net.core.${name} = ${value}`).join(", ");
  const settings = small.map(({ name }) => `net.core.${name}=${WANTED}`).join(" ");
  const lines = small.map(({ name }) => `net.core.${name}=${WANTED}`).join("\\n");
  return {
    check,
    state: "warning",
    text: `${list}: packets are lost at high rates`,
    fix: `sudo sysctl -w ${settings}; to keep it: printf '${lines}\\n' | sudo tee /etc/sysctl.d/60-alknet.conf`,
  };
}

function readText(path: string): string {
  return readFileSync(path, "utf8");
}
