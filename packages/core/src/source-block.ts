/**
 * Sources of connections by block, and what is counted of each.
 *
 * @module
 */

import { formatIp, type IpAddress } from "./ip-address.ts";
import { LinkedList, type ListNode } from "./linked-list.ts";
import type { HeapEntry } from "./min-heap.ts";

/** What is counted of a block: an IPv4 address or an IPv6 /64. */
export class SourceBlock implements HeapEntry {
  readonly id: number | string;
  /** When it is forgiven, on the clock's scale. */
  key: number = Number.NEGATIVE_INFINITY;
  heapIndex = -1;
  /** Enough has added up: refused until then. */
  active = false;
  /** Drops of its handshakes, oldest first. */
  readonly handshakes: LinkedList<() => void> = new LinkedList();
  pending = 0;
  place: ListNode<SourceBlock> | undefined;
  authenticated = 0;
  strangers = 0;
  web = 0;

  constructor(id: number | string) {
    this.id = id;
  }

  penalized(now: number): boolean {
    return this.active && this.key > now;
  }

  /** Handshakes and connections. */
  get total(): number {
    return this.pending + this.authenticated + this.strangers + this.web;
  }

  inUse(): boolean {
    return this.total > 0;
  }
}

/** What {@linkcode blockKey} stands for. */
export function blockText(id: number | string): string {
  if (typeof id === "number") return formatIp({ family: 4, words: [id, 0, 0, 0] });
  const [first = 0, second = 0] = id.split(".").map(Number);
  return `${formatIp({ family: 6, words: [first, second, 0, 0] })}/64`;
}

/** IPv4 by address, IPv6 by /64: what one subscriber is given. */
export function blockKey(address: IpAddress): number | string {
  const [first, second] = address.words;
  return address.family === 4 ? first : `${first}.${second}`;
}
