/**
 * The password of a local proxy.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Clock } from "@alknet/core/clock";

/** Who may use a proxy. */
export interface ProxyLogin {
  /** 1 to 255 bytes of UTF-8, without a colon (RFC 7617 §2). */
  readonly user: string;
  /** 1 to 255 bytes of UTF-8. */
  readonly password: string;
}

export interface ProxyGate {
  /** Whether a login is wanted at all. */
  readonly isClosed: boolean;
  /**
   * Whether `login`, as `user:password`, is the one. A wrong one is told after a second.
   *
   * The time that the comparison takes tells nothing. While sixteen wrong ones wait nobody is let in: more
   * connections are no way to more guesses.
   */
  check(login: Uint8Array): Promise<boolean>;
}

/** Lets everybody in. */
export const OPEN_GATE: ProxyGate = { isClosed: false, check: async () => true };

/** How long a wrong login waits for its answer, in milliseconds, and how many may. */
const DELAY = 1_000;
const MAX_WAITING = 16;

/** @throws {RangeError} as {@linkcode checkLogin}. */
export function proxyGate(login: ProxyLogin | undefined, clock: Clock): ProxyGate {
  if (login === undefined) return OPEN_GATE;
  checkLogin(login);
  const wanted = digestOf(Buffer.from(`${login.user}:${login.password}`));
  let waiting = 0;
  return {
    isClosed: true,
    async check(given) {
      if (waiting >= MAX_WAITING) return false;
      if (timingSafeEqual(digestOf(given), wanted)) return true;
      waiting++;
      const late = clock.timeout(DELAY);
      await new Promise((resolve) => late.addEventListener("abort", resolve, { once: true }));
      waiting--;
      return false;
    },
  };
}

/** @throws {RangeError} if `login` could not be sent by one of the protocols. */
export function checkLogin({ user, password }: ProxyLogin): void {
  if (isSendable(user) && isSendable(password) && !user.includes(":")) return;
  throw new RangeError(
    "cannot ask for login: expected user and password of 1 to 255 bytes, no colon in the user",
  );
}

function isSendable(text: string): boolean {
  const length = Buffer.byteLength(text);
  return length >= 1 && length <= 255;
}

/** Of one length, whatever was given. */
function digestOf(login: Uint8Array): Buffer {
  return createHash("sha256").update(login).digest();
}
