/**
 * Have a peer listen, and carry what connects there to a target on this side.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import { CloseCode } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { type Logger, silentLogger } from "@alknet/core/log";
import { acceptedStreams } from "./accepted-streams.ts";
import { carrier } from "./carrier.ts";
import { framed } from "./framed.ts";
import { formatPlace, type InboundPlace, type Origin } from "./inbound.ts";
import type { DialWithConnection } from "./open-flow.ts";
import type { OutboundTarget } from "./outbound.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { type Announcement, decodeAnnouncement } from "./wire/announcement.ts";
import { decodeReply, encodeRequest, type ListenRequest, type UnixRequest } from "./wire/open.ts";
import { decodeListening, type Listening, type ListeningPlace } from "./wire/opened.ts";

export interface ExposeOptions {
  /** Where the far side is to listen. */
  place: InboundPlace;
  /** What connects there is connected to this, from here. */
  target: OutboundTarget;
  /** Its abort gives the request up. */
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  /** Hears of each connection that came to nothing, and where it came from. @default a line of level `debug` */
  onfailure?: ((error: Error, origin: Origin) => void) | undefined;
}

/** A listener on the far side. */
export interface Exposed {
  /** Where it listens, with the port that was got. */
  readonly place: ListeningPlace;
  /** Resolves when nobody listens there for us any more: with why, or `undefined` if we have ended it. */
  readonly closed: Promise<Error | undefined>;
  /** Connections that stand now. */
  readonly connections: number;
  /** Take no new ones, and wait for those that stand. Idempotent. */
  close(): Promise<void>;
  /** End now: those that stand are reset. */
  abort(reason?: Error): void;
}

/** Time for the far side to answer, in milliseconds. */
const DEADLINE = 10_000;

/**
 * Have the far side listen.
 *
 * Where a connection to it has one stream, each connection that comes there costs a dial.
 *
 * @throws {FlowRefused} `not-allowed`, `in-use`, …; and what the dial throws.
 */
export async function expose(dial: DialWithConnection, options: ExposeOptions): Promise<Exposed> {
  const { place, target, signal, clock = systemClock, logger = silentLogger } = options;
  const request = requestFor(place);
  const bytes = encodeRequest(request);
  const { stream, connection, multiplexed } = await dial({ signal });
  stream.on("error", () => {});
  const streams = multiplexed ? acceptedStreams(connection, clock) : undefined;
  using _expected = streams?.expect();
  stream.write(bytes);
  const { listener, place: got } = await listeningOf(stream, request, [
    ...(signal === undefined ? [] : [signal]),
    clock.timeout(DEADLINE),
  ]);

  const control = multiplexed ? stream : framed(stream);
  const onfailure =
    options.onfailure ?? ((error: Error) => logger.debug({ err: error }, error.message));
  const carrying = carrier({ dial, target, clock, onfailure });
  const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
  const taking = streams?.register(listener, (flow, origin) => carrying.accept(flow, origin));
  /** Whether it is we who have ended it. */
  let ending = false;

  control.on("error", (error) => over(isRevoked(error) ? revoked(place, error) : error));
  control.once("end", () => over(STOPPED));
  control.once("close", () => over(STOPPED));
  if (multiplexed) control.resume();
  else readAnnouncements(control, (announcement) => void carrying.claim(announcement));

  function over(error: Error): void {
    taking?.[Symbol.dispose]();
    resolve(ending ? undefined : error);
    // The other direction: there is nothing to wait for.
    control.end();
  }

  async function close(): Promise<void> {
    ending = true;
    control.end();
    await Promise.all([closed, carrying.finished()]);
  }

  let closing: Promise<void> | undefined;
  return {
    place: got,
    closed,
    get connections() {
      return carrying.connections;
    },
    close: () => (closing ??= close()),
    abort(reason = new Error("not exposed any more")) {
      ending = true;
      carrying.abort(reason);
      control.destroy();
    },
  };
}

/** Why it is over when the far side has ended it in order. */
const STOPPED = Object.assign(new Error("the far node has stopped listening"), {
  code: "DRAINING",
});

function isRevoked(error: Error): boolean {
  return error instanceof StreamReset && error.resetCode === CloseCode.REVOKED;
}

function revoked(place: InboundPlace, cause: Error): FlowRefused {
  return new FlowRefused("not-allowed", `${formatPlace(place)}: not allowed any more`, { cause });
}

function requestFor(place: InboundPlace): ListenRequest | UnixRequest {
  if ("path" in place) return { kind: "listen-unix", path: place.path };
  return { kind: "listen-tcp", port: place.port, host: place.host === "*" ? "" : place.host };
}

async function listeningOf(
  stream: Duplex,
  { kind }: ListenRequest | UnixRequest,
  ends: readonly AbortSignal[],
): Promise<Listening> {
  try {
    const { value } = await readHead(stream, decodeReply, AbortSignal.any([...ends]));
    if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
    return decodeListening(kind === "listen-tcp" ? kind : "listen-unix", value.body);
  } catch (error) {
    stream.destroy(error as Error);
    throw error;
  }
}

/** Take what comes on a listener's stream apart. Holds less than one announcement. */
function readAnnouncements(control: Duplex, announced: (it: Announcement) => void): void {
  let rest = Buffer.alloc(0);
  control.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    try {
      for (;;) {
        const head = decodeAnnouncement(rest);
        if (head === undefined) return;
        rest = rest.subarray(head.length);
        announced(head.value);
      }
    } catch (error) {
      control.destroy(error as Error);
    }
  });
}
