/**
 * What the set-up says: progress on stderr, and one line when something is missing.
 *
 * Like all of `setup/`: plain JavaScript for Node 20, no packages, for none is installed yet.
 *
 * @module
 */

/** Something that only a person can mend. Its message is the one line that says what to do. */
export class SetupError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function say(text) {
  process.stderr.write(`alknet: ${text}\n`);
}

/** Run one step of the set-up, and say how long it took. */
export async function step(text, work) {
  const began = performance.now();
  say(`${text} ...`);
  const result = await work();
  say(`${text}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return result;
}
