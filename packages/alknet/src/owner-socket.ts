/**
 * Unix sockets for the owner of the folder alone: `run/` is 0700, and both sides check that it is.
 *
 * On Windows they are named pipes, in no folder.
 *
 * @module
 */

import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { privateFolder } from "@alknet/core/home";
import { CommandError } from "./command-error.ts";
import { withWipedReads } from "./wiped-reads.ts";

export interface OwnerSocket {
  /** The folder of the socket. */
  readonly run: string;
  readonly socket: string;
}

export interface ServeOptions {
  /** Clients at once. With one more, the one that came first is cut off: it had its time. */
  readonly maxClients: number;
  /** What to throw if somebody serves there already. */
  readonly taken: () => Error;
}

/**
 * Serve clients at `path`; their streams are half-open, and their chunks `serve`'s to wipe. Disposing cuts them off, and
 * removes the socket.
 *
 * @throws what `taken` returns, if somebody answers there.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function serveOwner(
  { run, socket: path }: OwnerSocket,
  serve: (client: Socket) => void,
  { maxClients, taken }: ServeOptions,
): Promise<AsyncDisposable> {
  const pipe = isPipe(path);
  if (!pipe) privateFolder(run);
  let left: string;
  do {
    left = whatIsAt(path);
    if (await answersAt(path)) throw taken();
    // Another one may have begun to serve there meanwhile.
  } while (whatIsAt(path) !== left);
  // Nobody serves there: what a process that was killed has left. From here to listen() nothing waits.
  if (!pipe) rmSync(path, { force: true });

  const live = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const client = withWipedReads(accepted);
    const [first] = live;
    if (first !== undefined && live.size >= maxClients) {
      first.destroy();
      // It is closed later than others of the same moment come.
      live.delete(first);
    }
    live.add(client);
    client.on("error", () => {});
    client.once("close", () => live.delete(client));
    serve(client);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
  if (!pipe) chmodSync(path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of live) client.destroy();
      await closed;
    },
  };
}

/**
 * See that nobody else serves at `path`: somebody else's socket would tell us what its owner likes.
 *
 * @throws {CommandError} `FOLDER_PERMISSIONS`
 * @throws what `missing` returns, if there is none.
 */
export function checkOwner({ run, socket: path }: OwnerSocket, missing: () => Error): void {
  if (process.getuid === undefined) return;
  const folder = lstatSync(run, { throwIfNoEntry: false });
  const socket = lstatSync(path, { throwIfNoEntry: false });
  if (folder === undefined || socket === undefined) throw missing();
  const uid = process.getuid();
  if (!folder.isDirectory() || folder.uid !== uid || (folder.mode & 0o077) !== 0) {
    throw new CommandError(`cannot trust ${run}: expected a folder of ours alone, mode 0700`, {
      code: "FOLDER_PERMISSIONS",
      hint: `chmod 700 ${run}`,
    });
  }
  if (!socket.isSocket() || socket.uid !== uid) {
    throw new CommandError(`cannot trust ${path}: expected a socket of ours`, {
      code: "FOLDER_PERMISSIONS",
    });
  }
}

/** Whether what a client got means that nobody serves there. */
export function isNobody(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ECONNREFUSED";
}

/** Whether it is a named pipe of Windows, which is in no folder. */
export function isPipe(path: string): boolean {
  return path.startsWith("\\\\");
}

/** The same text as long as it is the same file; a number alone is soon another's. */
function whatIsAt(path: string): string {
  if (isPipe(path)) return "";
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.dev} ${stat.ino} ${stat.ctimeNs}`;
}

/** Also by one that takes no more clients for now: whoever it is, it is there. */
function answersAt(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!isNobody(error)));
  });
}
