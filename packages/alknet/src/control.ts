/**
 * The control socket: how commands ask the node that runs. The call protocol takes its place.
 *
 * One line of JSON each way, then the connection ends; to follow something, lines until one side ends it:
 *
 * ```text
 * → {"request":"status"}
 * ← {"version":…}          or {"error":{"code":"…","message":"…"}}
 * → {"request":"log","follow":true}
 * ← {…} ← {…} …
 * ```
 *
 * Its caller is the owner of the folder: `run/` is 0700, and both sides check that it is.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { CommandError } from "./command-error.ts";
import { checkOwner, isNobody, isPipe, serveOwner } from "./owner-socket.ts";

/** Where the socket is. */
export interface ControlPath {
  /** Its folder. */
  readonly run: string;
  readonly controlSocket: string;
}

/** Longest request, in bytes. */
const MAX_REQUEST = 4_096;
/** Longest answer, in bytes. */
const MAX_ANSWER = 16 * 2 ** 20;
/** Clients at once. */
const MAX_CLIENTS = 16;
/** Time for a request to come, and for an answer, in milliseconds. */
const DEADLINE = 5_000;

/** Lines that one who follows may be behind; then the connection is cut. */
const MAX_BEHIND = 4 * 2 ** 20;

/** What came with a request: plain JSON, not looked at yet. */
export type Params = Readonly<Record<string, unknown>>;

/** Answers by the name of the request: one document, or one after another until `signal` aborts. */
export type Answers = Readonly<
  Record<
    string,
    (params: Params, signal: AbortSignal) => object | Promise<object> | AsyncIterable<object>
  >
>;

/** A served control socket; disposing it removes it. */
export interface ControlServer extends AsyncDisposable {}

/**
 * Serve the control socket at `path`.
 *
 * @throws {CommandError} `ALREADY_RUNNING` if a node answers there.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function serveControl(path: ControlPath, answers: Answers): Promise<ControlServer> {
  const { run, controlSocket: socket } = path;
  const limits = { maxClients: MAX_CLIENTS, taken: alreadyRunning };
  const server = await serveOwner({ run, socket }, (client) => serve(client, answers), limits);
  // For when it does not answer: whoever listens there is the one who wrote this last.
  if (!isPipe(socket)) writeFileSync(pidFile(path), `${process.pid}\n`, { mode: 0o600 });
  return server;
}

function serve(socket: Socket, answers: Answers): void {
  socket.setTimeout(DEADLINE, () => socket.destroy());
  // Who follows, and wants no more, ends its side.
  socket.once("end", () => socket.end());
  let request = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    request += chunk;
    const end = request.indexOf("\n");
    if (end < 0 && request.length <= MAX_REQUEST) return;
    socket.removeAllListeners("data").resume();
    void answer(socket, request.slice(0, end), answers);
  });
}

/**
 * Ask the running node.
 *
 * @throws {CommandError} `NOT_RUNNING` if there is none; `NOT_ANSWERING` if it hangs; what the node answers as its error.
 */
export async function askNode(
  path: ControlPath,
  request: string,
  params: Params = {},
): Promise<object> {
  const never = new AbortController().signal;
  for await (const document of lines(path, { ...params, request }, never, DEADLINE)) {
    return document;
  }
  throw new CommandError("cannot read the node's answer");
}

/**
 * Follow something in the running node, until `signal` aborts or the node ends.
 *
 * @throws as {@linkcode askNode}
 */
export function followNode(
  path: ControlPath,
  request: string,
  params: Params,
  signal: AbortSignal,
): AsyncIterable<Readonly<Record<string, unknown>>> {
  return lines(path, { ...params, request }, signal, 0);
}

/** @param idle time without a line after which it is given up, in milliseconds; 0: never. */
async function* lines(
  path: ControlPath,
  request: Params,
  signal: AbortSignal,
  idle: number,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  checkOwner({ run: path.run, socket: path.controlSocket }, notRunning);
  const socket = connect(path.controlSocket);
  const onabort = (): void => void socket.destroy();
  signal.addEventListener("abort", onabort, { once: true });
  if (signal.aborted) onabort();
  socket.setTimeout(idle, () => socket.destroy(silent(path)));
  socket.write(`${JSON.stringify(request)}\n`);
  let text = "";
  try {
    for await (const chunk of socket.setEncoding("utf8")) {
      text += String(chunk);
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const value = parseObject(text.slice(0, end));
        text = text.slice(end + 1);
        if (value === undefined) throw new CommandError("cannot read the node's answer");
        yield unlessError(value);
      }
      if (text.length > MAX_ANSWER) throw new Error("answer too long");
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof CommandError) throw error;
    if (isNobody(error)) throw notRunning();
    throw new CommandError(`cannot ask the node: ${(error as Error).message}`, { cause: error });
  } finally {
    signal.removeEventListener("abort", onabort);
    socket.destroy();
  }
}

function unlessError(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const error = value["error"] as { code?: unknown; message?: unknown } | undefined;
  if (error === undefined) return value;
  throw new CommandError(`the node answers: ${String(error.message)}`, {
    code: String(error.code),
  });
}

/** Never rejects. */
async function answer(socket: Socket, line: string, answers: Answers): Promise<void> {
  const { request: name, ...params } = parseObject(line) ?? {};
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  try {
    if (typeof name !== "string" || !Object.hasOwn(answers, name)) {
      const known = Object.keys(answers).join(", ");
      throw new CommandError(`expected one of: ${known}`, { code: "UNKNOWN_REQUEST" });
    }
    const given = answers[name]!(params, gone.signal);
    if (Symbol.asyncIterator in given) {
      // It is over when one of the two wants no more.
      socket.setTimeout(0);
      for await (const document of given) {
        if (gone.signal.aborted || socket.writableLength > MAX_BEHIND) break;
        socket.write(`${JSON.stringify(document)}\n`);
      }
      socket.end();
    } else {
      socket.end(`${JSON.stringify(await given)}\n`);
    }
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const told = { code: typeof code === "string" ? code : "INTERNAL", message: String(message) };
    socket.end(`${JSON.stringify({ error: told })}\n`);
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    // Not JSON is one of the things that it may be.
    return undefined;
  }
}

function pidFile({ run }: ControlPath): string {
  return join(run, "node.pid");
}

/** It listens, so it is there: a process that hangs, or is stopped. */
function silent(path: ControlPath): CommandError {
  let pid = "";
  try {
    pid = /^[1-9][0-9]{0,9}$/.exec(readFileSync(pidFile(path), "utf8").trim())?.[0] ?? "";
  } catch {
    // Then it is said without.
  }
  return new CommandError(`the node${pid && `, pid ${pid},`} runs and does not answer`, {
    code: "NOT_ANSWERING",
    hint:
      pid === ""
        ? "end it, and start it again: alknet up"
        : `end it, and start it again: kill -KILL ${pid}; alknet up`,
  });
}

function alreadyRunning(): CommandError {
  return new CommandError("a node of this folder is running already", {
    code: "ALREADY_RUNNING",
    hint: "see it with: alknet status",
  });
}

function notRunning(): CommandError {
  return new CommandError("no node is running in this folder", {
    code: "NOT_RUNNING",
    hint: "start it with: alknet up",
  });
}
