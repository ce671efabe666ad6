/**
 * `alknet ping`: whether a node answers, how fast, and over what.
 *
 * @module
 */

import { openClient } from "../client.ts";
import type { Context } from "../context.ts";
import { explain } from "../explain.ts";
import { Interrupted } from "../interrupted.ts";
import { reach, type Way } from "../reach.ts";
import { printable, printJson } from "../terminal.ts";

export interface PingCommandOptions {
  readonly json: boolean;
  readonly count: number;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function ping(
  context: Context,
  target: string,
  { json, count, transports }: PingCommandOptions,
): Promise<void> {
  const { terminal, interrupted: signal } = context;
  const client = openClient(context);
  const rtts: number[] = [];
  let way: Way | undefined;
  let failure: Error | undefined;
  try {
    await reach(client.dialer, target, {
      count,
      transports,
      signal,
      onway(found) {
        way = found;
        if (!json) terminal.data.write(`${describeWay(found)}\n`);
      },
      onpong(rtt, number) {
        rtts.push(rtt);
        if (!json) terminal.data.write(`${number + 1}  ${milliseconds(rtt)}\n`);
      },
    });
  } catch (error) {
    // What came before an interruption or a loss is worth telling.
    failure = signal.aborted ? new Interrupted() : (error as Error);
  } finally {
    await client.leave();
  }
  if (way !== undefined) {
    const stats = statistics(rtts);
    if (json) {
      const { transport, address, peer, fingerprint, connected } = way;
      const rtt = { ...stats, all: rtts.map(round) };
      printJson(terminal, {
        target: printable(target),
        transport,
        address,
        peer,
        fingerprint,
        connected: round(connected),
        count,
        received: rtts.length,
        rtt,
        ...(failure === undefined ? {} : { error: explain(failure, client.identity.fingerprint) }),
      });
    } else if (rtts.length > 1) {
      const { min, avg, max } = stats;
      const times = [min, avg, max].map(milliseconds).join(" / ");
      terminal.data.write(`${rtts.length} of ${count} answered; min / avg / max ${times}\n`);
    }
  }
  if (failure !== undefined) throw failure;
}

/** `laptop 203.0.113.5:7433 over quic, connected in 3.21 ms` */
export function describeWay({ transport, address, peer, connected }: Way): string {
  const who = [peer, address].filter((part) => part !== undefined).join(" ");
  return `${printable(who)} over ${transport}, connected in ${milliseconds(connected)}`;
}

function statistics(rtts: readonly number[]): { min: number; avg: number; max: number } {
  const sum = rtts.reduce((a, b) => a + b, 0);
  return {
    min: round(Math.min(...rtts)),
    avg: round(sum / rtts.length),
    max: round(Math.max(...rtts)),
  };
}

/** Milliseconds to the microsecond. */
function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}
