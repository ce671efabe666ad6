/**
 * `ssh-echo`: keystrokes while a download runs, as `ssh-echo-rounds.ts` has them.
 *
 * @module
 */

import type { Bench } from "./harness.ts";
import { type Direction, echoRounds } from "./ssh-echo-rounds.ts";

const DOWNLOAD: Direction = {
  command: "cat /dev/zero",
  file: "/dev/null",
  counter: "wchar",
};

export const bench: Bench = {
  run: (options) => echoRounds("ssh-echo", DOWNLOAD, options),
};
