/**
 * The lock of an SSH agent, `ssh-add -x` and `-X`: while it is on, the agent offers no key and signs nothing.
 *
 * It bars who can reach the socket. Secrets stay in memory, which a lock of the vault itself wipes.
 *
 * @module
 */

import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { secretBytes, wipe } from "./wipe.ts";

export interface AgentLock {
  readonly locked: boolean;
  /** @returns whether it was not locked. */
  lock(passphrase: Uint8Array): Promise<boolean>;
  /** One attempt at a time; after wrong ones the next answer takes longer. @returns whether it was the passphrase. */
  unlock(passphrase: Uint8Array): Promise<boolean>;
  /** Unlock without a passphrase: for who has opened the vault with its own. */
  clear(): void;
}

/** Attempts that wait for their turn; more are refused. */
const MAX_WAITING = 16;

/** @param sleep for so many milliseconds. */
export function createAgentLock(sleep: (milliseconds: number) => Promise<void>): AgentLock {
  let lock: { readonly salt: Uint8Array; readonly key: Uint8Array } | undefined;
  let wrong = 0;
  let waiting = 0;
  let turn: Promise<unknown> = Promise.resolve();

  function clear(): void {
    wipe(lock?.key);
    lock = undefined;
    wrong = 0;
  }

  async function attempt(passphrase: Uint8Array): Promise<boolean> {
    const current = lock;
    if (current === undefined) return false;
    const tried = await derive(passphrase, current.salt);
    // Cleared meanwhile, its key is all zeros.
    const right = timingSafeEqual(tried, current.key);
    wipe(tried);
    if (right) {
      clear();
      return true;
    }
    wrong += 1;
    await sleep(Math.min(wrong * 100, 10_000));
    return false;
  }

  return {
    get locked() {
      return lock !== undefined;
    },
    async lock(passphrase) {
      if (lock !== undefined) return false;
      const salt = randomBytes(16);
      const key = await derive(passphrase, salt);
      // Somebody else was faster.
      if (lock !== undefined) {
        wipe(key);
        return false;
      }
      lock = { salt, key };
      return true;
    },
    async unlock(passphrase) {
      if (waiting === MAX_WAITING) return false;
      waiting += 1;
      const mine = turn.then(() => attempt(passphrase));
      turn = mine.catch(() => {});
      try {
        return await mine;
      } finally {
        waiting -= 1;
      }
    },
    clear,
  };
}

/** scrypt (RFC 7914) with 32 MiB, some 60 ms: passphrases for a short absence are short. */
function derive(passphrase: Uint8Array, salt: Uint8Array): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  scrypt(passphrase, salt, 32, { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 26 }, (error, key) => {
    if (error !== null) return reject(error);
    const owned = secretBytes(key.length);
    owned.set(key);
    wipe(key);
    resolve(owned);
  });
  return promise;
}
