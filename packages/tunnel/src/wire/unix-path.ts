/**
 * Paths of Unix sockets as they travel.
 *
 * Pure: no I/O.
 *
 * @module
 */

/** Longest path that the kernel takes, in bytes of UTF-8 (`sun_path` with its final zero). */
export const MAX_UNIX_PATH: number = 107;

/**
 * Check the path of a Unix socket: absolute, without a zero byte, at most {@linkcode MAX_UNIX_PATH} bytes. A longer
 * one would be cut by the system, and lead to another socket.
 *
 * @throws {SyntaxError} if it is none; the message quotes it.
 */
export function parseUnixPath(path: string): string {
  const fits = path.isWellFormed() && Buffer.byteLength(path) <= MAX_UNIX_PATH;
  if (path.startsWith("/") && fits && !path.includes("\0")) return path;
  throw new SyntaxError(
    `cannot parse path ${JSON.stringify(path.slice(0, 120))}: expected an absolute path of at most ${MAX_UNIX_PATH} bytes`,
  );
}
