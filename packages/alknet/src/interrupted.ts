/**
 * A command that was interrupted before it was done.
 *
 * @module
 */

/** Ctrl-C, SIGTERM or SIGHUP came first, and the command has cleaned up. Exit code 130, and nothing to explain. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}
