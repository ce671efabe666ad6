/**
 * Receive windows of one SSH connection (RFC 4254 §5.2): how much each channel's peer may send ahead of its reader.
 *
 * A fixed window is a speed limit, one window for each round trip: 2 MiB at 100 ms is 20 MB/s. So a window that is
 * used up within two round trips is doubled, as QUIC stacks do. What all channels of a connection may hold together
 * has an end: a channel that is opened when little is left gets a small window, and grows no more.
 *
 * Pure: the time is handed in.
 *
 * @module
 */

import { holding } from "./holding.ts";

const MiB = 2 ** 20;

/** Sizes in bytes. */
export interface WindowLimits {
  /** What a channel starts with, if there is that much. */
  readonly initial: number;
  /** What one channel may grow to. */
  readonly channel: number;
  /** For all channels together. Beyond it a channel has {@linkcode MIN_WINDOW}. */
  readonly connection: number;
}

export const DEFAULT_WINDOWS: WindowLimits = Object.freeze({
  initial: 2 * MiB,
  channel: 16 * MiB,
  connection: 64 * MiB,
});

/** The least that a channel works with: two packets, in bytes. */
export const MIN_WINDOW: number = 64 * 1024;

/**
 * No window is made for more than this, in bytes a millisecond. What has queued up while we were not running comes at
 * once, as fast as on a long line that has been waited for.
 */
const FASTEST = MiB;

/**
 * Most that may be under way to a channel while somebody types on its connection, if that is a short line, in bytes: what
 * is typed waits behind it, and with windows of 8 MiB did so for 8 to 14 ms. A line of 5 ms still carries 100 MB a second.
 */
const WHILE_TYPING = MiB / 2;
/** A round trip, in milliseconds, below which that is so. What is typed takes a while on any other. */
const SHORT_LINE = 5;

/** The window of one channel. */
export interface ReceiveWindow {
  /** Most that may be unread and under way, in bytes. */
  readonly size: number;
  /** Count what has come, in bytes. @returns false: it is more than the peer may send. */
  received(length: number): boolean;
  /**
   * How much more the peer may send, of which it is to be told: zero until it is worth a message.
   *
   * @param unread bytes that wait for their reader.
   * @param now in milliseconds.
   * @param roundTrip in milliseconds; `undefined` while it is not known.
   */
  grant(unread: number, now: number, roundTrip: number | undefined): number;
  /** The channel is over. */
  release(): void;
}

/** Windows that share one limit. */
export interface ReceiveWindows {
  open(now: number): ReceiveWindow;
  /** Somebody types on the connection, until this is disposed of. */
  typing(): Disposable;
  /** Bytes held by all that are open. */
  readonly held: number;
}

export function receiveWindows(limits: WindowLimits = DEFAULT_WINDOWS): ReceiveWindows {
  let held = 0;
  const typing = holding();

  /** As much of `wanted` as there is. */
  function take(wanted: number): number {
    const taken = Math.max(0, Math.min(wanted, limits.connection - held));
    held += taken;
    return taken;
  }

  return {
    get held() {
      return held;
    },
    typing: () => typing.hold(),
    open(now) {
      let size = take(limits.initial);
      // The number of channels is limited too, so that this has an end.
      if (size < MIN_WINDOW) {
        held += MIN_WINDOW - size;
        size = MIN_WINDOW;
      }
      let available = size;
      let granted = now;
      let released = false;
      return {
        get size() {
          return size;
        },
        received(length) {
          available -= length;
          return available >= 0;
        },
        grant(unread, at, roundTrip) {
          const isShort = typing.isHeld && roundTrip !== undefined && roundTrip < SHORT_LINE;
          let most = isShort ? Math.min(size, WHILE_TYPING) : size;
          if (most - available - unread < most / 2) return 0;
          const asked = 2 * (roundTrip ?? 0);
          if (!isShort && at - granted < asked && size < asked * FASTEST) {
            most = size += take(Math.min(size, limits.channel - size));
          }
          granted = at;
          const amount = most - available - unread;
          available += amount;
          return amount;
        },
        release() {
          if (!released) held -= size;
          released = true;
        },
      };
    },
  };
}
