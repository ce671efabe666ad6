/**
 * Errors that tell of what happened on the wire.
 *
 * @module
 */

/**
 * Make an error that has no stack trace: of where it is made there is nothing to tell, since a peer or a
 * socket is its reason. A trace takes 2 µs to record and, for Node asks each error that destroys a stream
 * for it, up to 20 µs to write out: as much as a tenth of a TLS handshake's JavaScript.
 */
export function withoutStack<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
