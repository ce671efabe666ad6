/**
 * A port for a program that cannot be told to find one by itself.
 *
 * @module
 */

import { createServer } from "node:net";

/**
 * A TCP port of 127.0.0.1 that nobody listens on now.
 *
 * Another may take it before its user does: then that one fails, and says so.
 */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });
}
