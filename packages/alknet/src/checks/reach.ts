/**
 * Check of the way to another node: both transports, and whether it lets this key in.
 *
 * @module
 */

import type { Dialer } from "@alknet/core/dialer";
import { explain, type Explanation } from "../explain.ts";
import { reach } from "../reach.ts";
import { printable } from "../terminal.ts";
import type { Finding } from "./finding.ts";

/** How long one transport may take once it is known what comes of the other, in milliseconds. */
const PATIENCE = 3_000;

/** Ping `target` over QUIC and over TCP, side by side. */
export async function checkReach(
  dialer: Dialer,
  target: string,
  fingerprint: string,
  signal: AbortSignal,
): Promise<Finding> {
  const check = printable(target).slice(0, 32);
  const late = new AbortController();
  const [quic, tcp] = await Promise.all(
    (["quic", "tcp"] as const).map(async (transport) => {
      const either = AbortSignal.any([signal, late.signal]);
      try {
        const { rtts, mtu } = await reach(dialer, target, {
          transports: [transport],
          // Some round trips, in which the path's MTU is found out.
          count: transport === "quic" ? 3 : 1,
          interval: 50,
          signal: either,
        });
        return { ok: true, rtt: Math.min(...rtts), mtu } as const;
      } catch (error) {
        return { ok: false, why: explain(error, fingerprint) } as const;
      } finally {
        setTimeout(() => late.abort(NO_ANSWER), PATIENCE).unref();
      }
    }),
  );
  signal.throwIfAborted();
  if (quic!.ok && tcp!.ok) {
    const { rtt, mtu = 0 } = quic!;
    const text = `answers over QUIC in ${rtt.toFixed(2)} ms (MTU ${mtu}), over TCP in ${tcp!.rtt.toFixed(2)} ms`;
    return { check, state: "ok", text };
  }
  const refusal = [quic!, tcp!].find((it) => !it.ok && isAnswer(it.why));
  if (refusal !== undefined && !refusal.ok) {
    const { message, hint } = refusal.why;
    return { check, state: "problem", text: message, fix: hint };
  }
  if (tcp!.ok) {
    return {
      check,
      state: "warning",
      text: "UDP does not get through: it is reached over TCP, which is slower over a distance",
      fix: "let its UDP port through: the firewall over there, here, and of the network between",
    };
  }
  if (quic!.ok) {
    return {
      check,
      state: "warning",
      text: "TCP does not get through: where UDP is blocked, it will not be reached at all",
      fix: "let its TCP port through: the firewall over there, here, and of the network between",
    };
  }
  const said = [saidOver("QUIC", quic!.why), saidOver("TCP", tcp!.why)].join("; ");
  const fix = reachFix[quic!.why.code] ?? reachFix[tcp!.why.code] ?? LOOK;
  return { check, state: "problem", text: `no way to it: ${said}`, fix };
}

/** What one transport said, told apart from the other. */
function saidOver(transport: "QUIC" | "TCP", { message }: Explanation): string {
  return message.includes(transport) ? message : `${transport}: ${message}`;
}

/** Why a transport is given up that says nothing. */
const NO_ANSWER = new Error(`no answer within ${PATIENCE / 1_000} s`);

/** What to look at over there. Not "ask alknet doctor": this is what it says. */
const LOOK =
  "see whether it runs, over there: alknet status; and whether its port is open for UDP and TCP there, here and between";

/** Failures for which there is something better to do. */
const reachFix: Readonly<Record<string, string>> = {
  UNKNOWN_ALPN:
    "something else has that port: compare it with what alknet ticket prints over there",
};

/** Errors that say what the node over there, or its key, answered: the other transport hears the same. */
function isAnswer({ code }: Explanation): boolean {
  return [
    "UNAVAILABLE",
    "REVOKED",
    "LIMIT",
    "DRAINING",
    "PEER_KEY_MISMATCH",
    "PEER_UNPINNED",
    "PEER_UNKNOWN",
    "TARGET_INVALID",
    "TICKET_INVALID",
    "FINGERPRINT_INVALID",
    "ADDRESS_INVALID",
    "NAME_NOT_FOUND",
    "UNKNOWN_ALPN",
  ].includes(code);
}
