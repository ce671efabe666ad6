/**
 * A UDP socket that is connected to one target, for a peer.
 *
 * @module
 */

import { createSocket, type Socket } from "node:dgram";
import { isIPv4 } from "node:net";
import type { AuthContext } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import { UDP_SOCKET_BUFFER } from "./bind-udp.ts";
import { refusedFor } from "./connect-failure.ts";
import {
  type Candidate,
  type Finding,
  grantedAddresses,
  type Target,
} from "./granted-addresses.ts";
import { formatTarget } from "./wire/host.ts";

/** A way to one target and back. Disposing closes it; idempotent. */
export interface UdpTarget extends Disposable {
  /** Send a packet of at most 65,507 bytes. @returns false: dropped here, as UDP does. */
  send(packet: Uint8Array): boolean;
  /** Have `listener`, of which there is one, get the packets that come back; those before are dropped. */
  listen(listener: (packet: Uint8Array) => void): void;
  /** Aborts with `AccessRevoked` when the right is gone; nothing is sent any more then. */
  readonly signal: AbortSignal;
}

/** What it takes to reach targets by UDP. */
export interface UdpReach extends Finding {
  readonly clock: Clock;
  /** Time for the look-up, in milliseconds. */
  readonly deadline: number;
}

/** Bytes that may wait for the system to take them. */
const MAX_QUEUED = 1024 * 1024;

/**
 * Make a socket for `target` with the rights of `auth`: for the name and the address, as TCP has them.
 *
 * UDP has no handshake, so a name with several addresses is tried in their order: the next has its turn when one
 * cannot be reached, or is told by ICMP to have nobody there before it has ever answered. What was sent last is sent
 * again then. Later such messages are let pass, as on a network that drops them.
 *
 * @throws {FlowRefused} with the reason that tells most.
 * @throws the reason of `signal`, when that is what ended it.
 */
export async function connectUdp(
  auth: AuthContext,
  target: Target,
  reach: UdpReach,
  signal: AbortSignal,
): Promise<UdpTarget> {
  const inTime = AbortSignal.any([signal, reach.clock.timeout(reach.deadline)]);
  const found = grantedAddresses(auth, target, reach, inTime);
  const candidates = await found.catch((error: unknown) => {
    signal.throwIfAborted();
    throw refusedFor(error, formatTarget(target));
  });
  const fallen = new AbortController();
  const errors: unknown[] = [];
  let over = false;
  let answered = false;
  let falling = false;
  let last: Uint8Array | undefined;
  let listener: ((packet: Uint8Array) => void) | undefined;
  let current: { readonly socket: Socket; readonly candidate: Candidate } | undefined;

  /** Use the next address that can be used. */
  async function next(): Promise<boolean> {
    while (candidates.length > 0) {
      const candidate = candidates.shift()!;
      const { grant, address } = candidate;
      try {
        grant.signal.throwIfAborted();
        const socket = await connected(address, target.port);
        if (over) {
          socket.close();
          grant[Symbol.dispose]();
          return false;
        }
        use(socket, candidate);
        return true;
      } catch (error) {
        grant[Symbol.dispose]();
        errors.push(error);
      }
    }
    return false;
  }

  function use(socket: Socket, candidate: Candidate): void {
    leave();
    current = { socket, candidate };
    const { signal: right } = candidate.grant;
    right.addEventListener("abort", () => {
      if (current?.candidate !== candidate) return;
      fallen.abort(right.reason);
      close();
    });
    socket.on("message", (packet) => {
      answered = true;
      last = undefined;
      listener?.(packet);
    });
    socket.on("error", () => failed(socket));
    if (right.aborted) {
      fallen.abort(right.reason);
      close();
    }
  }

  /** The system tells of it when something is received, or when the next packet is sent. */
  function failed(socket: Socket): void {
    if (current?.socket !== socket || answered || falling || candidates.length === 0) return;
    falling = true;
    void next().then((found) => {
      falling = false;
      if (found && last !== undefined) send(last);
    });
  }

  function send(packet: Uint8Array): boolean {
    if (current === undefined || current.socket.getSendQueueSize() > MAX_QUEUED) return false;
    if (!answered && candidates.length > 0) last = Uint8Array.from(packet);
    const { socket } = current;
    socket.send(packet, (error) => void (error === null || failed(socket)));
    return true;
  }

  /** Let go of the address in use. */
  function leave(): void {
    current?.socket.close();
    current?.candidate.grant[Symbol.dispose]();
    current = undefined;
  }

  function close(): void {
    over = true;
    leave();
    for (const { grant } of candidates.splice(0)) grant[Symbol.dispose]();
  }

  if (!(await next())) throw refusedFor(new AggregateError(errors), formatTarget(target));
  return {
    send,
    listen(each) {
      listener = each;
    },
    signal: fallen.signal,
    [Symbol.dispose]: close,
  };
}

async function connected(address: string, port: number): Promise<Socket> {
  const type = isIPv4(address) ? "udp4" : "udp6";
  const socket = createSocket({
    type,
    recvBufferSize: UDP_SOCKET_BUFFER,
    sendBufferSize: UDP_SOCKET_BUFFER,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.connect(port, address, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}
