/**
 * Notice when this machine's addresses change, while somebody wants to know.
 *
 * Node tells nobody, and what it can list it has to ask the kernel for: so once a second, and only while
 * there are connections that would break.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import type { Clock } from "./clock.ts";

export interface NetworkWatch {
  /** Watch until the hold is released. @returns the release. */
  hold(): () => void;
  close(): void;
}

/** How often the addresses are looked at, in milliseconds. */
const PERIOD = 1_000;

/**
 * @param changed called when the addresses are not what they were.
 * @param read tells them, as a text to compare.
 */
export function watchNetwork(
  clock: Clock,
  changed: () => void,
  read: () => string = addresses,
): NetworkWatch {
  let holds = 0;
  let watching = false;
  let closed = false;
  let before = "";

  function next(): void {
    clock.timeout(PERIOD).addEventListener("abort", look, { once: true });
  }

  function look(): void {
    watching = holds > 0 && !closed;
    if (!watching) return;
    const now = read();
    if (now !== before) {
      before = now;
      changed();
    }
    next();
  }

  return {
    hold() {
      holds++;
      if (!watching && !closed) {
        watching = true;
        before = read();
        next();
      }
      let held = true;
      return () => {
        if (held) holds--;
        held = false;
      };
    },
    close() {
      closed = true;
    },
  };
}

function addresses(): string {
  const found = Object.entries(networkInterfaces()).flatMap(([name, list = []]) =>
    list.map(({ cidr, address }) => `${name} ${cidr ?? address}`),
  );
  return found.sort().join("\n");
}
