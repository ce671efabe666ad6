/**
 * Where one connection to an SSH agent leads: to which hosts it was bound, and whether a key that is restricted to
 * some may be used on it (OpenSSH's PROTOCOL.agent §1, §2).
 *
 * An OpenSSH client tells the agent at which server it logs in, or that it forwards the agent to that server; the
 * server's signature over the session proves it. Over several hops each client on the way adds its own.
 *
 * @module
 */

import { isSignedByHost } from "./ssh-host-key.ts";
import type { SessionBind } from "./wire/ssh-agent.ts";
import type { Destination, Hop } from "./wire/ssh-agent-constraints.ts";
import type { SignedData } from "./wire/signed-data.ts";

/** Most hops that one connection is bound to. */
const MAX_BINDINGS = 16;

interface Binding {
  readonly hostKey: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly forwarding: boolean;
}

export class AgentBindings {
  readonly #bindings: Binding[] = [];
  #failed = false;

  /**
   * Whether somebody on another machine may be asking: the connection was forwarded, or it was bound to something
   * that could not be proved.
   */
  get remote(): boolean {
    return this.#failed || this.#bindings.some(({ forwarding }) => forwarding);
  }

  /** @returns whether the signature is right, and one more hop is possible. */
  bind({ hostKey, sessionId, signature, forwarding }: SessionBind): boolean {
    const known = this.#bindings.find((each) => equal(each.sessionId, sessionId));
    const last = this.#bindings.at(-1);
    const bound =
      isSignedByHost(hostKey, signature, sessionId) &&
      (known === undefined
        ? // Who logs in somewhere goes no further.
          this.#bindings.length < MAX_BINDINGS && last?.forwarding !== false
        : equal(known.hostKey, hostKey) && known.forwarding === forwarding);
    if (!bound) this.#failed = true;
    else if (known === undefined) {
      // The message is overwritten once it was answered.
      this.#bindings.push({
        hostKey: Uint8Array.from(hostKey),
        sessionId: Uint8Array.from(sessionId),
        forwarding,
      });
    }
    return bound;
  }

  /** Whether a key restricted to `destinations` may be listed here. */
  lists(destinations: readonly Destination[]): boolean {
    if (this.#failed) return false;
    if (this.#bindings.length === 0) return true;
    if (!this.#leadsAlong(destinations, undefined)) return false;
    // Forwarded to there: only if it may go on from there.
    const last = this.#bindings.at(-1)!;
    return !last.forwarding || destinations.some(({ from }) => isHost(from, last.hostKey));
  }

  /** Whether a key restricted to `destinations` may sign this here. */
  signs(destinations: readonly Destination[], data: SignedData): boolean {
    const last = this.#bindings.at(-1);
    // Unbound, nobody knows where the signature goes to; and what is no login goes nowhere.
    if (this.#failed || last === undefined || data.kind !== "userauth") return false;
    // Bound right before, by the client that logs in.
    if (last.forwarding || !equal(data.sessionId, last.sessionId)) return false;
    // A server on the way could else have the login of another session signed.
    if (data.hostKey === undefined ? this.#bindings.length > 1 : !equal(data.hostKey, last.hostKey))
      return false;
    return this.#leadsAlong(destinations, data.user);
  }

  /** Whether each hop is one of `destinations`, and the last one that of `user`, if that is given. */
  #leadsAlong(destinations: readonly Destination[], user: string | undefined): boolean {
    return this.#bindings.every(({ hostKey }, at) => {
      const before = this.#bindings[at - 1]?.hostKey;
      const isLast = at === this.#bindings.length - 1;
      return destinations.some(
        ({ from, to }) =>
          (before === undefined ? isHere(from) : isHost(from, before)) &&
          isHost(to, hostKey) &&
          (!isLast || user === undefined || matches(to.user, user)),
      );
    });
  }
}

function isHere({ host, keys }: Hop): boolean {
  return host === "" && keys.length === 0;
}

function isHost({ keys }: Hop, hostKey: Uint8Array): boolean {
  return keys.some((each) => equal(each, hostKey));
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** `*` is any run of characters, `?` any one; no pattern matches everybody. */
function matches(pattern: string, text: string): boolean {
  if (pattern === "") return true;
  // The last star seen, and how far into the text it reaches: linear but for one loop inside the other.
  let [at, from, star, reach] = [0, 0, -1, 0];
  while (from < text.length) {
    if (pattern[at] === "*") {
      star = at++;
      reach = from;
    } else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === text[from])) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++reach;
    } else {
      return false;
    }
  }
  return /^\**$/.test(pattern.slice(at));
}
