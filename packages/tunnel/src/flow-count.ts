/**
 * How many flows each peer has, and how many of them are on their way to a target.
 *
 * @module
 */

import { FlowRefused } from "./refused.ts";

export interface FlowCountLimits {
  /** Flows one peer may have, over all its connections and services. */
  readonly flowsPerPeer: number;
  /** How many of these may be on their way to a target at a time; the others wait. */
  readonly openingPerPeer: number;
}

export interface FlowCount {
  /** Of all peers. */
  readonly flows: number;
  /**
   * Count one more flow of `peer`.
   *
   * @throws {FlowRefused} `limit`
   */
  enter(peer: string): CountedFlow;
}

/** A flow that is counted; dispose it at its end. Idempotent. */
export interface CountedFlow extends Disposable {
  /**
   * Wait for the peer to have few enough flows on their way.
   *
   * @returns how to tell that this one has arrived, or failed. Idempotent.
   * @throws the reason of `signal`
   */
  opening(signal: AbortSignal): Promise<() => void>;
}

/** What one peer has going. */
interface Usage {
  flows: number;
  opening: number;
  /** Flows that wait for their turn to be opened, in their order. */
  readonly waiting: Set<() => void>;
}

/** Count flows. `limits` is asked each time, so that they may change; those that stand are kept. */
export function flowCount(limits: () => FlowCountLimits): FlowCount {
  const usages = new Map<string, Usage>();
  let flows = 0;

  function turn(usage: Usage, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", give);
        usage.waiting.delete(go);
        usage.opening++;
        resolve();
      };
      const give = (): void => {
        usage.waiting.delete(go);
        reject(signal.reason as Error);
      };
      if (signal.aborted) return give();
      if (usage.opening < limits().openingPerPeer) return go();
      usage.waiting.add(go);
      signal.addEventListener("abort", give, { once: true });
    });
  }

  function next(usage: Usage): void {
    for (const go of usage.waiting) {
      if (usage.opening >= limits().openingPerPeer) break;
      go();
    }
  }

  return {
    get flows() {
      return flows;
    },
    enter(peer) {
      const usage = usages.get(peer) ?? { flows: 0, opening: 0, waiting: new Set() };
      if (usage.flows >= limits().flowsPerPeer) {
        throw new FlowRefused("limit", "too many flows of one peer");
      }
      usages.set(peer, usage);
      usage.flows++;
      flows++;
      return {
        async opening(signal) {
          await turn(usage, signal);
          return once(() => {
            usage.opening--;
            next(usage);
          });
        },
        [Symbol.dispose]: once(() => {
          flows--;
          if (--usage.flows === 0) usages.delete(peer);
        }),
      };
    },
  };
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    act();
  };
}
