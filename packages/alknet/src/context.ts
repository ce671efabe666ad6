/**
 * What a command is given instead of `process`.
 *
 * @module
 */

import type { Home } from "@alknet/core/home";
import type { Terminal } from "./terminal.ts";

export interface Context {
  readonly home: Home;
  readonly terminal: Terminal;
  /** The first Ctrl-C or SIGTERM: finish, then go. (The second one ends the process.) */
  readonly interrupted: AbortSignal;
  readonly version: string;
}
