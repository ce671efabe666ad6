/**
 * A command that was another program's, which has ended.
 *
 * @module
 */

/** The exit code of that program is ours. There is nothing to explain. */
export class ProgramEnded extends Error {
  override readonly name = "ProgramEnded";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`ended with ${exitCode}`);
    this.exitCode = exitCode;
  }
}
