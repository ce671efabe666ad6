/**
 * Clients of a proxy of `alknet ssh`, on a socket or on a channel: what they ask for, and what they are told.
 *
 * @module
 */

import { once } from "node:events";
import type { Duplex } from "node:stream";
import { systemClock } from "@alknet/core/clock";
import { proxyGate } from "@alknet/tunnel/proxy-gate";
import { ClientRefused, type ProxyRequest, readProxyRequest } from "@alknet/tunnel/proxy-request";
import type { Refusal } from "@alknet/tunnel/wire/open";

/** How long a client may take to say what it wants, or to take a no, in milliseconds. */
const DEADLINE = 10_000;

/** Who can connect may use it. */
const open = proxyGate(undefined, systemClock);

/** What the client asks for: a connection. It has been told if that cannot be. */
export async function readSocks(client: Duplex, signal: AbortSignal): Promise<ProxyRequest> {
  const late = AbortSignal.timeout(DEADLINE);
  try {
    const request = await readProxyRequest(client, open, AbortSignal.any([signal, late]));
    if (request.command === "connect") return request;
    const answer = request.refused("unsupported");
    throw new ClientRefused("UDP is not relayed over SSH", answer);
  } catch (error) {
    const answer = error instanceof ClientRefused ? error.answer : undefined;
    await hangUp(client, answer);
    throw error;
  }
}

/** Tell the client why not. */
export async function refuseSocks(
  client: Duplex,
  request: ProxyRequest,
  error: unknown,
): Promise<void> {
  await hangUp(client, request.refused(refusalFrom(error)));
}

async function hangUp(client: Duplex, answer: Uint8Array | undefined): Promise<void> {
  if (client.destroyed) return;
  client.end(answer ?? "");
  // Closing with bytes unread would be a reset, which can overtake the answer.
  client.resume();
  const signal = AbortSignal.timeout(DEADLINE);
  await once(client, "close", { signal }).catch(() => {});
  client.destroy();
}

/** RFC 4254 §5.1 */
const PROHIBITED = 1;

/** From what an SSH server, or the system, says. */
function refusalFrom(error: unknown): Refusal | undefined {
  const { code, reason, message } = error as { code?: string; reason?: number; message: string };
  if (reason === PROHIBITED) return "not-allowed";
  if (code === "ECONNREFUSED" || /refused/i.test(message)) return "refused";
  if (code === "ENETUNREACH" || /network/i.test(message)) return "network-unreachable";
  if (code === "CHANNEL_REFUSED" || code === "EHOSTUNREACH" || code === "ENOTFOUND") {
    return "host-unreachable";
  }
  return undefined;
}
