/**
 * Admission: who may begin a handshake, who may keep a connection, and who has to wait.
 *
 * Sources are counted by block, an IPv4 address or an IPv6 /64. All ALPNs and both transports share
 * what is counted here. Every operation takes O(log n) at worst in the number of blocks tracked.
 *
 * - **Pending handshakes.** When they are too many, the oldest of the block that has most is dropped and
 *   the newcomer enters: a handshake that moves is over before its turn comes, one that stalls is not. A
 *   QUIC packet whose source is not proved drops nobody: it is answered with a Retry, which costs no memory.
 * - **Connections** are counted by peer if there is one, else by block.
 * - **Penalties** add up, as OpenSSH's `PerSourcePenalties` do: each mistake puts off the time at which the block is
 *   forgiven, and once that is the minimum away the block is refused until then. Only a source that was
 *   proved (TCP, a validated QUIC path) earns one: a forged datagram must not lock out whom it names.
 *
 * Pure: no I/O, and the clock is handed in.
 *
 * @module
 */

import { type Clock, systemClock } from "./clock.ts";
import { blockContains, type IpBlock, parseIp } from "./ip-address.ts";
import {
  type Caps,
  checkedLimits,
  type LimitValues,
  type Penalty,
  type PenaltyTimes,
} from "./limit-values.ts";
import { LinkedList, type ListNode } from "./linked-list.ts";
import { MinHeap } from "./min-heap.ts";
import { blockKey, blockText, SourceBlock } from "./source-block.ts";

export interface LimitsOptions extends LimitValues {
  clock?: Clock | undefined;
}

export interface AdmissionSource {
  /** An IP address; a zone is ignored. */
  readonly address: string;
  /** The address was proved: always so on TCP, on QUIC after a Retry or with a token. */
  readonly validated: boolean;
}

/** `ignore` is silence: to answer a forged source would be to send packets to whom it names. */
export type Admission =
  | { readonly outcome: "accept"; readonly handshake: PendingHandshake }
  | { readonly outcome: "retry" }
  | { readonly outcome: "refuse" | "ignore"; readonly reason: "penalty" | "limit" | "source" };

/** A handshake that was admitted. Exactly one of its methods is to be called, once; after a drop neither matters. */
export interface PendingHandshake {
  /**
   * TLS is complete, and the key in it was looked up.
   *
   * @param peerId who it is, if it is anybody.
   * @returns `undefined` if this connection would be over a limit: close it with `LIMIT`.
   */
  succeeded(peerId: string | undefined, alpnClass: AlpnClass): ConnectionSlot | undefined;
  /**
   * It ended, or its connection is refused.
   *
   * @param validated whether the source is proved by now. @default as it was at the beginning
   */
  failed(penalty?: Penalty, validated?: boolean): void;
}

/** What the ALPN wants to know of its callers: a known key, any key, none. */
export type AlpnClass = "peer" | "keyed" | "web";

/** A connection that is counted until it is disposed of. */
export interface ConnectionSlot extends Disposable {
  /** The connection misbehaved after its handshake: a password that failed, for one. It may have ended since. */
  penalize(penalty: Penalty): void;
}

/** What the limits are doing. Times in milliseconds. */
export interface LimitsReport {
  readonly pending: number;
  readonly connections: number;
  /** Blocks that are remembered. */
  readonly blocks: number;
  readonly caps: Caps;
  readonly penalizedCount: number;
  /** The longest ones. `source` is an IPv4 address or an IPv6 block. */
  readonly penalized: readonly { readonly source: string; readonly left: number }[];
  /** The busiest blocks. */
  readonly sources: readonly {
    readonly source: string;
    readonly pending: number;
    readonly authenticated: number;
    readonly strangers: number;
    readonly web: number;
  }[];
  /** Those with most connections. */
  readonly peers: readonly { readonly peer: string; readonly connections: number }[];
}

export class AdmissionLimits {
  readonly #clock: Clock;
  #caps: Caps;
  #penalties: PenaltyTimes;
  #exempt: readonly IpBlock[];
  readonly #blocks = new Map<number | string, SourceBlock>();
  /** Blocks that are remembered for their penalty alone, soonest forgiven first. */
  readonly #idle = new MinHeap<SourceBlock>();
  /** `#byPending[n]`: blocks with n handshakes pending; the fullest is at {@linkcode #most}. */
  readonly #byPending: LinkedList<SourceBlock>[] = [];
  #most = 0;
  #pending = 0;
  #connections = 0;
  readonly #perPeer = new Map<string, number>();

