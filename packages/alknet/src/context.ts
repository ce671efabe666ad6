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
  /** The first Ctrl-C or SIGTERM: finish, then go. */
  readonly interrupted: AbortSignal;
  /** The second one: the process ends once its listeners have run. */
  readonly killed: AbortSignal;
  /** Have `listener` called on SIGHUP, until it is disposed of. @default never */
  readonly onhangup?: ((listener: () => void) => Disposable) | undefined;
  readonly version: string;
}
