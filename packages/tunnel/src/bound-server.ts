/**
 * Servers as listeners for peers need them: one address, or one Unix socket that is ours alone.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  statSync,
  unlinkSync,
} from "node:fs";
import {
  type AddressInfo,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { MAX_UNIX_PATH } from "./wire/unix-path.ts";

/** A server that listens. */
export interface BoundServer {
  /** The port that was got; 0 for a Unix socket. */
  readonly port: number;
  /**
   * Take no new connections; those that stand go on. Idempotent, and never throws: it is called where nobody would
   * hear of it.
   *
   * @returns why the file of a Unix socket stays.
   */
  close(): Error | undefined;
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
  const { port: got } = server.address() as AddressInfo;
  return {
    port: got,
    close() {
      server.close();
      return undefined;
    },
  };
}

/**
 * Listen on a Unix socket of mode 0600, at `path`, which is absolute.
 *
 * What is there already stays, whatever it is: `EADDRINUSE`. At the end only our own socket is removed.
 *
 * It is made under a name of its own and then linked to its place: neither the file mode of a moment, nor what
 * libuv does at the end (it removes whatever has the name that was bound) can touch what is another's. The folder is the
 * one that it was at first, also at the end, whatever its owner puts in its place meanwhile; as far as the system can.
 *
 * @param isReal no link may be on the way to the folder: `ENOENT` where one has come there.
 */
export async function bindUnix(
  path: string,
  accept: Accept,
  isReal: boolean = false,
): Promise<BoundServer> {
  if (Buffer.byteLength(path) > MAX_UNIX_PATH) throw tooLong();
  const folder = holdFolder(dirname(path), isReal);
  try {
    return await bindWithin(folder, basename(path), accept);
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}

async function bindWithin(folder: HeldFolder, name: string, accept: Accept): Promise<BoundServer> {
  const made = join(folder.path, `.${randomBytes(6).toString("hex")}`);
  const place = join(folder.path, name);
  if (Buffer.byteLength(made) > MAX_UNIX_PATH) throw tooLong();
  const server = await started({ path: made }, accept);
  let ours: string;
  try {
    linkSync(made, place);
    ours = whatIsAt(place);
    unlinkSync(made);
  } catch (error) {
    server.close();
    const { code } = error as NodeJS.ErrnoException;
    throw code === "EEXIST" ? Object.assign(error as Error, { code: "EADDRINUSE" }) : error;
  }
  let open = true;
  return {
    port: 0,
    close() {
      if (!open) return undefined;
      open = false;
      // Which removes what has the first name, at once.
      server.close();
      try {
        using _held = folder;
        if (whatIsAt(place) === ours) unlinkSync(place);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  };
}

interface HeldFolder extends Disposable {
  /** Leads to the folder as it was when it was looked up. */
  readonly path: string;
}

/** open(2): a descriptor that stands for a folder, and reads nothing of it. Node has no name for it. */
const O_PATH = 0o10000000;

function holdFolder(path: string, isReal: boolean): HeldFolder {
  // libuv says EACCES where there is no such folder.
  statSync(path);
  if (process.platform !== "linux") return { path, [Symbol.dispose]() {} };
  const descriptor = openSync(path, O_PATH | constants.O_DIRECTORY);
  const held = `/proc/self/fd/${descriptor}`;
  if (isReal && readlinkSync(held) !== path) {
    closeSync(descriptor);
    throw Object.assign(new Error("the folder has just been replaced"), { code: "ENOENT" });
  }
  return { path: held, [Symbol.dispose]: () => closeSync(descriptor) };
}

function tooLong(): Error {
  const text = `cannot listen: path of more than ${MAX_UNIX_PATH} bytes`;
  return Object.assign(new Error(text), { code: "ENAMETOOLONG" });
}

function started(options: ListenOptions, accept: Accept): Promise<Server> {
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
    const listening = (): void => {
      server.off("error", reject);
      // Accepting failed for want of descriptors: the next one may do.
      server.on("error", () => {});
      resolve(server);
    };
    // A path is bound at once. Not `chmod` afterwards: who owns the folder may have put a link there.
    const mask = options.path === undefined ? undefined : process.umask(0o177);
    try {
      server.listen({ ...options, backlog: 1_024 }, listening);
    } finally {
      if (mask !== undefined) process.umask(mask);
    }
  });
}

/** The same text as long as it is the same file. */
function whatIsAt(path: string): string {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.dev} ${stat.ino}`;
}
