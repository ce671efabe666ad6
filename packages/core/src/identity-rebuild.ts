/**
 * All identities anew: what look-ups see, in the making.
 *
 * @module
 */

import type { Cut } from "./access.ts";
import type { ApiKeyEntry } from "./api-key.ts";
import {
  CONTESTED,
  contested,
  fingerprintsOf,
  hashOf,
  type Holder,
  type IdentityProblem,
  keyOf,
  type Made,
  nameOf,
  roleProblem,
  subjectOf,
} from "./identity-holder.ts";
import { OverlayMap } from "./overlay-map.ts";
import { type PeerEntry, PeerError } from "./peers.ts";
import type { Roles } from "./scope-entry.ts";

/** Entries to put in the place of those of the same name; `undefined` takes one away. */
export interface IdentityPatch {
  readonly peers?: ReadonlyMap<string, PeerEntry | undefined> | undefined;
  readonly apiKeys?: ReadonlyMap<string, ApiKeyEntry | undefined> | undefined;
}

/**
 * A snapshot in the making. Between two of its calls nothing is seen of it, so that 100,000 entries can be
 * added in slices.
 */
export interface Rebuild {
  /** Add an entry that `parsePeer` has accepted. One that clashes is left out, and kept as a problem. */
  peer(entry: PeerEntry): void;
  /** Add an entry that `parseApiKey` has accepted. One that clashes is left out, and kept as a problem. */
  apiKey(entry: ApiKeyEntry): void;
  /** An entry that could not be read. */
  problem(problem: IdentityProblem, cause?: Error): void;
  /** The first thing that did not hold together. */
  readonly conflict: Error | undefined;
  /**
   * Make this what look-ups see, and tell the followers.
   *
   * @param newer entries that have changed since they were added here.
   */
  swap(newer?: IdentityPatch): Cut;
}

/** What look-ups see. */
export interface Snapshot {
  /** By `peer_id` in lower case, or prefix. */
  readonly holders: OverlayMap<string, Holder>;
  readonly byFingerprint: OverlayMap<string, Holder>;
  /** By the hash's 64 hex digits. */
  readonly byToken: OverlayMap<string, Holder>;
  readonly problems: OverlayMap<string, IdentityProblem>;
}

/** Puts what was built in the place of what there was. */
export type Done = (
  snapshot: Snapshot,
  ends: readonly Holder[],
  newer: IdentityPatch | undefined,
) => Cut;

export class Building implements Rebuild {
  readonly #roles: Roles;
  readonly #hold: (key: string, made: Made) => Holder;
  readonly #done: Done;
  readonly #ends: Holder[] = [];
  readonly #holders = new Map<string, Holder>();
  readonly #byFingerprint = new Map<string, Holder>();
  readonly #byToken = new Map<string, Holder>();
  readonly #problems = new Map<string, IdentityProblem>();
  conflict: Error | undefined;

  constructor(roles: Roles, hold: (key: string, made: Made) => Holder, done: Done) {
    this.#roles = roles;
    this.#hold = hold;
    this.#done = done;
  }

  peer(entry: PeerEntry): void {
    this.#add({ kind: "peer", entry });
  }

  apiKey(entry: ApiKeyEntry): void {
    this.#add({ kind: "apiKey", entry });
  }

  problem(problem: IdentityProblem, cause: Error = new Error(problem.message)): void {
    this.conflict ??= cause;
    this.#problems.set(problem.subject, problem);
  }

  swap(newer?: IdentityPatch): Cut {
    const snapshot = {
      holders: new OverlayMap(this.#holders),
      byFingerprint: new OverlayMap(this.#byFingerprint),
      byToken: new OverlayMap(this.#byToken),
      problems: new OverlayMap(this.#problems),
    };
    return this.#done(snapshot, this.#ends, newer);
  }

  #add(made: Made): void {
    const key = keyOf(made);
    // People type them in any case, and host names made of them have none.
    if (this.#holders.has(key)) {
      const name = nameOf(made);
      const message = "there is another of that name (upper and lower case count as one)";
      const error = new PeerError("DUPLICATE_PEER_ID", name, ["peerId"], message);
      return this.problem({ subject: subjectOf(made), message }, error);
    }
    const holder = this.#hold(key, made);
    this.#holders.set(key, holder);
    if (holder.changesAt !== Infinity) this.#ends.push(holder);
    const trouble = roleProblem(holder, this.#roles);
    if (trouble !== undefined) this.#problems.set(trouble.subject, trouble);
    for (const [index, each] of fingerprintsOf(holder).entries()) {
      this.#claim(this.#byFingerprint, each, holder, index);
    }
    const hash = hashOf(holder);
    if (hash !== undefined) this.#claim(this.#byToken, hash, holder);
  }

  #claim(claims: Map<string, Holder>, credential: string, holder: Holder, index?: number): void {
    const other = claims.get(credential);
    if (other === undefined || other === holder) {
      claims.set(credential, holder);
      return;
    }
    // Whichever came first would be chance: the key is nobody's, until it is mended.
    claims.set(credential, CONTESTED);
    const { problem, error } = contested(holder, other, credential, index);
    this.problem(problem, error);
  }
}
