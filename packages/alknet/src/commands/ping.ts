/**
 * `alknet ping`: whether a node answers, how fast, and over what.
 *
 * @module
 */

import { openClient } from "../client.ts";
import type { Context } from "../context.ts";
import { explain } from "../explain.ts";
import { Interrupted } from "../interrupted.ts";
import { formatMilliseconds, roundToMicroseconds } from "../milliseconds.ts";
import { describeWay, reach, type Way } from "../reach.ts";
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
  const client = await openClient(context);
  const rtts: number[] = [];
  let way: Way | undefined;
  let mtu: number | undefined;
  let failure: Error | undefined;
  try {
    const { mtu: found } = await reach(client.dialer, target, {
      count,
      transports,
      signal,
      onway(found) {
        way = found;
        if (!json) terminal.data.write(`${describeWay(found)}\n`);
      },
      onpong(rtt, number) {
        rtts.push(rtt);
        if (!json) terminal.data.write(`${number + 1}  ${formatMilliseconds(rtt)}\n`);
      },
    });
    mtu = found;
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
      const rtt = { ...stats, all: rtts.map(roundToMicroseconds) };
      printJson(terminal, {
        target: printable(target),
        transport,
        address,
        peer,
        fingerprint,
        connected: roundToMicroseconds(connected),
        count,
        received: rtts.length,
        rtt,
        mtu,
        ...(failure === undefined ? {} : { error: explain(failure, client.identity.fingerprint) }),
      });
    } else if (rtts.length > 1) {
      const { min, avg, max } = stats;
      const times = [min, avg, max].map(formatMilliseconds).join(" / ");
      terminal.data.write(`${rtts.length} of ${count} answered; min / avg / max ${times}\n`);
    }
  }
  if (failure !== undefined) throw failure;
}

function statistics(rtts: readonly number[]): { min: number; avg: number; max: number } {
  const sum = rtts.reduce((a, b) => a + b, 0);
  return {
    min: roundToMicroseconds(Math.min(...rtts)),
    avg: roundToMicroseconds(sum / rtts.length),
    max: roundToMicroseconds(Math.max(...rtts)),
  };
}
