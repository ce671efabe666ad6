/**
 * The terminal of the person at it, wherever stdin and stdout lead: what is asked there is answered there.
 *
 * @module
 */

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { isatty, ReadStream } from "node:tty";
import { readHiddenLine } from "./hidden-line.ts";
import { Interrupted } from "./interrupted.ts";
import { secretInput } from "./secret-input.ts";
import { wipedReads } from "./wiped-reads.ts";

/** A terminal, opened; disposing it leaves it as it was. */
export interface Tty extends Disposable {
  /** Text, or secret bytes that leave no copy in a buffer of ours. */
  write(text: string | Uint8Array): void;
  /**
   * Ask for a line that is seen as it is typed.
   *
   * @throws {Interrupted}
   */
  ask(prompt: string): Promise<Uint8Array>;
  /**
   * Ask for a line that is not seen. The caller wipes it.
   *
   * @throws {Interrupted}
   */
  askHidden(prompt: string): Promise<Uint8Array>;
  /** Run `work` on a screen of its own, which is gone afterwards, with what was on it. */
  onOwnScreen<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** Longest line that is seen, in bytes; the system's own limit is near it. */
const MAX_SEEN = 4_096;

export interface TtyOptions {
  /** `TERM` */
  readonly term: string | undefined;
  /** Ends a question, with {@linkcode Interrupted}. */
  readonly interrupted: AbortSignal;
}

/**
 * Open the terminal of this process; `undefined` if nobody is there to be asked: neither stdin nor stderr is one, there
 * is none, or the program runs in the background.
 */
export function openTty({ term, interrupted }: TtyOptions): Tty | undefined {
  if ((!isatty(0) && !isatty(2)) || inBackground()) return undefined;
  let output: number;
  try {
    output = openSync(TERMINAL, "r+");
  } catch {
    // A process can have lost it (setsid).
    return undefined;
  }
  const keyboard: ReadStream = new ReadStream(openSync(TERMINAL, "r"), {
    onread: wipedReads(() => keyboard),
  });
  const onabort = (): void => {
    // Before it is closed: after that nobody could.
    keyboard.setRawMode(false);
    keyboard.destroy();
  };
  interrupted.addEventListener("abort", onabort, { once: true });
  const input = secretInput(bytesOf(keyboard));
  const write = (text: string | Uint8Array): void =>
    void writeSync(output, typeof text === "string" ? Buffer.from(text) : text);
  return {
    write,
    async ask(prompt) {
      write(prompt);
      const line = await input.line(MAX_SEEN);
      if (line === undefined || interrupted.aborted) throw new Interrupted();
      return line;
    },
    async askHidden(prompt) {
      keyboard.setRawMode(true);
      try {
        write(prompt);
        return await readHiddenLine(input);
      } finally {
        keyboard.setRawMode(false);
        write("\n");
      }
    },
    async onOwnScreen(work) {
      const [enter, leave] = screenOf(term);
      write(enter);
      try {
        return await work();
      } finally {
        write(leave);
      }
    },
    [Symbol.dispose]() {
      interrupted.removeEventListener("abort", onabort);
      keyboard.destroy();
      closeSync(output);
    },
  };
}

const TERMINAL = "/dev/tty";

/** What begins a screen of its own, and what ends it. */
function screenOf(term: string | undefined): readonly [enter: string, leave: string] {
  if (term === undefined || term === "dumb") {
    return ["\n", "\nThis terminal cannot be wiped: close it, so that nobody reads it.\n"];
  }
  const clear = "\x1b[2J\x1b[H";
  // Linux's console may have no other screen: there it is the one that all is on, with what was scrolled away.
  if (term === "linux") return [clear, `${clear}\x1b[3J`];
  // The alternate one of xterm and all that came after it, which has no scrollback.
  return [`\x1b[?1049h${clear}`, `${clear}\x1b[?1049l`];
}

/** A job in the background that touches the terminal is stopped by the system. */
function inBackground(): boolean {
  if (process.platform !== "linux") return false;
  // After the name, which may hold anything: state, parent, group, session, terminal, group in the foreground (proc(5)).
  const stat = readFileSync("/proc/self/stat", "utf8");
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group !== foreground;
}

/** Ends, and does not fail, when the stream is destroyed. */
async function* bytesOf(keyboard: ReadStream): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of keyboard) yield chunk as Buffer;
  } catch {
    // The terminal is gone: there is no more to read.
  }
}
