/**
 * Carries connections that the far side has taken for us to a target on this side.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { ownerContext } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import { resetSocket } from "@alknet/core/reset-socket";
import { framed } from "./framed.ts";
import type { Origin } from "./inbound.ts";
import { join } from "./join.ts";
import type { DialTunnel } from "./open-flow.ts";
import { outbound, type OutboundFlow, type OutboundTarget } from "./outbound.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { FlowReset } from "./reset.ts";
import { stopWith } from "./stop.ts";
import type { Announcement } from "./wire/announcement.ts";
import { decodeReply, encodeReply, encodeRequest } from "./wire/open.ts";

export interface CarrierOptions {
  /** For connections that are claimed on a stream of their own. */
  readonly dial: DialTunnel;
  readonly target: OutboundTarget;
  readonly clock: Clock;
  /** Hears of each connection that came to nothing. */
  readonly onfailure: (error: Error, origin: Origin) => void;
}

export interface Carrier {
  /**
   * Carry a connection whose stream the far side has opened.
   *
   * @throws {FlowRefused} if the target does not answer: the stream is still to be told.
   */
  accept(flow: Duplex, origin: Origin): Promise<void>;
  /** Carry a connection that waits to be claimed. Never rejects. */
  claim(announcement: Announcement): Promise<void>;
  /** Connections that stand, or are being connected. */
  readonly connections: number;
  /** Resolves when none stands. */
  finished(): Promise<void>;
  /** Reset those that stand. */
  abort(reason: Error): void;
}

/** Time for the far side to answer a claim, in milliseconds. */
const DEADLINE = 10_000;

/** No more than any peer could have the far side take. */
const MAX_CONNECTIONS = 65_536;

const NOTHING = new Uint8Array();

export function carrier(options: CarrierOptions): Carrier {
  const { dial, target, clock, onfailure } = options;
  // What is exposed is for the user of this machine to say, who may reach all of it.
  const owner = ownerContext();
  const out = outbound({ clock, limits: { flowsPerPeer: MAX_CONNECTIONS } });
  const over = new AbortController();
  const live = new Set<Promise<void>>();

  async function counted(work: Promise<void>, origin: Origin): Promise<void> {
    const quiet = work.catch(() => {});
    live.add(quiet);
    try {
      await work;
    } catch (error) {
      if (!over.signal.aborted) onfailure(error as Error, origin);
      throw error;
    } finally {
      live.delete(quiet);
    }
  }

  async function carryAccepted(stream: Duplex): Promise<void> {
    using wanted = stopWith(over.signal);
    stream.once("close", () => wanted.abort(new Error("the connection was closed over there")));
    using flow = await out.connect(owner, target, { signal: wanted.signal });
    stream.write(encodeReply({ kind: "open", body: NOTHING }));
    await join(flow.socket, stream, { signal: over.signal });
  }

  async function carryClaimed(token: Uint8Array): Promise<void> {
    const [claimed, connected] = await Promise.allSettled([
      claimFlow(token),
      out.connect(owner, target, { signal: over.signal, largeReads: true }),
    ]);
    if (claimed.status === "rejected") {
      if (connected.status === "fulfilled") letGo(connected.value);
      throw claimed.reason as Error;
    }
    if (connected.status === "rejected") {
      // Who connected over there hears at once that it comes to nothing.
      claimed.value.destroy(new FlowReset("no target", { cause: connected.reason }));
      throw connected.reason as Error;
    }
    using flow = connected.value;
    await join(flow.socket, claimed.value, { signal: over.signal });
  }

  async function claimFlow(token: Uint8Array): Promise<Duplex> {
    const { stream, multiplexed } = await dial({ signal: over.signal });
    stream.on("error", () => {});
    const flow = multiplexed ? stream : framed(stream).on("error", () => {});
    stream.write(encodeRequest({ kind: "claim", token }));
    try {
      using inTime = stopWith(over.signal, clock.timeout(DEADLINE));
      const { value } = await readHead(stream, decodeReply, inTime.signal);
      if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
      return flow;
    } catch (error) {
      flow.destroy(error as Error);
      throw error;
    }
  }

  return {
    accept: (stream, origin) => counted(carryAccepted(stream), origin),
    claim: ({ token, origin }) => counted(carryClaimed(token), origin).catch(() => {}),
    get connections() {
      return live.size;
    },
    async finished() {
      while (live.size > 0) await Promise.all(live);
    },
    abort: (reason) => over.abort(reason),
  };
}

function letGo(flow: OutboundFlow): void {
  flow[Symbol.dispose]();
  resetSocket(flow.socket);
}
