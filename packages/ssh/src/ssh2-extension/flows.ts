/**
 * Channels of forwarding, at either end: each direction ends by itself, and what is cut off has an error and no end.
 *
 * ssh2's server closes a channel together with its own direction, and both ends take a channel that was closed, or went
 * with its connection, for one that has ended.
 *
 * @module
 */

import { Duplex } from "node:stream";
import type { Channel, Insides, Protocol } from "./insides.ts";

interface FlowChannel extends Channel {
  eof(): void;
  close(): void;
  readonly _readableState: { emitClose: boolean };
}

export interface Flows {
  /** Have a channel that has just been opened be one of these. */
  readonly flowOf: (channel: Duplex) => Duplex;
  /** The connection is gone: to be called before ssh2 ends its channels. */
  readonly breakAll: () => void;
}

/** @param peer who closes channels, for messages. */
export function flowChannels(insides: Insides, peer: "client" | "server"): Flows {
  const { _protocol: protocol, _chanMgr: channels } = insides;
  const flows = new Set<FlowChannel>();

  const closed = protocol._handlers["CHANNEL_CLOSE"] as unknown as (
    of: Protocol,
    id: number,
  ) => void;
  protocol._handlers["CHANNEL_CLOSE"] = (of: Protocol, id: number) => {
    const flow = channels.get(id) as FlowChannel;
    const hasEnded = (): boolean => flow.incoming.state === "eof" && flow.writableFinished;
    if (flows.has(flow) && !hasEnded()) flow.destroy(new Error(`closed by the SSH ${peer}`));
    closed(of, id);
  };

  return {
    flowOf(channel) {
      const flow = channel as FlowChannel;
      // What closes both directions with ours.
      for (const name of ["prefinish", "finish"]) flow.removeAllListeners(name);
      flow.destroy = (error) => Duplex.prototype.destroy.call(flow, error) as FlowChannel;
      flow._readableState.emitClose = true;
      flow._final = (done) => {
        flow.eof();
        done();
      };
      flow._destroy = (error, done) => {
        flow.close();
        done(error);
      };
      flows.add(flow);
      flow.once("close", () => flows.delete(flow));
      return flow;
    },
    breakAll() {
      for (const flow of flows) flow.destroy(new Error("the SSH connection is gone"));
    },
  };
}
