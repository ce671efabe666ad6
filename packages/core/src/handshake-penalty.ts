/**
 * What the end of a handshake says about the client: which penalty its source earns, if any.
 *
 * @module
 */

import type { QuicCloseReason } from "@alknet/quic/close-reason";
import type { Penalty } from "./limit-values.ts";
import { NO_APPLICATION_PROTOCOL, type TlsOutcome } from "./tls-server.ts";

const TLS_PENALTIES: Readonly<
  Record<(TlsOutcome & { kind: "failed" })["reason"], Penalty | undefined>
> = {
  timeout: "timeout",
  malformed: "malformed",
  auth: "auth",
  refused: undefined,
  cut: undefined,
};

export function tlsPenalty(reason: keyof typeof TLS_PENALTIES): Penalty | undefined {
  return TLS_PENALTIES[reason];
}

export function quicPenalty(reason: QuicCloseReason): Penalty | undefined {
  if (reason.kind === "timeout") return "timeout";
  if (reason.kind !== "transport" || reason.by === "peer") return undefined;
  switch (reason.alert) {
    case undefined:
      return "malformed";
    case NO_APPLICATION_PROTOCOL:
    case 40: // handshake_failure: nothing in common
    case 70: // protocol_version
      return undefined;
    case 42: // bad_certificate
    case 43: // unsupported_certificate
    case 51: // decrypt_error: the signature does not hold
      return "auth";
    default:
      return "malformed";
  }
}
