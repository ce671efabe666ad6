/**
 * Two machines far from each other: namespaces, joined by a line with delay, loss and a rate.
 *
 * @module
 */

import { createNamespace, type Namespace } from "../interop/netns.ts";
import { type Link, openLink } from "./link.ts";
import type { Spawn } from "./worker.ts";

/** How TCP judges congestion; the machine's own default may be anything. */
export type Congestion = "cubic" | "bbr" | "reno";

export interface Wan extends AsyncDisposable {
  readonly near: Namespace;
  readonly far: Namespace;
  readonly nearAddress: string;
  readonly farAddress: string;
  readonly link: Link;
  /** Starts programs in the one or the other. */
  readonly spawnNear: Spawn;
  readonly spawnFar: Spawn;
}

export interface WanOptions {
  /** Milliseconds, there and back. */
  roundTrip: number;
  lossPpm: number;
  /** Bits per second. */
  rate: number;
  congestion: Congestion;
  /** What may wait for the rate, in multiples of what the line holds. @default 2 */
  queue?: number | undefined;
  /** Of the losses. */
  seed: number;
}

const NEAR = "10.79.0.1";
const FAR = "10.79.0.2";
const SUBNET = "10.79.0.0/24";

/** Lay it. */
export async function openWan(options: WanOptions): Promise<Wan> {
  await using made = new AsyncDisposableStack();
  const near = made.use(await createNamespace("near"));
  const far = made.use(await createNamespace("far"));
  const inFlight = (options.rate / 8) * (options.roundTrip / 1000);
  const link = made.use(
    await openLink(
      { namespace: near, addresses: [`${NEAR}/24`] },
      { namespace: far, addresses: [`${FAR}/24`] },
      {
        delay: options.roundTrip / 2,
        lossPpm: options.lossPpm,
        seed: options.seed,
        rate: options.rate,
        queueBytes: Math.ceil((options.queue ?? 2) * inFlight),
        // One wake-up for some ten packets: the line must not take the processor from the ends.
        tick: 0.1,
      },
    ),
  );
  for (const namespace of [near, far]) {
    // By the route: the parameter of the same name refuses, in a namespace, what the machine does not
    // allow to everyone.
    const source = namespace === near ? NEAR : FAR;
    await namespace.run(
      "ip",
      ...["route", "replace", SUBNET, "dev", link.device, "src", source],
      ...["congctl", options.congestion],
    );
    // Room for the line and its queue; the default of 4 to 6 MiB would be the limit, not the programs.
    const most = String(Math.max(6_291_456, Math.ceil(4 * inFlight)));
    await namespace.sysctl("net.ipv4.tcp_rmem", `4096 131072 ${most}`);
    await namespace.sysctl("net.ipv4.tcp_wmem", `4096 65536 ${most}`);
    // What a flow has learnt about the path must not help or harm the next one.
    await namespace.sysctl("net.ipv4.tcp_no_metrics_save", "1");
  }
  const owned = made.move();
  return {
    near,
    far,
    nearAddress: NEAR,
    farAddress: FAR,
    link,
    spawnNear: (...words) => near.spawn(...words),
    spawnFar: (...words) => far.spawn(...words),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
