/**
 * UDP packets over a connection, either end: as datagrams where they fit, else on the flow's stream.
 *
 * Nothing waits for long: what does not go out in time is dropped, as UDP does.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Clock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import type { ConnectionDatagrams, FlowDatagrams } from "./connection-datagrams.ts";
import { encodePacketHead, MAX_PACKET, PacketDecoder } from "./wire/udp.ts";

/** Bytes that may wait in the stream. */
const MAX_STREAM_QUEUE = 256 * 1024;

/** How long a flow may be silent, in milliseconds: most NATs have that, or half of it. */
export const DEFAULT_UDP_IDLE: number = 60_000;

export interface PacketFlowOptions {
  readonly clock: Clock;
  /** Ends the flow when no packet went either way for so long, or half as long again, in milliseconds. */
  readonly idle: number;
  /** Gets what comes. */
  readonly onpacket: (packet: Uint8Array) => void;
}

export interface PacketFlow {
  /** Send a packet of at most 65,507 bytes. @returns false: dropped. */
  send(packet: Uint8Array): boolean;
  /** Both sides have agreed: take packets from the stream, and use datagrams from now on, under this number. */
  start(flow: number, datagrams: ConnectionDatagrams | undefined): void;
  /** Packets that this end did not send. */
  readonly dropped: number;
  /** End it in order. Idempotent. */
  end(): void;
  /** Resolves when the stream has closed, with its error, if it broke. */
  readonly closed: Promise<Error | undefined>;
}

/** Carry packets over `stream`, which this owns from now on; it reads nothing from it before `start`. */
export function packetFlow(stream: Duplex, options: PacketFlowOptions): PacketFlow {
  const { clock, idle, onpacket } = options;
  let channel: FlowDatagrams | undefined;
  let last = clock.now();
  let dropped = 0;
  let callOff = (): void => {};

  function receive(packet: Uint8Array): void {
    last = clock.now();
    onpacket(packet);
  }

  function sent(packet: Uint8Array): boolean {
    if (stream.destroyed || stream.writableEnded || packet.length > MAX_PACKET) return false;
    if (channel !== undefined && packet.length <= channel.maxSize) return channel.send(packet);
    if (stream.writableLength + packet.length > MAX_STREAM_QUEUE) return false;
    stream.cork();
    stream.write(encodePacketHead(packet.length));
    stream.write(packet);
    stream.uncork();
    return true;
  }

  /** Not a deadline for each packet: one that looks, when it is due, whether there was any. */
  function watch(): void {
    callOff = deadlines(idle / 2, clock).add(() => {
      // Who was told to end and does not, is cut off.
      if (clock.now() - last >= idle) {
        if (stream.writableEnded) stream.destroy();
        else end();
      }
      if (!stream.destroyed) watch();
    });
  }

  function end(): void {
    stream.end();
    // Whatever the far side still sends has nobody to take it.
    stream.resume();
  }

  const closed = new Promise<Error | undefined>((resolve) => {
    let broken: Error | undefined;
    const close = (): void => {
      callOff();
      channel?.[Symbol.dispose]();
      resolve(broken);
    };
    stream.on("error", (error) => (broken = error));
    if (stream.closed) close();
    else stream.once("close", close);
  });
  watch();

  return {
    send(packet) {
      last = clock.now();
      const done = sent(packet);
      if (!done) dropped++;
      return done;
    },
    start(flow, datagrams) {
      if (stream.destroyed) return;
      channel = datagrams?.open(flow, receive);
      const decoder = new PacketDecoder(receive);
      stream.once("end", () => stream.end());
      stream.on("data", (chunk: Uint8Array) => {
        try {
          decoder.push(chunk);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
      stream.resume();
    },
    get dropped() {
      return dropped;
    },
    end,
    closed,
  };
}
