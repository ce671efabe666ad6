/**
 * Flow control of channels, in both directions.
 *
 * What comes: receive windows that grow (`receive-window.ts`) and are enforced; ssh2 takes data beyond the window.
 * What goes: writes wait for the window *and* for the transport; ssh2 buffers without end for a peer that grants
 * windows and reads nothing, and loses or repeats data when stdout and stderr of one channel both wait.
 *
 * @module
 */

import type { Duplex, Readable, Writable } from "node:stream";
import type { Clock } from "@alknet/core/clock";
import { gatherSmall } from "../gather-small.ts";
import { type ReceiveWindow, receiveWindows } from "../receive-window.ts";
import {
  type Channel,
  fail,
  type Insides,
  isChannel,
  isSession,
  type Opened,
  type Outgoing,
  type Protocol,
} from "./insides.ts";

/** Most that waits in the transport before channels hold back, in bytes. */
const SEND_QUEUE = 256 * 1024;
/** What is typed or answered, in bytes: it goes past bulk that waits, while the transport has less than twice that much. */
const SMALL_WRITE = 1_024;
/** What every peer takes in one packet (RFC 4253 §6.1), in bytes. */
const MAX_PACKET = 32_768;
/**
 * The same while a peer on a long line has us wait for credits of few packets, in bytes. OpenSSH grants, of a window of 2
 * MiB, what it has had once that is more than 96 KiB, in whole packets: with those of 32 KiB it does so after 128 KiB,
 * with these after 104: at 100 ms there and back and with BBR, that is 0.8 % more. Packets of 4 or 16 KiB bring less.
 */
const HELD_UP_PACKET = 8_192;
/** Credits of few packets, in bytes: who grants more at a time gains nothing by small ones, and they take their time. */
const SMALL_CREDIT = 8 * MAX_PACKET;
/** A round trip from which a line is long, in milliseconds. */
const LONG_LINE = 5;
/** A peer that takes less in a packet makes more work than it is worth, in bytes. */
const MIN_PACKET = 256;
const MAX_UINT32 = 2 ** 32 - 1;
const OPEN_RESOURCE_SHORTAGE = 4;
const STDERR = 1;
/** Requests that come while a program runs (RFC 4254 §6.7, §6.9). */
const FOR_PROGRAMS: ReadonlySet<string> = new Set(["window-change", "signal"]);

/** The messages that open a channel from here: number, window and packet size first. */
const OPENING = [
  ...["session", "directTcpip", "openssh_directStreamLocal"],
  ...["forwardedTcpip", "openssh_forwardedStreamLocal", "openssh_authAgent", "x11"],
] as const;

type Open = (local: number, window: number, packet: number, ...rest: unknown[]) => void;

export interface ChannelOptions {
  readonly clock: Clock;
  /** Channels that may be open at once. */
  readonly channels: number;
  /** Count one more. @returns what to call at its end; `undefined`: there are too many. @default nobody counts */
  readonly countChannel?: (() => (() => void) | undefined) | undefined;
}

export interface Channels {
  /** Take a channel into use: its windows and writes are ours from then on. A second time changes nothing. */
  adopt(channel: Channel): void;
  /** Open a channel to the agent of the client. */
  openAgent(): Promise<Duplex>;
  /** Send what has waited for the transport, or for new keys. */
  resume(): void;
  /** Windows are kept small on a short line, until this is disposed of: somebody types. */
  typing(): Disposable;
  /** Windows grow to what the round trip asks for, in milliseconds, once that is known. */
  setRoundTrip(time: number): void;
}

interface Write {
  data: Buffer;
  readonly isError: boolean;
  readonly done: () => void;
}

interface Opening {
  readonly sender: number;
  readonly packetSize: number;
}

