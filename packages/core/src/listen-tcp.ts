/**
 * Have a TCP server listen, and stop.
 *
 * @module
 */

import type net from "node:net";
import type { HostPort } from "./host.ts";

/**
 * @returns where it listens: the port, if it was to be any, is the one that the system chose.
 * @throws {Error} with the `code` of the system (`EADDRINUSE`, `EACCES`, …).
 */
export async function listenTcp(server: net.Server, { host, port }: HostPort): Promise<HostPort> {
  try {
    await listening(server, host, port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A machine without IPv6 has no "::"; there, all addresses are those of IPv4.
    if (host !== "::" || (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL")) throw error;
    await listening(server, "0.0.0.0", port);
  }
  const bound = server.address() as net.AddressInfo;
  return { host: bound.address, port: bound.port };
}

/** Once its last connection is gone. */
export async function closeServer(server: net.Server): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

async function listening(server: net.Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onlistening = (): void => {
      server.off("error", onerror);
      // A later one (out of descriptors) is over with the connection that it kept from being accepted.
      server.on("error", () => {});
      resolve();
    };
    const onerror = (error: Error): void => {
      server.off("listening", onlistening);
      reject(error);
    };
    server.once("listening", onlistening);
    server.once("error", onerror);
    server.listen({ host, port, backlog: 1_024 });
  });
}
