/**
 * `ssh-echo-upload`: keystrokes while an upload runs, as `ssh-echo-rounds.ts` has them.
 *
 * @module
 */

import type { Bench } from "./harness.ts";
import { type Direction, echoRounds } from "./ssh-echo-rounds.ts";

const UPLOAD: Direction = {
  command: "cat >/dev/null",
  file: "/dev/zero",
  counter: "rchar",
};

export const bench: Bench = {
  run: (options) => echoRounds("ssh-echo-upload", UPLOAD, options),
};
