/**
 * Recordings of sessions: what programs printed, and when, in asciicast v2
 * (https://docs.asciinema.org/manual/asciicast/v2/), one file for each.
 *
 * What is typed is not recorded: passwords are. Programs without a terminal are not recorded: most of what they print is
 * files.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { type Clock, systemClock } from "@alknet/core/clock";
import { type Logger, silentLogger } from "@alknet/core/log";
import { makeFolders } from "@alknet/core/make-folders";
import type { SessionStatus } from "./session-status.ts";
import type { WindowSize } from "./terminal-device.ts";

/**
 * Begin to record a session.
 *
 * @returns `undefined`: this one is not to be recorded.
 * @throws {Error} if it cannot be recorded: it does not begin then.
 */
export type Recorder = (
  session: RecordedSession,
) => SessionRecorder | undefined | Promise<SessionRecorder | undefined>;

export interface RecordedSession extends SessionStatus {
  /** Of its terminal, if it has one. */
  readonly size: WindowSize | undefined;
}

export interface SessionRecorder {
  /** Gives on what it has recorded, no faster than that. One for each of a program's outputs. */
  tap(): Transform;
  resize(size: WindowSize): void;
  /** Aborts when nothing more can be recorded: the session is to end. */
  readonly failed: AbortSignal;
  /** Complete what was begun; it may be called twice. Never rejects. */
  close(): Promise<void>;
}

export interface RecordOptions {
  readonly clock?: Clock | undefined;
  /** Hears why a session could not be recorded. */
  readonly logger?: Logger | undefined;
}

/** A session's recording has ended before it. */
export class RecordingFailed extends Error {
  override readonly name = "RecordingFailed";
  readonly code = "RECORDING_FAILED";
}

/** Of what has no terminal. */
const NO_SIZE: WindowSize = { columns: 80, rows: 24 };

/**
 * Record each session on a terminal in a file of its own, for its owner alone (0600), in `folder`, which is made (0700).
 * Names begin with the date: `20260102T030405Z-laptop-0123456789abcdef.cast`.
 */
export function recordTo(folder: string, options: RecordOptions = {}): Recorder {
  const { clock = systemClock, logger = silentLogger } = options;
  return async (session) => {
    if (session.terminal === undefined) return undefined;
    const { peer } = session;
    const warn = (cause: unknown): void =>
      logger.warn({ err: cause, peer, folder }, "ssh: a session cannot be recorded");
    const path = join(folder, fileName(session));
    try {
      makeFolders(folder);
      // Not through a link, and not into a file that is there.
      const file = await open(path, "wx", 0o600);
      return await record(file, session, { clock, warn });
    } catch (cause) {
      warn(cause);
      throw cannotRecord(cause);
    }
  };
}

type File = Awaited<ReturnType<typeof open>>;

async function record(
  file: File,
  session: RecordedSession,
  { clock, warn }: { readonly clock: Clock; readonly warn: (cause: unknown) => void },
): Promise<SessionRecorder> {
  const began = clock.now();
  const failure = new AbortController();
  /** The one write at a time; each is begun when those before it are over. */
  let writing = write(header(session));
  let isClosed = false;
  let closing: Promise<void> | undefined;

  function write(line: unknown): Promise<void> {
    return file.writeFile(`${JSON.stringify(line)}\n`);
  }

  function event(code: "o" | "r", data: string): Promise<void> {
    if (isClosed || data === "") return writing;
    const time = Number(((clock.now() - began) / 1_000).toFixed(6));
    writing = writing.then(() => (failure.signal.aborted ? undefined : write([time, code, data])));
    writing = writing.catch((error: unknown) => {
      warn(error);
      failure.abort(cannotRecord(error));
    });
    return writing;
  }

  try {
    await writing;
  } catch (error) {
    await file.close();
    throw error;
  }
  /** The newest; those before it that have not been written yet nobody needs. */
  let size: WindowSize | undefined;
  return {
    tap() {
      const decoder = new StringDecoder("utf8");
      return new Transform({
        transform: (data: Buffer, _encoding, done) => {
          void event("o", decoder.write(data)).then(() => done(null, data));
        },
        flush: (done) => void event("o", decoder.end()).then(() => done()),
      });
    },
    resize(next) {
      const isWaiting = size !== undefined;
      size = next;
      if (isWaiting) return;
      void writing.then(() => {
        const { columns, rows } = size!;
        size = undefined;
        return event("r", `${columns}x${rows}`);
      });
    },
    failed: failure.signal,
    close: () => (closing ??= finish()),
  };

  async function finish(): Promise<void> {
    await writing;
    isClosed = true;
    // What the system has not written by now it says here.
    await file.close().catch(() => {});
  }
}

function header({ peer, user, since, terminal, command, size = NO_SIZE }: RecordedSession): object {
  return {
    version: 2,
    width: size.columns,
    height: size.rows,
    timestamp: Math.floor(since / 1_000),
    title: `${peer} as ${user}`,
    ...(command === undefined ? {} : { command }),
    env: { TERM: terminal ?? "dumb" },
  };
}

/** A peer's name may be one of any letters. */
function fileName({ peer, since }: RecordedSession): string {
  const time = new Date(since).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const name = peer.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64);
  return `${time}-${name}-${randomBytes(8).toString("hex")}.cast`;
}

/** Without the path: peers hear of it. */
function cannotRecord(cause: unknown): RecordingFailed {
  const { code = "" } = cause as NodeJS.ErrnoException;
  return new RecordingFailed(
    `this session cannot be recorded (${code}), and all on terminals are`,
    { cause },
  );
}
