/**
 * A pseudoterminal, as this process has it: what a program prints on it, and what is typed.
 *
 * Of node-pty only its addon is used, to open one and to size it. Its own streams write in a loop that never ends
 * while a program reads nothing, with the whole node in it; give up what was printed 200 ms after the program's end; and
 * its programs inherit each other's terminals.
 *
 * @module
 */

import { closeSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import process from "node:process";
import { Readable, Writable } from "node:stream";
import { ReadStream } from "node:tty";
import { isClosedNow, keepFromPrograms } from "./program-descriptors.ts";

export interface TerminalDevice {
  /** `/dev/pts/…` */
  readonly path: string;
  readonly output: Readable;
  /** What ends the input is typed at its end, if there is such a character. */
  readonly input: Writable;
  resize(size: WindowSize): void;
  /** Show something beside what the program prints. */
  print(data: Buffer): void;
  /** The program has ended: what it printed comes still, and then the end, whoever has the terminal open yet. */
  finish(): void;
  /** Hang up. */
  close(): void;
}

/** In characters. */
export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/** There are no terminals: the optional package is not installed, or not for this platform. */
export class NoTerminals extends Error {
  override readonly name = "NoTerminals";
  readonly code = "NO_TERMINALS";
}

interface Addon {
  readonly open: (columns: number, rows: number) => { master: number; slave: number; pty: string };
  readonly resize: (master: number, columns: number, rows: number) => void;
}

/** Most that is read at once, in bytes. */
const PIECE = 64 * 1024;
/** Most that a terminal holds back when its program has ended, in bytes: twice what Linux has room for. */
const MAX_REST = 128 * 1024;
/** What a program has no room for is tried again after this time, and then after twice it, in milliseconds. */
const RETRY = { first: 4, longest: 128 } as const;

let addon: Addon | undefined;

/**
 * Open a terminal.
 *
 * @param endOfInput is typed where the input ends.
 * @throws {NoTerminals} without `@lydell/node-pty`.
 */
export function openTerminal(size: WindowSize, endOfInput: number | undefined): TerminalDevice {
  const { open, resize } = (addon ??= loadAddon());
  const { master, slave, pty: path } = open(size.columns, size.rows);
  for (const each of [master, slave]) keepFromPrograms(each);
  const stream = new ReadStream(master);
  let isClosed = false;
  let isFinished = false;
  let retry: (() => void) | undefined;

  const output = new Readable({
    highWaterMark: PIECE,
    read: () => void (isClosed || stream.resume()),
    destroy: (error, done) => {
      close();
      done(error);
    },
  });
  stream.on("data", (data) => {
    if (!output.push(data)) stream.pause();
    // Who prints may be reading again.
    retry?.();
  });
  // EIO: nobody has it open any more.
  stream.on("error", close);
  stream.on("close", close);

  const input = new Writable({
    highWaterMark: PIECE,
    write: (data: Buffer, _encoding, done) => type(data, 0, RETRY.first, done),
    final: (done) => {
      if (endOfInput === undefined) done();
      else type(Buffer.from([endOfInput]), 0, RETRY.first, done);
    },
  });

  function type(data: Buffer, from: number, pause: number, done: () => void): void {
    let at = from;
    try {
      while (!isClosed && at < data.length) at += writeSync(master, data, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") {
        // There is no way to be told when there is room.
        const next = at > from ? RETRY.first : Math.min(2 * pause, RETRY.longest);
        const late = setTimeout(() => retry?.(), pause).unref();
        retry = () => {
          retry = undefined;
          clearTimeout(late);
          type(data, at, next, done);
        };
        return;
      }
      // EIO: there is nobody to read it.
    }
    done();
  }

  function finish(): void {
    if (isClosed || isFinished) return;
    isFinished = true;
    forget(slave);
    stream.pause();
    // What the stream has read already: its listener hears of it.
    while (stream.read() !== null);
    for (let left = MAX_REST; left > 0;) {
      const data = readNow(master);
      if (data === undefined) break;
      output.push(data);
      left -= data.length;
    }
    close();
  }

  function close(): void {
    if (isClosed) return;
    isClosed = true;
    if (!isFinished) forget(slave);
    isClosedNow(master);
    stream.destroy();
    output.push(null);
    retry?.();
  }

  return {
    path,
    output,
    input,
    resize: ({ columns, rows }) => void (isClosed || resize(master, columns, rows)),
    print: (data) => void (isClosed || output.push(data)),
    finish,
    close,
  };
}

/** Why there are no terminals; `undefined`: there are. */
export function whyNoTerminals(): string | undefined {
  try {
    loadAddon();
    return undefined;
  } catch (error) {
    return (error as NoTerminals).message;
  }
}

function loadAddon(): Addon {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const { resolve } = createRequire(import.meta.url);
    const require = createRequire(resolve("@lydell/node-pty"));
    return require(`@lydell/node-pty-${platform}/pty.node`) as Addon;
  } catch (cause) {
    const text = `there are no terminals here: @lydell/node-pty is not installed for ${platform}`;
    throw new NoTerminals(text, { cause });
  }
}

/** `undefined`: there is nothing at present, or never again. */
function readNow(descriptor: number): Buffer | undefined {
  const data = Buffer.allocUnsafe(PIECE);
  try {
    const length = readSync(descriptor, data);
    return length === 0 ? undefined : data.subarray(0, length);
  } catch {
    return undefined;
  }
}

function forget(descriptor: number): void {
  isClosedNow(descriptor);
  closeSync(descriptor);
}