export function extendChannels(insides: Insides, options: ChannelOptions): Channels {
  const { _protocol: protocol, _sock: transport, _chanMgr: numbers } = insides;
  const { clock, channels: limit, countChannel = () => () => {} } = options;
  const windows = receiveWindows();
  const windowOf = new Map<number, ReceiveWindow>();
  /** How each channel is counted no longer. */
  const leaveOf = new Map<number, () => void>();
  /** Bytes that wait for their reader, by channel that is adopted. */
  const unread = new WeakMap<Channel, () => number>();
  /** Writes that wait, by channel: one of stdout and one of stderr at most. */
  const waiting = new Map<Channel, Write[]>();
  /** Those that had used up their windows when their last credits came: the peers hold them up. */
  const heldUp = new WeakSet<Outgoing>();
  let roundTrip: number | undefined;

  const { add, remove, update } = bound(numbers, ["add", "remove", "update"]);
  numbers.add = (value) => {
    const mayOpen = numbers._count < limit && !transport.destroyed;
    const leave = mayOpen ? countChannel() : undefined;
    if (leave === undefined) return -1;
    const id = add(value);
    leaveOf.set(id, leave);
    return id;
  };
  transport.once("close", () => {
    for (const leave of leaveOf.values()) leave();
  });
  numbers.remove = (id) => {
    leaveOf.get(id)?.();
    leaveOf.delete(id);
    windowOf.get(id)?.release();
    windowOf.delete(id);
    remove(id);
  };
  numbers.update = (id, value) => {
    update(id, value);
    const it = numbers.get(id);
    if (isChannel(it)) adopt(it);
  };

  function openWindow(local: number): number {
    const window = windows.open(clock.now());
    windowOf.set(local, window);
    return window.size;
  }

  const channelOpenConfirm = protocol.channelOpenConfirm.bind(protocol);
  protocol.channelOpenConfirm = (remote, local, _window, packet) =>
    channelOpenConfirm(remote, local, openWindow(local), packet);
  const openings = protocol as unknown as Record<(typeof OPENING)[number], Open>;
  for (const name of OPENING) {
    const open = openings[name].bind(protocol);
    openings[name] = (local, _window, packet, ...rest) =>
      open(local, openWindow(local), packet, ...rest);
  }

  const opened = original<[Opening]>("CHANNEL_OPEN");
  handle("CHANNEL_OPEN", (asked: Opening) => {
    if (asked.packetSize >= MIN_PACKET) opened(asked);
    else protocol.channelOpenFail(asked.sender, OPEN_RESOURCE_SHORTAGE, "packets are too small");
  });
  const confirmed = original<[{ packetSize: number }]>("CHANNEL_OPEN_CONFIRMATION");
  handle("CHANNEL_OPEN_CONFIRMATION", (info: { packetSize: number }) => {
    if (info.packetSize < MIN_PACKET) fail(protocol, "the peer's packets are too small");
    else confirmed(info);
  });
  const ended = original<[number]>("CHANNEL_EOF");
  handle("CHANNEL_EOF", (recipient: number) => {
    ended(recipient);
    // Signals and changes of a terminal's size still come.
    const it = numbers.get(recipient);
    if (isSession(it)) it._ending = false;
  });
  const requested = original<[number, string, boolean, unknown]>("CHANNEL_REQUEST");
  handle("CHANNEL_REQUEST", (recipient: number, type: string, wants: boolean, data: unknown) => {
    const it = numbers.get(recipient);
    const channel = channelOf(recipient);
    const reply = wants && (channel === undefined || !hasClosed(channel));
    if (!isSession(it) || channel === undefined) return requested(recipient, type, reply, data);
    // ssh2 answers to nothing any more once a session has its program.
    const isForProgram = FOR_PROGRAMS.has(type);
    if (isForProgram) requested(recipient, type, false, data);
    if (!reply) return;
    if (isForProgram) protocol.channelSuccess(channel.outgoing.id);
    else protocol.channelFailure(channel.outgoing.id);
  });
  handle("CHANNEL_DATA", (recipient: number, data: Buffer) => receive(recipient, data, false));
  handle("CHANNEL_EXTENDED_DATA", (recipient: number, data: Buffer) =>
    receive(recipient, data, true),
  );
  handle("CHANNEL_WINDOW_ADJUST", (recipient: number, amount: number) => {
    const it = numbers.get(recipient);
    const outgoing = isSession(it)
      ? it._chanInfo.outgoing
      : isChannel(it)
        ? it.outgoing
        : undefined;
    if (outgoing === undefined) return;
    const isLong = roundTrip !== undefined && roundTrip >= LONG_LINE;
    if (isLong && outgoing.window === 0 && amount <= SMALL_CREDIT) heldUp.add(outgoing);
    else heldUp.delete(outgoing);
    outgoing.window += amount;
    if (outgoing.window > MAX_UINT32) return fail(protocol, "the window is too large");
    const channel = channelOf(recipient);
    if (channel !== undefined) resumeChannel(channel);
  });

  function original<Args extends unknown[]>(name: string): (...args: Args) => void {
    const handler = protocol._handlers[name] as unknown as (of: Protocol, ...args: Args) => void;
    return (...args) => handler(protocol, ...args);
  }

  function handle(name: string, handler: (...args: never[]) => void): void {
    protocol._handlers[name] = (_protocol: never, ...args: never[]) => handler(...args);
  }

  function channelOf(id: number): Channel | undefined {
    const it = numbers.get(id);
    return isSession(it) ? it._channel : isChannel(it) ? it : undefined;
  }

  function receive(recipient: number, data: Buffer, isError: boolean): void {
    const window = windowOf.get(recipient);
    if (window === undefined) return;
    const channel = channelOf(recipient);
    const mayCome = channel === undefined || channel.incoming.state === "open";
    if (!mayCome || !window.received(data.length)) {
      return fail(protocol, "more came than the window allows");
    }
    // Ahead of a program that was refused: there is nobody to read it, and it is not granted again.
    if (channel === undefined) return;
    if (!isError) channel.push(data);
    // A client sends none.
    else if (!channel.server) (channel.stderr as Readable).push(data);
    grant(channel);
  }

  function grant(channel: Channel): void {
    if (channel.incoming.state !== "open" || hasClosed(channel)) return;
    const waits = unread.get(channel)?.() ?? 0;
    const amount = windowOf.get(channel.incoming.id)?.grant(waits, clock.now(), roundTrip) ?? 0;
    if (amount > 0) protocol.channelWindowAdjust(channel.outgoing.id, amount);
  }

  function adopt(channel: Channel): void {
    if (unread.has(channel)) return;
    channel._write = (data: Buffer, _encoding, done) =>
      sendOrWait(channel, { data, isError: false, done });
    const ofStdout = followReads(channel, channel);
    if (channel.server) {
      (channel.stderr as Writable)._write = (data: Buffer, _encoding, done) =>
        sendOrWait(channel, { data, isError: true, done });
      unread.set(channel, ofStdout);
    } else {
      const ofStderr = followReads(channel, channel.stderr as Readable);
      unread.set(channel, () => ofStdout() + ofStderr());
    }
    // An error of a channel is its end, which is heard of by itself.
    channel.on("error", () => {});
    channel.stderr.on("error", () => {});
    channel.once("close", () => resumeChannel(channel));
  }

  /** @returns how much waits to be read. */
  function followReads(channel: Channel, readable: Readable): () => number {
    const gathered = gatherSmall(readable);
    const read = readable.read.bind(readable);
    readable.read = (size) => {
      const data: unknown = read(size);
      if (data !== null) grant(channel);
      return data;
    };
    return () => readable.readableLength + gathered();
  }

  /** @param length of what is to be sent, in bytes. */
  function isCongested(length: number): boolean {
    const most = length <= SMALL_WRITE ? 2 * SEND_QUEUE : SEND_QUEUE;
    const full = transport.writableNeedDrain && transport.writableLength >= most;
    return full || protocol._kexinit !== undefined;
  }

  function sendOrWait(channel: Channel, it: Write): void {
    if (pump(channel, it)) return;
    const others = waiting.get(channel);
    if (others === undefined) waiting.set(channel, [it]);
    else others.push(it);
  }

  /** Send what may be sent. @returns whether that was all. */
  function pump({ outgoing }: Channel, it: Write): boolean {
    // Who has closed its end is sent no more; the rest is read from the program, and goes nowhere.
    while (it.data.length > 0 && outgoing.state === "open") {
      if (outgoing.window === 0 || isCongested(it.data.length)) return false;
      const most = heldUp.has(outgoing) ? HELD_UP_PACKET : MAX_PACKET;
      const length = Math.min(it.data.length, outgoing.window, outgoing.packetSize, most);
      const part = it.data.subarray(0, length);
      if (it.isError) protocol.channelExtData(outgoing.id, part, STDERR);
      else protocol.channelData(outgoing.id, part);
      outgoing.window -= length;
      it.data = it.data.subarray(length);
    }
    it.done();
    return true;
  }

  function resumeChannel(channel: Channel): void {
    const writes = waiting.get(channel);
    if (writes === undefined) return;
    // Behind the others, so that they take turns; what is written next waits anew.
    waiting.delete(channel);
    for (const it of writes) sendOrWait(channel, it);
  }

  return {
    adopt,
    resume() {
      for (const channel of [...waiting.keys()]) resumeChannel(channel);
    },
    typing: () => windows.typing(),
    setRoundTrip(time) {
      roundTrip = time;
    },
    openAgent() {
      const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
      const answered: Opened = (error, channel) => {
        if (channel === undefined) reject(error ?? new Error("the client has no agent"));
        else resolve(channel);
      };
      answered.type = "auth-agent@openssh.com";
      const local = numbers.add(answered);
      if (local === -1) reject(new Error("cannot open a channel: there are too many"));
      else protocol.openssh_authAgent(local, 0, MAX_PACKET);
      return promise;
    },
  };
}

/** Nothing may be sent on a channel behind our CLOSE (RFC 4254 §5.3): its peer may have forgotten it, and PuTTY ends then. */
function hasClosed({ outgoing }: Channel): boolean {
  return outgoing.state !== "open" && outgoing.state !== "eof";
}

/** Methods as they were, to be called from those that replace them. */
function bound<T extends object, Name extends keyof T>(
  object: T,
  names: readonly Name[],
): Pick<T, Name> {
  const bind = (name: Name): [Name, unknown] => [
    name,
    (object[name] as (...args: unknown[]) => unknown).bind(object),
  ];
  return Object.fromEntries(names.map(bind)) as Pick<T, Name>;
}
