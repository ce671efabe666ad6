/**
 * Two machines on a cable: `den`, which is to be a node, and `laptop`, which has a key.
 *
 * @module
 */

import { createMachine, type Machine } from "./machine.ts";
import { createNamespace, joinByCable } from "./netns.ts";
import type { Program } from "./program.ts";

/** Disposing of them ends what runs in their namespaces. */
export interface TwoMachines extends AsyncDisposable {
  /** At 10.79.0.1 and fd79::1. */
  readonly den: Machine;
  /** At 10.79.0.2 and fd79::2. */
  readonly laptop: Machine;
  /** What `alknet id` prints on `laptop`. */
  readonly key: string;
}

export async function twoMachines(): Promise<TwoMachines> {
  await using made = new AsyncDisposableStack();
  const here = made.use(await createNamespace("den"));
  const there = made.use(await createNamespace("laptop"));
  await joinByCable(
    { namespace: here, addresses: ["10.79.0.1/24", "fd79::1/64"] },
    { namespace: there, addresses: ["10.79.0.2/24", "fd79::2/64"] },
  );
  const den = made.use(createMachine(here));
  const laptop = made.use(createMachine(there));
  const key = (await laptop.run("id")).stdout.trim();
  const owned = made.move();
  return { den, laptop, key, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** `alknet up`, and the ticket that it shows. Who starts it stops it. */
export async function startNode(
  machine: Machine,
): Promise<{ readonly node: Program; readonly ticket: string }> {
  const node = machine.start("up");
  const [ticket] = await node.waitFor(/alknet1[a-z2-7]+/);
  return { node, ticket };
}
