/**
 * The control socket: `alknet/call` over a Unix socket, for the owner of the folder. It is how commands ask the
 * node that runs.
 *
 * Who can connect is the owner: `run/` is 0700, and both sides check that it is.
 *
 * @module
 */

import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { Client } from "@alknet/call/client-types";
import type { CallSession } from "@alknet/call/session";
import { ownerContext } from "@alknet/core/access";
import { CloseCode } from "@alknet/core/close-code";
import type { Connection, OwnedConnection } from "@alknet/core/connection";
import { unixConnection } from "@alknet/core/unix-connection";
import { CommandError, ExitCode } from "./command-error.ts";
import type { NodeOperations } from "./operations/node-operations.ts";
import { checkOwner, isNobody, isPipe, serveOwner } from "./owner-socket.ts";

/** Where the socket is. */
export interface ControlPath {
  /** Its folder. */
  readonly run: string;
  readonly controlSocket: string;
}

/** Clients at once. */
const MAX_CLIENTS = 64;

/** Time for an answer, in milliseconds: a node that has just started loads first what answers, on whatever machine. */
const DEADLINE = 15_000;

/** As that of `@alknet/call/call-handler`, which takes longer to load than commands have. */
export const CALL_ALPN = "alknet/call";

/** A served control socket; disposing removes it, and cuts off who is connected. */
export interface ControlServer extends AsyncDisposable {}

/**
 * Serve the control socket at `path`.
 *
 * @param answer has each connection, which is the owner's, until it ends.
 * @throws {CommandError} `ALREADY_RUNNING` if a node answers there.
 * @throws {FolderError} if the folder is not ours alone.
 */
export async function serveControl(
  path: ControlPath,
  answer: (connection: Connection) => Promise<void>,
): Promise<ControlServer> {
  const { run, controlSocket } = path;
  const serve = (socket: Socket): void => {
    const connection = connectionOn(socket, "server");
    answer(connection).then(
      () => connection.close(),
      () => connection.abort(CloseCode.INTERNAL),
    );
  };
  const limits = { maxClients: MAX_CLIENTS, taken: alreadyRunning };
  const server = await serveOwner({ run, socket: controlSocket }, serve, limits);
  // For when it does not answer: whoever listens there is the one who wrote this last.
  if (!isPipe(controlSocket)) writeFileSync(pidFile(path), `${process.pid}\n`, { mode: 0o600 });
  return {
    async [Symbol.asyncDispose]() {
      try {
        // While the socket is ours: the next node writes its own.
        if (!isPipe(controlSocket)) rmSync(pidFile(path), { force: true });
      } finally {
        await server[Symbol.asyncDispose]();
      }
    },
  };
}

/** The running node, as its owner calls it. */
export type NodeClient = Client<NodeOperations>["node"];

/**
 * Ask the running node: `askNode(home, (node) => node.status())`.
 *
 * @throws {CommandError} `NOT_RUNNING` if there is none; `NOT_ANSWERING` if it hangs; what the node answers as its error.
 */
export async function askNode<T>(
  path: ControlPath,
  ask: (node: NodeClient) => PromiseLike<T>,
): Promise<T> {
  const session = await callNode(path);
  try {
    return await ask(await clientOf(session));
  } catch (error) {
    throw await explained(path, error);
  } finally {
    session.connection.abort(CloseCode.OK);
  }
}

/** As {@linkcode askNode}; `undefined` if no node runs. */
export async function askIfRunning<T>(
  path: ControlPath,
  ask: (node: NodeClient) => PromiseLike<T>,
): Promise<T | undefined> {
  try {
    return await askNode(path, ask);
  } catch (error) {
    if (error instanceof CommandError && error.code === "NOT_RUNNING") return undefined;
    throw error;
  }
}

/**
 * Follow something in the running node, until `signal` aborts or the node ends.
 *
 * @throws as {@linkcode askNode}
 */
export async function* followNode<T>(
  path: ControlPath,
  subscribe: (node: NodeClient) => AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const session = await callNode(path);
  const onabort = (): void => session.connection.abort(CloseCode.OK);
  signal.addEventListener("abort", onabort, { once: true });
  if (signal.aborted) onabort();
  try {
    yield* subscribe(await clientOf(session));
  } catch (error) {
    if (signal.aborted) return;
    throw await explained(path, error);
  } finally {
    signal.removeEventListener("abort", onabort);
    onabort();
  }
}

/**
 * Call the running node. Whoever got the session ends its connection.
 *
 * @throws {CommandError} `NOT_RUNNING` if there is none.
 */
export async function callNode(path: ControlPath): Promise<CallSession> {
  checkOwner({ run: path.run, socket: path.controlSocket }, notRunning);
  const socket = connect({ path: path.controlSocket, allowHalfOpen: true });
  try {
    await once(socket, "connect");
  } catch (error) {
    if (isNobody(error)) throw notRunning();
    throw new CommandError(`cannot ask the node: ${(error as Error).message}`, { cause: error });
  }
  // Loaded when there is somebody to call: commands ask first whether there is.
  const { callSession } = await import("@alknet/call/call-session");
  return callSession(connectionOn(socket, "client"));
}

function connectionOn(socket: Socket, side: "client" | "server"): OwnedConnection {
  return unixConnection({ side, socket, alpn: CALL_ALPN, auth: ownerContext() });
}

async function clientOf(session: CallSession): Promise<NodeClient> {
  const { client } = await import("@alknet/call/client");
  const { node } = client<NodeOperations>({
    call: (operation, input, options) =>
      session.call(operation, input, { timeout: DEADLINE, ...options }),
    subscribe: (...subscription) => session.subscribe(...subscription),
  });
  return node;
}

/** An error of a call as a command tells it. */
async function explained(path: ControlPath, error: unknown): Promise<unknown> {
  const { CallError, isConnectionLost } = await import("@alknet/call/call-error");
  if (isConnectionLost(error)) {
    return new CommandError(
      "the node has ended the connection: it has ended, or is of another version",
      {
        code: "CONNECTION_LOST",
        exitCode: ExitCode.NOT_CONNECTED,
        hint: "see how it is: alknet status",
        cause: error,
      },
    );
  }
  if (!(error instanceof CallError)) return error;
  const { code, message } = error;
  if (code === "TIMEOUT") return silent(path);
  return new CommandError(`the node answers: ${message}`, { code, cause: error });
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
