/**
 * Calling the functions that people hand in.
 *
 * @module
 */

/** Run `call`: what it throws becomes an uncaught exception, and no reason to skip what follows. */
export function isolated(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
