/**
 * What an endpoint tells of those who did not get as far as a handler: to the log, and to whoever listens.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { type LogDigest, logDigest } from "./log-digest.ts";
import { type Logger, silentLogger } from "./log.ts";

type Transport = "quic" | "tcp";

interface TurnedAway {
  readonly kind: "turned away";
  readonly transport: Transport;
  /** IP address. Of QUIC it may be forged. */
  readonly remoteAddress: string;
  readonly reason: "penalty" | "limit" | "source";
}

interface HandshakeFailed {
  readonly kind: "handshake failed";
  readonly transport: Transport;
  readonly remoteAddress: string;
  readonly reason: string;
  readonly detail: string;
}

export type AdmissionEvent = TurnedAway | HandshakeFailed;

export interface AdmissionReportOptions {
  readonly onevent?: ((event: AdmissionEvent) => void) | undefined;
  readonly logger?: Logger | undefined;
  readonly clock: Clock;
}

export interface AdmissionReport {
  turnedAway(transport: Transport, remoteAddress: string, reason: TurnedAway["reason"]): void;
  handshakeFailed(
    transport: Transport,
    remoteAddress: string,
    reason: string,
    detail: string,
  ): void;
  /** Say now what was kept back: nobody will later. */
  flush(): void;
}

export function admissionReport(options: AdmissionReportOptions): AdmissionReport {
  const { onevent, logger = silentLogger, clock } = options;
  // Anybody can have handshakes fail, as many as they like.
  const failures = failureDigest(logger, clock);

  function tell(event: AdmissionEvent): void {
    try {
      onevent?.(event);
    } catch (error) {
      logger.error({ err: error }, "listener of endpoint events failed");
    }
  }

  return {
    turnedAway(transport, remoteAddress, reason) {
      // Not worth a line each: who is turned away has been told of before, and may come in thousands.
      logger.debug({ transport, remoteAddress }, `turned away: ${reason}`);
      tell({ kind: "turned away", transport, remoteAddress, reason });
    },
    handshakeFailed(transport, remoteAddress, reason, detail) {
      const event = { kind: "handshake failed", transport, remoteAddress, reason, detail } as const;
      failures.add(`${transport} ${reason}`, event);
      tell(event);
    },
    flush: () => failures.flush(),
  };
}

/** One line a minute for each transport and reason; and the first of them by itself. */
function failureDigest(logger: Logger, clock: Clock): LogDigest<HandshakeFailed> {
  const say =
    (level: "info" | "debug") =>
    ({ transport, remoteAddress, reason, detail }: HandshakeFailed): void =>
      logger[level]({ transport, remoteAddress, detail }, `handshake failed: ${reason}`);
  return logDigest<HandshakeFailed>({
    each: 1,
    one: say("info"),
    quiet: say("debug"),
    more: (count, { transport, remoteAddress, reason, detail }) =>
      logger.info(
        { transport, count, last: { remoteAddress, detail } },
        `${count} more handshakes failed: ${reason}`,
      ),
    clock,
  });
}
