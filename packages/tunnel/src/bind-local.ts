/**
 * Where a local listener is: one address, or `localhost`, which is both loopbacks at one port.
 *
 * @module
 */

import { isNoAddress } from "./listen-failure.ts";

/** What listens at one address. */
export interface BoundLocal {
  readonly address: { readonly address: string; readonly port: number };
  /** Idempotent. */
  close(): Promise<void>;
}

/** IPv4 first: it is the address that is told. */
const LOOPBACKS = ["127.0.0.1", "::1"];

/** How often the system is asked for a port that is free at both loopbacks. */
const SYSTEM_TRIES = 8;

/**
 * Bind at `host`: an address, or `localhost`. A machine that has only one of the loopbacks listens there.
 *
 * Rejects with the system's error of the address that is not to be had (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`);
 * nothing is bound then. A program that has one loopback would get what is meant for us, or we what is meant for it.
 *
 * @param port 0: the system picks one.
 * @returns at least one
 */
export async function bindLocal<Bound extends BoundLocal>(
  host: string,
  port: number,
  bind: (address: string, port: number) => Promise<Bound>,
): Promise<readonly Bound[]> {
  if (host !== "localhost") return [await bind(host, port)];
  for (let left = port === 0 ? SYSTEM_TRIES : 1; ; left--) {
    try {
      return await bindBoth(port, bind);
    } catch (error) {
      // The second loopback may have somebody at the port that was free at the first.
      if (left === 1 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}

async function bindBoth<Bound extends BoundLocal>(
  port: number,
  bind: (address: string, port: number) => Promise<Bound>,
): Promise<readonly Bound[]> {
  const bound: Bound[] = [];
  let missing: unknown;
  for (const address of LOOPBACKS) {
    try {
      bound.push(await bind(address, bound[0]?.address.port ?? port));
    } catch (error) {
      missing = error;
      if (isNoAddress(error)) continue;
      await Promise.all(bound.map((each) => each.close()));
      throw error;
    }
  }
  if (bound.length === 0) throw missing;
  return bound;
}
