/**
 * Connect to a Unix socket for a peer.
 *
 * @module
 */

import { open, readlink } from "node:fs/promises";
import { connect } from "node:net";
import process from "node:process";
import { AccessDenied, type AuthContext } from "@alknet/core/access";
import { notAllowed, ownSocket, refusedFor } from "./connect-failure.ts";
import { type Connected, whenConnected } from "./connect.ts";
import { followLinks } from "./follow-links.ts";
import { FlowRefused } from "./refused.ts";
import { stopWith } from "./stop.ts";
import { MAX_UNIX_PATH } from "./wire/unix-path.ts";

/**
 * Connect to the socket at `path` with the rights of `auth`: `tunnel:dial:unix:<path>`, and where another user's links
 * lead to it, for where it really is.
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
  let grant = granted(auth, path);
  try {
    // Node cuts a longer one, and would connect to another socket.
    if (Buffer.byteLength(path) > MAX_UNIX_PATH) {
      throw new FlowRefused("host-not-found", `${path}: longer than ${MAX_UNIX_PATH} bytes`);
    }
    const { real, isForeign } = await followLinks(path);
    if (isForeign) {
      const ofReal = granted(auth, real);
      grant[Symbol.dispose]();
      grant = ofReal;
    }
    await using held = await holdFile(real);
    if (await isOwnPath(held.path)) throw ownSocket(path);
    const start = () => connect({ path: held.path, allowHalfOpen: true });
    using attempt = stopWith(signal, grant.signal);
    return { socket: await whenConnected(start, attempt.signal), grant };
  } catch (error) {
    grant[Symbol.dispose]();
    signal.throwIfAborted();
    throw refusedFor(error, path);
  }
}

/** open(2): a descriptor that stands for a file, and opens nothing of it. Node has no name for it. */
const O_PATH = 0o10000000;

/** A path that leads to the file at `real` as it is now, whatever is put in its place; as far as the system can. */
async function holdFile(real: string): Promise<AsyncDisposable & { readonly path: string }> {
  if (process.platform !== "linux") return { path: real, async [Symbol.asyncDispose]() {} };
  const file = await open(real, O_PATH);
  const path = `/proc/self/fd/${file.fd}`;
  const held = { path, [Symbol.asyncDispose]: () => file.close() };
  if ((await readlink(path)) === real) return held;
  await file.close();
  // A link has taken the place of what was looked at.
  throw Object.assign(new Error("it has just been replaced"), { code: "ENOENT" });
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
