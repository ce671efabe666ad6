/**
 * The terminal of a person who is on another machine by it: every key goes there, and what comes is shown as it is.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { text } from "node:stream/consumers";
import type { ReadStream, WriteStream } from "node:tty";
import type { WindowSize } from "@alknet/ssh/client";

/** Raw mode, left when it is disposed of. Node leaves it at the end of the process too, also when that fails. */
export interface RawMode extends Disposable {
  /** Stop this process, as Ctrl-Z does; returns, raw again, when it is continued. */
  suspend(): void;
}

export function enterRawMode(keyboard: ReadStream): RawMode {
  const enter = (): void => {
    keyboard.setRawMode(true);
    // Node leaves the output of a raw terminal cooked: a cursor that is sent down would go to the left as well.
    spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
  };
  const leave = (): void => void keyboard.setRawMode(false);
  enter();
  return {
    suspend() {
      leave();
      // It stands still in there; where no shell could continue it, the system does not stop it either.
      process.kill(process.pid, "SIGTSTP");
      enter();
      // Who stands still is not told that the window has another size.
      process.kill(process.pid, "SIGWINCH");
    },
    [Symbol.dispose]: leave,
  };
}

/** @returns what `stty -a` says of the terminal on stdin; nothing where there is none of either. */
export async function describeModes(): Promise<string> {
  const child = spawn("stty", ["-a"], {
    stdio: ["inherit", "pipe", "ignore"],
    env: { ...process.env, LC_ALL: "C" },
  });
  child.on("error", () => {});
  return await text(child.stdout).catch(() => "");
}

export function sizeOf({ columns, rows }: WriteStream): WindowSize {
  // A terminal that does not know its size says 0.
  return { columns: columns || 80, rows: rows || 24 };
}
