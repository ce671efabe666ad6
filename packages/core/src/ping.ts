/**
 * `alknet/ping`: eight bytes go over a stream and come back. Tells that a peer is there, over which
 * transport, and how far away.
 *
 * ```text
 * ping, pong   number: u32, big-endian; nonce: 4 bytes
 * ```
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "./clock.ts";
import type { Connection, WaitOptions } from "./connection.ts";
import type { ProtocolHandler } from "./handler.ts";

/** The ALPN of this protocol. */
export const PING_ALPN: string = "alknet/ping";

/** Bytes of a ping, and of its answer. */
const SIZE = 8;

/** Most pings that one stream answers: a day of one a second. */
const MAX_PINGS = 86_400;

/** How long a stream may be silent, in milliseconds. */
const IDLE = 60_000;

export interface PingHandlerOptions {
  clock?: Clock | undefined;
}

/** Serve `alknet/ping` to peers. */
export function pingHandler(options: PingHandlerOptions = {}): ProtocolHandler {
  const { clock = systemClock } = options;
  return {
    alpns: [PING_ALPN],
    access: "peers",
    tls: "node",
    async handle(connection) {
      for (;;) {
        const stream = await connection.accept();
        if (stream === undefined) return;
        answer(stream, connection.draining, clock);
      }
    },
  };
}

/** Send back what comes, until the peer ends it, is silent for long, or has had enough. */
function answer(stream: Duplex, draining: AbortSignal, clock: Clock): void {
  let left = MAX_PINGS * SIZE;
  let heard = false;
  stream.on("data", (chunk: Buffer) => {
    heard = true;
    left -= chunk.length;
    if (left < 0) stream.destroy(Object.assign(new Error("too many pings"), { code: "LIMIT" }));
    // A peer that does not read its answers gets to send no more questions.
    else if (!stream.write(chunk)) stream.pause();
  });
  stream.on("drain", () => stream.resume());
  stream.once("end", () => stream.end());
  stream.on("error", () => {});
  const end = (): void => {
    stream.end();
  };
  if (draining.aborted) end();
  else draining.addEventListener("abort", end, { once: true });
  let watched: AbortSignal;
  const look = (): void => {
    if (heard) watch();
    else stream.destroy(Object.assign(new Error("nothing came"), { code: "IDLE" }));
  };
  const watch = (): void => {
    heard = false;
    watched = clock.timeout(IDLE);
    watched.addEventListener("abort", look, { once: true });
  };
  watch();
  stream.once("close", () => {
    draining.removeEventListener("abort", end);
    // Or a stream that is gone stays in memory until then.
    watched.removeEventListener("abort", look);
  });
}

export interface PingOptions {
  /** How many, at least 1. @default 4 */
  count?: number | undefined;
  /** From one to the next, in milliseconds. @default 1_000 */
  interval?: number | undefined;
  /** How long an answer may take, in milliseconds. @default 5_000 */
  timeout?: number | undefined;
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
}

export interface Pong {
  /** 0, 1, 2, … */
  readonly number: number;
  /** Round-trip time in milliseconds, with fractions. */
  readonly rtt: number;
}

/**
 * Ping over a connection for `alknet/ping`, one after another, on one stream of it.
 *
 * @throws {ConnectionClosed | StreamReset} when the connection or the stream ends.
 * @throws {Error} `PING_TIMEOUT` or, when what comes back is not what was sent, `PROTOCOL`.
 * @throws the reason of `signal`.
 */
export async function* ping(
  connection: Connection,
  options: PingOptions = {},
): AsyncGenerator<Pong, void> {
  const { count = 4, interval = 1_000, timeout = 5_000, signal, clock = systemClock } = options;
  if (!Number.isInteger(count) || count < 1 || count > MAX_PINGS) {
    throw new RangeError(`cannot ping ${count} times: expected 1 to ${MAX_PINGS}`);
  }
  const stream = await connection.open({ signal });
  const answers = new Answers(stream);
  try {
    for (let number = 0; number < count; number++) {
      const sent = clock.now();
      const question = randomBytes(SIZE);
      question.writeUInt32BE(number);
      stream.write(question);
      const late = clock.timeout(timeout);
      const answer = await answers.next({ signal, late, timeout });
      const rtt = clock.now() - sent;
      if (!answer.equals(question)) throw coded("PROTOCOL", "the answer is not what was sent");
      yield { number, rtt };
      if (number + 1 < count) await pause(Math.max(0, interval - rtt), clock, signal, stream);
    }
    stream.end();
  } finally {
    if (!stream.writableEnded) stream.destroy();
    else stream.resume();
  }
}

/** Puts what comes into answers of eight bytes. */
class Answers {
  readonly #stream: Duplex;
  #bytes: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      // One question is out at a time: more than its answer is a mistake of the peer's.
      if (this.#bytes.length > SIZE)
        stream.destroy(coded("PROTOCOL", "more came than was asked for"));
      this.#wake?.();
    });
    for (const event of ["end", "error", "close"]) {
      stream.on(event, () => {
        this.#ended = true;
        this.#wake?.();
      });
    }
  }

  async next({
    signal,
    late,
    timeout,
  }: WaitOptions & { late: AbortSignal; timeout: number }): Promise<Buffer> {
    const wake = (): void => this.#wake?.();
    signal?.addEventListener("abort", wake);
    late.addEventListener("abort", wake);
    try {
      for (;;) {
        if (this.#bytes.length === SIZE) {
          const answer = this.#bytes;
          this.#bytes = Buffer.alloc(0);
          return answer;
        }
        signal?.throwIfAborted();
        const { errored } = this.#stream;
        if (errored !== null && errored !== undefined) throw errored;
        if (this.#ended) throw coded("PROTOCOL", "the peer ended before its answer");
        if (late.aborted) throw coded("PING_TIMEOUT", `no answer within ${timeout} ms`);
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#wake = undefined;
      signal?.removeEventListener("abort", wake);
      late.removeEventListener("abort", wake);
    }
  }
}

/** Until the time has passed; cut short when the stream ends. */
async function pause(
  milliseconds: number,
  clock: Clock,
  signal: AbortSignal | undefined,
  stream: Duplex,
): Promise<void> {
  signal?.throwIfAborted();
  const over = clock.timeout(Math.ceil(milliseconds));
  await new Promise<void>((resolve) => {
    const done = (): void => {
      for (const it of [over, signal]) it?.removeEventListener("abort", done);
      stream.off("close", done);
      resolve();
    };
    for (const it of [over, signal]) it?.addEventListener("abort", done);
    stream.once("close", done);
    if (stream.destroyed) done();
  });
  signal?.throwIfAborted();
}

function coded(code: string, text: string): Error {
  return Object.assign(new Error(`ping failed: ${text}`), { code });
}