  /**
   * @throws {InvalidText} `BLOCK_INVALID` if an exempt block does not parse.
   * @throws {RangeError} if a cap is not above 0, a penalty below 0, or more blocks can be in use than are tracked.
   */
  constructor(options: LimitsOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    ({
      caps: this.#caps,
      penalties: this.#penalties,
      exempt: this.#exempt,
    } = checkedLimits(options));
  }

  /**
   * Use other limits from now on; what `values` leaves out is the default again. What is connected stays, and
   * penalties that were earned run on.
   *
   * @throws as the constructor; all stays as it was then.
   */
  change(values: LimitValues): void {
    const { caps, penalties, exempt } = checkedLimits(values);
    this.#caps = caps;
    this.#penalties = penalties;
    this.#exempt = exempt;
  }

  /**
   * A handshake wants to begin.
   *
   * @param drop called at most once, if the handshake has to make room: end it now. It may call back in here.
   */
  begin(source: AdmissionSource, transport: "quic" | "tcp", drop: () => void): Admission {
    const address = parseIp(source.address);
    if (address === undefined) return { outcome: "refuse", reason: "source" };
    const validated = transport === "tcp" || source.validated;
    const exempt = this.#exempt.some((block) => blockContains(block, address));
    const key = blockKey(address);
    const known = this.#blocks.get(key);

    if (!exempt && known !== undefined && known.penalized(this.#clock.now())) {
      return { outcome: validated ? "refuse" : "ignore", reason: "penalty" };
    }
    if (this.#connections >= this.#caps.connections) return { outcome: "refuse", reason: "limit" };

    const cap = exempt
      ? Number.POSITIVE_INFINITY
      : known !== undefined && known.authenticated > 0
        ? this.#caps.pendingPerTrustedBlock
        : this.#caps.pendingPerBlock;
    const blockIsFull = known !== undefined && known.pending >= cap;
    if (!validated && (blockIsFull || this.#pending >= this.#caps.retry))
      return { outcome: "retry" };
    if (blockIsFull) this.#dropOldestOf(known);
    else if (this.#pending >= this.#caps.pending)
      this.#dropOldestOf(this.#byPending[this.#most]!.first!);

    // Only now: what was dropped may have been the last that kept the block.
    const block = this.#use(key);
    return { outcome: "accept", handshake: this.#addPending(block, { validated, exempt, drop }) };
  }

  /**
   * Who is penalised, who uses most, and what the limits are: for the owner, who is shown it.
   *
   * Looks at every block: at 65,536 of them it takes some milliseconds.
   *
   * @param most blocks and peers that are listed of each.
   */
  report(most: number = 16): LimitsReport {
    const now = this.#clock.now();
    const blocks = [...this.#blocks.values()];
    const penalized = blocks.filter((block) => block.penalized(now));
    const busy = blocks.filter((block) => block.inUse());
    return {
      ...this.stats(),
      caps: this.#caps,
      penalizedCount: penalized.length,
      penalized: penalized
        .toSorted((a, b) => b.key - a.key)
        .slice(0, most)
        .map(({ id, key }) => ({ source: blockText(id), left: key - now })),
      sources: busy
        .toSorted((a, b) => b.total - a.total)
        .slice(0, most)
        .map(({ id, pending, authenticated, strangers, web }) => ({
          source: blockText(id),
          pending,
          authenticated,
          strangers,
          web,
        })),
      peers: [...this.#perPeer]
        .toSorted(([, a], [, b]) => b - a)
        .slice(0, most)
        .map(([peer, connections]) => ({ peer, connections })),
    };
  }

  /** What is in use now. */
  stats(): { readonly pending: number; readonly connections: number; readonly blocks: number } {
    return { pending: this.#pending, connections: this.#connections, blocks: this.#blocks.size };
  }

  /** How long the block of `address` will still be refused, in milliseconds; 0: it is not. */
  penalty(address: string): number {
    const ip = parseIp(address);
    const block = ip === undefined ? undefined : this.#blocks.get(blockKey(ip));
    const now = this.#clock.now();
    return block !== undefined && block.penalized(now) ? block.key - now : 0;
  }

  #addPending(
    block: SourceBlock,
    { validated, exempt, drop }: { validated: boolean; exempt: boolean; drop: () => void },
  ): PendingHandshake {
    let done = false;
    const end = (): boolean => {
      if (done) return false;
      done = true;
      block.handshakes.remove(node);
      this.#countPending(block, -1);
      return true;
    };
    const dropThis = (): void => {
      if (!end()) return;
      this.#settle(block);
      drop();
    };
    const node: ListNode<() => void> = block.handshakes.push(dropThis);
    this.#countPending(block, 1);
    return {
      succeeded: (peerId, alpnClass) => {
        if (!end()) return undefined;
        const slot = this.#addConnection(block, peerId, alpnClass, exempt);
        this.#settle(block);
        return slot;
      },
      failed: (penalty, validatedNow = validated) => {
        if (!end()) return;
        if (penalty !== undefined && validatedNow && !exempt) this.#penalize(block, penalty);
        this.#settle(block);
      },
    };
  }

  /** The block must have one. */
  #dropOldestOf(block: SourceBlock): void {
    block.handshakes.first!();
  }

  #addConnection(
    block: SourceBlock,
    peerId: string | undefined,
    alpnClass: AlpnClass,
    exempt: boolean,
  ): ConnectionSlot | undefined {
    const count =
      peerId !== undefined ? "authenticated" : alpnClass === "web" ? "web" : "strangers";
    const ofPeer = peerId === undefined ? 0 : (this.#perPeer.get(peerId) ?? 0);
    if (!this.#mayConnect(block, count, ofPeer, exempt)) return undefined;
    this.#connections++;
    block[count]++;
    if (peerId !== undefined) this.#perPeer.set(peerId, ofPeer + 1);
    let open = true;
    return {
      penalize: (penalty) => {
        if (exempt) return;
        const charged = open ? block : this.#use(block.id);
        this.#penalize(charged, penalty);
        this.#settle(charged);
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.#connections--;
        block[count]--;
        if (peerId !== undefined) {
          const left = this.#perPeer.get(peerId)! - 1;
          if (left === 0) this.#perPeer.delete(peerId);
          else this.#perPeer.set(peerId, left);
        }
        this.#settle(block);
      },
    };
  }

  #mayConnect(
    block: SourceBlock,
    count: "authenticated" | "web" | "strangers",
    ofPeer: number,
    exempt: boolean,
  ): boolean {
    const { connections, connectionsPerPeer, strangersPerBlock, webPerBlock } = this.#caps;
    if (count === "authenticated") {
      return this.#connections < connections && ofPeer < connectionsPerPeer;
    }
    // The rest is kept for peers: sixteen addresses full of strangers must not shut them out.
    if (this.#connections >= connections - Math.floor(connections / 8)) return false;
    return exempt || block[count] < (count === "web" ? webPerBlock : strangersPerBlock);
  }

  #penalize(block: SourceBlock, penalty: Penalty): void {
    const now = this.#clock.now();
    const before = Math.max(block.key, now);
    if (before === now) block.active = false;
    const { minimum, maximum } = this.#penalties;
    // Of a maximum that was higher then, the rest is kept.
    const until = Math.max(before, Math.min(before + this.#penalties[penalty], now + maximum));
    // In use, so not in the heap: its key may change.
    block.key = until;
    if (until - now >= minimum) block.active = true;
  }

  /** The block at `key`, made if need be, and not to be forgotten until it is settled. */
  #use(key: number | string): SourceBlock {
    this.#forgive();
    let block = this.#blocks.get(key);
    if (block === undefined) {
      // More than are in use are tracked, so one that is not in use is there to be forgotten; but for when there
      // were higher caps before.
      while (this.#blocks.size >= this.#caps.blocks && this.#idle.first !== undefined) {
        this.#forget(this.#idle.first);
      }
      block = new SourceBlock(key);
      this.#blocks.set(key, block);
    }
    this.#idle.remove(block);
    return block;
  }

  /** Something of `block` has ended: if nothing is left but a penalty, keep it for that, or not at all. */
  #settle(block: SourceBlock): void {
    if (block.inUse() || block.heapIndex >= 0) return;
    if (block.key > this.#clock.now()) this.#idle.push(block);
    else this.#blocks.delete(block.id);
  }

  #forgive(): void {
    const now = this.#clock.now();
    for (
      let first = this.#idle.first;
      first !== undefined && first.key <= now;
      first = this.#idle.first
    ) {
      this.#forget(first);
    }
  }

  #forget(block: SourceBlock): void {
    this.#idle.remove(block);
    this.#blocks.delete(block.id);
  }

  /** Move `block` to the list of its new count. Counts change by one, so `#most` does too. */
  #countPending(block: SourceBlock, change: 1 | -1): void {
    if (block.place !== undefined) this.#byPending[block.pending]!.remove(block.place);
    block.pending += change;
    this.#pending += change;
    block.place = undefined;
    if (block.pending > 0) {
      block.place = (this.#byPending[block.pending] ??= new LinkedList()).push(block);
      this.#most = Math.max(this.#most, block.pending);
    }
    if (this.#most > 0 && this.#byPending[this.#most]!.first === undefined) this.#most--;
  }
}
