/**
 * Channels of forwarding, as ssh2 lacks them (RFC 4254 §7, OpenSSH's PROTOCOL §2.4).
 *
 * - **Channels end and break** as connections do (`flows.ts`).
 * - **Refusals carry a reason.**
 * - **Messages** for the person at the client, and a bound on answers that are owed.
 *
 * @module
 */

import { createRequire } from "node:module";
import type { Duplex } from "node:stream";
import type { Connection as Client, ServerChannel } from "ssh2";
import type { ForwardOrigin, ForwardTarget } from "../forwarding-services.ts";
import { flowChannels } from "./flows.ts";
import { fail, insidesOf, type Protocol } from "./insides.ts";
import type { ExtendedClient } from "./extend.ts";

/** RFC 4254 §5.1. */
export const OPEN_FAILURE = {
  PROHIBITED: 1,
  CONNECT_FAILED: 2,
  UNKNOWN_TYPE: 3,
  RESOURCE_SHORTAGE: 4,
} as const;

/** A connection that the client wants to have opened. One of the methods is to be called, once. */
export interface AskedChannel {
  /** As it came: nothing of it has been checked. */
  readonly target: ForwardTarget;
  /** What the client says of who wants it; a Unix socket has none. */
  readonly origin: ForwardOrigin | undefined;
  /** It stands. */
  accept(): Duplex;
  refuse(reason: number, text: string): void;
}

/** A channel that is opened from here. */
export type OfferedChannel =
  /** Somebody has come to a listener of the client's: with its address as the client knows it. */
  | { readonly kind: "tcp"; readonly bound: HostPort; readonly origin: ForwardOrigin }
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "agent" };

interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface ForwardingChannels {
  /** Have `open` called with each connection that the client wants. */
  onasked(open: (asked: AskedChannel) => void): void;
  /** Rejects if the client refuses it, there are too many channels, or the connection is gone. */
  offer(channel: OfferedChannel): Promise<Duplex>;
  /** Send a message that clients show to who wants details, as `ssh -v` does (RFC 4253 §11.3). */
  tell(text: string): void;
}

/** Global requests that may wait for those before them to be answered. */
const MAX_OWED = 1_024;
/** Longest text of a refusal or a message, in characters: OpenSSH shows no more. */
const MAX_TEXT = 900;
const DEBUG = 4;

/** What is used of them here alone. */
interface ForwardingProtocol extends Protocol {
  requestSuccess(data?: Buffer): void;
  requestFailure(): void;
}

type Handle<Args extends unknown[]> = (of: Protocol, ...args: Args) => void;

type Opened = (error: Error | undefined, channel?: ServerChannel) => void;

const require = createRequire(import.meta.url);
const { sendPacket } = require("ssh2/lib/protocol/utils.js") as {
  sendPacket(this: void, protocol: Protocol, packet: Buffer): void;
};

/** @param gone aborts when the connection is gone. */
export function forwardingChannels(
  client: Client,
  extended: ExtendedClient,
  gone: AbortSignal,
): ForwardingChannels {
  const insides = insidesOf(client);
  const { _protocol: protocol } = insides;
  const flows = flowChannels(insides, "client");
  boundAnswers(protocol as ForwardingProtocol);
  gone.addEventListener("abort", () => flows.breakAll());

  // ssh2 refuses without a word, and at once when it is told to.
  let refusal: { readonly reason: number; readonly text: string } | undefined;
  const channelOpenFail = protocol.channelOpenFail.bind(protocol);
  protocol.channelOpenFail = (remote, reason, text) =>
    channelOpenFail(remote, refusal?.reason ?? reason, refusal?.text ?? text);

  function asked(
    target: ForwardTarget,
    origin: ForwardOrigin | undefined,
    accept: () => ServerChannel,
    reject: () => void,
  ): AskedChannel {
    return {
      target,
      origin,
      accept: () => flowOf(accept()),
      refuse(reason, text) {
        refusal = { reason, text: text.slice(0, MAX_TEXT) };
        reject();
        refusal = undefined;
      },
    };
  }

  function flowOf(channel: ServerChannel): Duplex {
    return flows.flowOf(extended.adopt(channel));
  }

  return {
    onasked(open) {
      client.on("tcpip", (accept, reject, { destIP, destPort, srcIP, srcPort }) => {
        const origin = { address: srcIP, port: srcPort };
        open(asked({ host: destIP, port: destPort }, origin, accept, reject));
      });
      client.on("openssh.streamlocal", (accept, reject, { socketPath }) => {
        open(asked({ path: socketPath }, undefined, accept, reject));
      });
    },
    offer(channel) {
      return new Promise((resolve, reject) => {
        const opened: Opened = (error, given) =>
          given === undefined ? reject(error) : resolve(flowOf(given));
        switch (channel.kind) {
          case "tcp": {
            const { bound, origin } = channel;
            client.forwardOut(bound.host, bound.port, origin.address, origin.port, opened);
            break;
          }
          case "unix":
            client.openssh_forwardOutStreamLocal(channel.path, opened);
            break;
          case "agent":
            extended.openAgent().then((given) => resolve(flowOf(given as ServerChannel)), reject);
        }
      });
    },
    tell: (text) => sendDebug(protocol, text),
  };
}

/** Answers go in the order of the requests: those behind one that takes its time are kept. */
function boundAnswers(protocol: ForwardingProtocol): void {
  let owed = 0;
  const request = protocol._handlers["GLOBAL_REQUEST"] as unknown as Handle<
    [name: string, wantsReply: boolean, data: unknown]
  >;
  protocol._handlers["GLOBAL_REQUEST"] = ((of, name, wantsReply, data) => {
    if (!wantsReply || ++owed <= MAX_OWED) return request(of, name, wantsReply, data);
    fail(protocol, "too many requests wait for their answer");
  }) satisfies typeof request as never;
  for (const name of ["requestSuccess", "requestFailure"] as const) {
    const answer = protocol[name].bind(protocol);
    protocol[name] = (data?: Buffer) => {
      owed--;
      answer(data);
    };
  }
}

/** RFC 4253 §11.3: number, whether to show it always, the text, and a language that is not told. */
function sendDebug(protocol: Protocol, message: string): void {
  const text = Buffer.from(message.slice(0, MAX_TEXT));
  const { write } = protocol._packetRW;
  let at = write.allocStart;
  const packet = write.alloc(2 + 4 + text.length + 4);
  at = packet.writeUInt8(DEBUG, at);
  at = packet.writeUInt8(1, at);
  at = packet.writeUInt32BE(text.length, at);
  at += text.copy(packet, at);
  packet.writeUInt32BE(0, at);
  sendPacket(protocol, write.finalize(packet));
}
