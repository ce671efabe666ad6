/**
 * The control socket: how commands ask the node that runs. The call protocol takes its place.
 *
 * One line of JSON each way, then the connection ends:
 *
 * ```text
 * → {"request":"status"}
 * ← {"version":…}          or {"error":{"code":"…","message":"…"}}
 * ```
 *
 * Its caller is the owner of the folder: `run/` is 0700, and both sides check that it is.
 *
 * @module
 */

import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { privateFolder } from "@alknet/core/home";
import { CommandError } from "./command-error.ts";

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
/** Time for a request to come, and for an answer, in milliseconds. */
const DEADLINE = 5_000;

/** Answers by the name of the request. */
export type Answers = Readonly<Record<string, () => object>>;

/** A served control socket; disposing it removes it. */
export interface ControlServer extends AsyncDisposable {}

/**
 * Serve the control socket at `path`.
 *
 * @throws {CommandError} `ALREADY_RUNNING` if a node answers there.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function serveControl(path: ControlPath, answers: Answers): Promise<ControlServer> {
  const pipe = path.controlSocket.startsWith("\\\\");
  if (!pipe) privateFolder(path.run);
  if (await answersAt(path.controlSocket)) {
    throw new CommandError(`a node of this folder is running already`, {
      code: "ALREADY_RUNNING",
      hint: "see it with: alknet status",
    });
  }
  // Nobody listens there: what a node that was killed has left.
  if (!pipe) rmSync(path.controlSocket, { force: true });

  const live = new Set<Socket>();
  const server = createServer((socket) => {
    live.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => live.delete(socket));
    socket.setTimeout(DEADLINE, () => socket.destroy());
    let request = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      request += chunk;
      const end = request.indexOf("\n");
      if (end < 0 && request.length <= MAX_REQUEST) return;
      socket.removeAllListeners("data").resume();
      socket.end(`${JSON.stringify(answer(request.slice(0, end), answers))}\n`);
    });
  });
  server.maxConnections = 16;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path.controlSocket, () => {
      server.off("error", reject);
      resolve();
    });
  });
  if (!pipe) chmodSync(path.controlSocket, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of live) socket.destroy();
      await closed;
    },
  };
}

/**
 * Ask the running node.
 *
 * @throws {CommandError} `NOT_RUNNING` if there is none; what the node answers as its error.
 */
export async function askNode(path: ControlPath, request: string): Promise<object> {
  checkOwner(path);
  const socket = connect(path.controlSocket);
  socket.setTimeout(DEADLINE, () => socket.destroy(new Error("no answer in time")));
  socket.write(`${JSON.stringify({ request })}\n`);
  let text = "";
  try {
    for await (const chunk of socket.setEncoding("utf8")) {
      text += String(chunk);
      if (text.length > MAX_ANSWER) throw new Error("answer too long");
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ECONNREFUSED") throw notRunning();
    throw new CommandError(`cannot ask the node: ${(error as Error).message}`, { cause: error });
  }
  const value = parseObject(text);
  if (value === undefined) throw new CommandError("cannot read the node's answer");
  const error = value["error"] as { code?: unknown; message?: unknown } | undefined;
  if (error !== undefined) {
    throw new CommandError(`the node answers: ${String(error.message)}`, {
      code: String(error.code),
    });
  }
  return value;
}

function answer(line: string, answers: Answers): object {
  const name = parseObject(line)?.["request"];
  if (typeof name !== "string" || !Object.hasOwn(answers, name)) {
    const known = Object.keys(answers).join(", ");
    return { error: { code: "UNKNOWN_REQUEST", message: `expected one of: ${known}` } };
  }
  try {
    return answers[name]!();
  } catch (error) {
    return { error: { code: "INTERNAL", message: (error as Error).message } };
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

function answersAt(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Somebody else's socket would tell us what its owner likes. */
function checkOwner({ run, controlSocket }: ControlPath): void {
  if (process.getuid === undefined) return;
  let folder;
  let socket;
  try {
    folder = lstatSync(run);
    socket = lstatSync(controlSocket);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw notRunning();
    throw error;
  }
  const uid = process.getuid();
  if (!folder.isDirectory() || folder.uid !== uid || (folder.mode & 0o077) !== 0) {
    throw new CommandError(`cannot trust ${run}: expected a folder of ours alone, mode 0700`, {
      code: "FOLDER_PERMISSIONS",
      hint: `chmod 700 ${run}`,
    });
  }
  if (!socket.isSocket() || socket.uid !== uid) {
    throw new CommandError(`cannot trust ${controlSocket}: expected a socket of ours`, {
      code: "FOLDER_PERMISSIONS",
    });
  }
}

function notRunning(): CommandError {
  return new CommandError("no node is running in this folder", {
    code: "NOT_RUNNING",
    hint: "start it with: alknet up",
  });
}
