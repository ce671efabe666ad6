/**
 * Servers as listeners for peers need them: one address, or one Unix socket that is ours alone.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { chmodSync, linkSync, lstatSync, statSync, unlinkSync } from "node:fs";
import {
  type AddressInfo,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { dirname, join } from "node:path";
import { MAX_UNIX_PATH } from "./wire/unix-path.ts";

/** A server that listens. */
export interface BoundServer {
  /** The port that was got; 0 for a Unix socket. */
  readonly port: number;
  /** Take no new connections; those that stand go on. Idempotent. */
  close(): void;
}

/** Takes each connection: paused, half-open allowed, without Nagle delay. */
type Accept = (socket: Socket) => void;

/**
 * Listen on one address. IPv6 means IPv6 only, the unspecified address too.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, …).
 *
 * @param port 0: the system picks one.
 */
export async function bindTcp(address: string, port: number, accept: Accept): Promise<BoundServer> {
  const server = await started({ host: address, port, ipv6Only: address.includes(":") }, accept);
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

/**
 * Listen on a Unix socket of mode 0600, at `path`, which is absolute.
 *
 * What is there already stays, whatever it is: `EADDRINUSE`. At the end only our own socket is removed.
 *
 * It is made under a name of its own and then linked to its place: neither the file mode of a moment, nor what
 * libuv does at the end (it removes whatever has the name that was bound) can touch what is another's.
 */
export async function bindUnix(path: string, accept: Accept): Promise<BoundServer> {
  const made = join(dirname(path), `.${randomBytes(6).toString("hex")}`);
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(made)) > MAX_UNIX_PATH) {
    throw Object.assign(new Error(`cannot listen: path of more than ${MAX_UNIX_PATH} bytes`), {
      code: "ENAMETOOLONG",
    });
  }
  // libuv says EACCES where there is no such folder.
  statSync(dirname(path));
  const server = await started({ path: made }, accept, () => chmodSync(made, 0o600));
  let ours: string;
  try {
    linkSync(made, path);
    ours = whatIsAt(path);
  } catch (error) {
    server.close();
    const { code } = error as NodeJS.ErrnoException;
    throw code === "EEXIST" ? Object.assign(error as Error, { code: "EADDRINUSE" }) : error;
  }
  unlinkSync(made);
  let open = true;
  return {
    port: 0,
    close() {
      if (!open) return;
      open = false;
      server.close();
      if (whatIsAt(path) === ours) unlinkSync(path);
    },
  };
}

function started(options: ListenOptions, accept: Accept, bound?: () => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    });
    server.on("connection", accept);
    server.once("error", reject);
    server.listen({ ...options, backlog: 1_024 }, () => {
      server.off("error", reject);
      // Accepting failed for want of descriptors: the next one may do.
      server.on("error", () => {});
      resolve(server);
    });
    // A path is bound at once: nobody can have come in between.
    if (server.listening) bound?.();
  });
}

/** The same text as long as it is the same file. */
function whatIsAt(path: string): string {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.dev} ${stat.ino}`;
}
