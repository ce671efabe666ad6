/**
 * What is so while anybody holds it.
 *
 * @module
 */

export interface Holding {
  readonly isHeld: boolean;
  /** Hold it until what comes is disposed of; a second time changes nothing. */
  hold(): Disposable;
}

export function holding(): Holding {
  const holders = new Set<Disposable>();
  return {
    get isHeld() {
      return holders.size > 0;
    },
    hold() {
      const holder = { [Symbol.dispose]: () => void holders.delete(holder) };
      holders.add(holder);
      return holder;
    },
  };
}
