/**
 * Connect to a Unix socket for a peer.
 *
 * @module
 */

import { connect } from "node:net";
import { AccessDenied, type AuthContext } from "@alknet/core/access";
import { notAllowed, ownSocket, refusedFor } from "./connect-failure.ts";
import { type Connected, whenConnected } from "./connect.ts";
import { FlowRefused } from "./refused.ts";
import { MAX_UNIX_PATH } from "./wire/unix-path.ts";

/**
 * Connect to the socket at `path` with the rights of `auth`: `tunnel:dial:unix:<path>`.
 *
 * @param isOwnPath whether a path is the node's own, which no forward reaches.
 * @throws {FlowRefused} with the reason.
 * @throws the reason of `signal`, when that is what ended it.
 */
export async function connectUnix(
  auth: AuthContext,
  path: string,
  isOwnPath: (path: string) => Promise<boolean>,
  signal: AbortSignal,
): Promise<Connected> {
  const grant = granted(auth, path);
  try {
    // Node cuts a longer one, and would connect to another socket.
    if (Buffer.byteLength(path) > MAX_UNIX_PATH) {
      throw new FlowRefused("host-not-found", `${path}: longer than ${MAX_UNIX_PATH} bytes`);
    }
    if (await isOwnPath(path)) throw ownSocket(path);
    const start = () => connect({ path, allowHalfOpen: true });
    const attempt = AbortSignal.any([signal, grant.signal]);
    return { socket: await whenConnected(start, attempt), grant };
  } catch (error) {
    grant[Symbol.dispose]();
    signal.throwIfAborted();
    throw refusedFor(error, path);
  }
}

function granted(auth: AuthContext, path: string): Connected["grant"] {
  const resource = { unixPath: path };
  try {
    return auth.grant("tunnel:dial", resource);
  } catch (error) {
    throw error instanceof AccessDenied
      ? notAllowed(auth, resource, error)
      : refusedFor(error, path);
  }
}
