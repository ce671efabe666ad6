/**
 * Connect to a target for a peer by way of a proxy. Names are resolved there; so only rights that name them cover them.
 *
 * There is no way around it: what the proxy does not do is not done.
 *
 * @module
 */

import type { Socket } from "node:net";
import { AccessDenied, type AuthContext } from "@alknet/core/access";
import { ipToBytes, parseIp } from "@alknet/core/ip-address";
import { notAllowed, ownSocket, refusedFor } from "./connect-failure.ts";
import { type Connected, connectFirst, type Reach } from "./connect.ts";
import type { Target } from "./granted-addresses.ts";
import type { Proxy } from "./proxy.ts";
import { HeadMissing, readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { stopWith } from "./stop.ts";
import { formatTarget } from "./wire/host.ts";
import { decodeHttpAnswer, encodeHttpConnect } from "./wire/http-proxy.ts";
import type { Refusal } from "./wire/open.ts";
import {
  decodeConnectReply,
  decodeLoginReply,
  decodeMethod,
  encodeConnect,
  encodeGreeting,
  encodeLogin,
  ProxyError,
} from "./wire/socks5-client.ts";

/**
 * Connect to `target` through `proxy` with the rights of `auth`. Bytes of the target that came with the proxy's
 * answer are in the socket.
 *
 * @throws {FlowRefused} with the reason that tells most; none names the proxy or its password.
 * @throws the reason of `signal`, when that is what ended it.
 */
export async function connectByProxy(
  auth: AuthContext,
  target: Target,
  proxy: Proxy,
  reach: Reach,
  signal: AbortSignal,
): Promise<Connected> {
  const grant = granted(auth, target);
  try {
    if (reach.isOwn?.(target.host, target.port) === true) throw ownSocket(formatTarget(target));
    const timeout = reach.clock.timeout(reach.deadline);
    using attempt = stopWith(signal, grant.signal, timeout);
    const socket = await connectFirst(proxy, reach, attempt.signal);
    try {
      const ask = proxy.kind === "http" ? askHttp : askSocks;
      await ask(socket, proxy, target, attempt.signal);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return { socket, grant };
  } catch (error) {
    grant[Symbol.dispose]();
    signal.throwIfAborted();
    throw failureOf(error, target);
  }
}

function granted(auth: AuthContext, target: Target): Connected["grant"] {
  const resource = { host: target.host, port: target.port, elsewhere: true } as const;
  try {
    return auth.grant("tunnel:dial", resource);
  } catch (error) {
    throw error instanceof AccessDenied
      ? notAllowed(auth, resource, error)
      : refusedFor(error, formatTarget(target));
  }
}

/** RFC 1928 and 1929. */
async function askSocks(
  socket: Socket,
  { credentials }: Proxy,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  socket.write(encodeGreeting({ password: credentials !== undefined }));
  const method = (await readHead(socket, decodeMethod, signal)).value;
  if (method === "password" && credentials !== undefined) {
    const { user, password } = credentials();
    socket.write(encodeLogin(user, password));
    if (!(await readHead(socket, decodeLoginReply, signal)).value) {
      throw new ProxyError("the proxy does not accept the user and password");
    }
  } else if (method !== "none") {
    throw new ProxyError("the proxy asks for a login that it was not given");
  }
  const address = parseIp(target.host);
  socket.write(
    encodeConnect(address === undefined ? target.host : ipToBytes(address), target.port),
  );
  const code = (await readHead(socket, decodeConnectReply, signal)).value;
  if (code === 0) return;
  const [refusal, text] = socksReplies[code] ?? ["failed", `the proxy answers ${code}`];
  throw new FlowRefused(refusal, `${formatTarget(target)}: ${text}`);
}

/** RFC 9110 §9.3.6. */
async function askHttp(
  socket: Socket,
  { credentials }: Proxy,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  socket.write(encodeHttpConnect(target, credentials?.()));
  const status = (await readHead(socket, decodeHttpAnswer, signal)).value;
  if (status < 300) return;
  // 401: tinyproxy.
  if (status === 407 || status === 401)
    throw new ProxyError("the proxy does not accept the user and password");
  const refusal = httpStatuses.get(status) ?? "failed";
  throw new FlowRefused(refusal, `${formatTarget(target)}: the proxy answers ${status}`);
}

/** By the reply codes of RFC 1928 §6. */
const socksReplies: readonly (readonly [Refusal, string] | undefined)[] = [
  undefined,
  ["failed", "the proxy has failed"],
  ["not-allowed", "not allowed by the proxy"],
  ["network-unreachable", "network unreachable"],
  ["host-unreachable", "host unreachable"],
  ["refused", "connection refused"],
  ["timed-out", "timed out"],
];

const httpStatuses: ReadonlyMap<number, Refusal> = new Map([
  [403, "not-allowed"],
  [404, "host-not-found"],
  [408, "timed-out"],
  [429, "limit"],
  [502, "host-unreachable"],
  [503, "host-unreachable"],
  [504, "timed-out"],
]);

function failureOf(error: unknown, target: Target): FlowRefused {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (error instanceof FlowRefused || code === "ACCESS_REVOKED" || name === "TimeoutError") {
    return refusedFor(error, formatTarget(target));
  }
  const text =
    error instanceof ProxyError
      ? error.message
      : error instanceof HeadMissing
        ? "the proxy ends the connection without an answer"
        : "the proxy cannot be reached";
  return new FlowRefused("failed", `${formatTarget(target)}: ${text}`, { cause: error });
}
