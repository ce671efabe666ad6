/**
 * A session that is there when it is needed: opened at first use, again after a loss, and closed when nobody has
 * needed it for a while.
 *
 * @module
 */

import type { PostgresSession } from "./postgres-session.ts";

/** A server lets some hundred in, and a store that nobody writes to needs no session for writing. In milliseconds. */
const IDLE = 60_000;

/** A session, until it is given back. */
export interface Lease extends Disposable {
  readonly session: PostgresSession;
  /** It was there before: it may have been lost without anybody's noticing. */
  readonly isOld: boolean;
}

export class SessionKeeper {
  readonly #open: () => Promise<PostgresSession>;
  #session: PostgresSession | undefined;
  #opening: Promise<PostgresSession> | undefined;
  #leases = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(open: () => Promise<PostgresSession>) {
    this.#open = open;
  }

  /** @throws what opening throws. */
  async lease(): Promise<Lease> {
    clearTimeout(this.#idle);
    this.#leases++;
    let given = false;
    const release = (): void => {
      if (given) return;
      given = true;
      if (--this.#leases === 0) this.#idle = setTimeout(() => void this.close(), IDLE).unref();
    };
    try {
      const isOld = this.#session?.isLost === false;
      const session = isOld ? this.#session! : await this.#opened();
      return { session, isOld, [Symbol.dispose]: release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #opened(): Promise<PostgresSession> {
    return (this.#opening ??= this.#open()
      .then((session) => (this.#session = session))
      .finally(() => (this.#opening = undefined)));
  }

  /** Close the session that is there now; the next lease opens another. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }
}
