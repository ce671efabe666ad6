/**
 * What a command is given instead of `process`.
 *
 * @module
 */

import type { Readable, Writable } from "node:stream";
import type { Home } from "@alknet/core/home";
import type { SecretInput } from "./secret-input.ts";
import type { Terminal } from "./terminal.ts";
import type { Tty } from "./tty.ts";

export interface Context {
  readonly home: Home;
  readonly terminal: Terminal;
  /** What comes in: stdin. */
  readonly input: SecretInput & { readonly isTerminal: boolean };
  /** stdin and stdout as streams of bytes, for who carries a connection. To be asked for once, and not beside `input`. */
  readonly pipe: () => { readonly input: Readable; readonly output: Writable };
  /** Open the terminal of the person at it; `undefined`: there is nobody to ask. */
  readonly openTty: () => Promise<Tty | undefined>;
  /** The first Ctrl-C, SIGTERM or SIGHUP: finish, then go. */
  readonly interrupted: AbortSignal;
  /** The second one: the process ends once its listeners have run. */
  readonly killed: AbortSignal;
  /** Have `listener` called on SIGHUP, which ends nothing until that is disposed of. @default never */
  readonly onhangup?: ((listener: () => void) => Disposable) | undefined;
  /** What starts this program again: command and arguments. */
  readonly program: readonly string[];
  readonly version: string;
}
