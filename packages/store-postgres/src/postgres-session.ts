/**
 * One connection to a PostgreSQL server, from its beginning to its end.
 *
 * postgres.js keeps a pool, and puts another connection in the place of one that was lost: what was the middle of a
 * transaction would go on outside of any, and a `LISTEN` would begin anew without our knowing what was missed. So each
 * session is a pool of one connection that can be made once.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import postgres from "postgres";
import { connectSocket } from "./postgres-socket.ts";
import { TYPES } from "./postgres-types.ts";
import type { PostgresAddress, PostgresHost, PostgresTls } from "./postgres-url.ts";
import type { SqlRow, SqlStatement } from "@alknet/store-sql/sql-driver";

/** How long a connection, and then each answer, is waited for, in milliseconds. */
const PATIENCE = 30_000;
const CONNECT_PATIENCE = 10_000;

/** The password, or how to learn it: asked for each connection, so that it can be changed. */
export type Password = string | (() => string | Promise<string>);

/** A server, as a URL says it or a program. */
export interface PostgresServer extends Omit<PostgresAddress, "tls" | "password"> {
  readonly tls: PostgresTls | ConnectionOptions;
  readonly password: Password | undefined;
}

export interface SessionOptions {
  /** Statements that are used again are prepared. A pooler that gives each transaction another connection cannot do that. */
  readonly prepare: boolean;
  readonly signal: AbortSignal;
  /** How long an answer is waited for, in milliseconds. @default 30_000 */
  readonly patience?: number | undefined;
  readonly onnotify?: ((channel: string, payload: string) => void) | undefined;
  /** Called once, unless the session was closed by us. */
  readonly onlost?: ((reason: string) => void) | undefined;
}

/** The connection is gone: nothing can be asked any more, and what was asked has no answer. */
export class SessionLost extends Error {
  override readonly name = "SessionLost";
}

export interface PostgresSession {
  readonly isLost: boolean;
  /** @throws {SessionLost}, or what the server says. */
  query(statement: SqlStatement): Promise<readonly SqlRow[]>;
  /** Run statements that give nothing. @returns what the last of them was, as the server calls it: `COMMIT`, … */
  run(sql: string): Promise<string>;
  /** Finish what was asked, then go. Idempotent. */
  close(): Promise<void>;
  /** Go now. */
  destroy(): void;
}

/**
 * Connect, and log in. Of several hosts it is the first that can be written.
 *
 * @throws what the last of them said.
 */
export async function openSession(
  server: PostgresServer,
  options: SessionOptions,
): Promise<PostgresSession> {
  let failure: unknown;
  for (const host of server.hosts) {
    try {
      const session = await begin(server, host, options);
      const [row] = await session.query({ sql: "SELECT pg_is_in_recovery()", values: [] });
      if (row?.[0] !== true || server.hosts.length === 1) return session;
      session.destroy();
      failure = new Error("each of the servers is a standby");
    } catch (error) {
      failure = error;
    }
    options.signal.throwIfAborted();
  }
  throw failure;
}

async function begin(
  server: PostgresServer,
  host: PostgresHost,
  options: SessionOptions,
): Promise<PostgresSession> {
  const { prepare, signal, patience = PATIENCE, onnotify, onlost } = options;
  const { database, user, applicationName, tls } = server;
  // Not by postgres.js: what a function of ours throws there, nobody catches.
  const password =
    typeof server.password === "function" ? await server.password() : server.password;
  let socket: Socket | undefined;
  let connected = false;
  let lost: SessionLost | undefined;
  let closing: Promise<void> | undefined;
  /** To be told of the loss: postgres.js leaves some of them waiting. */
  const waiting = new Set<(error: SessionLost) => void>();

  const connectOnce = async (): Promise<Socket> => {
    // Nobody is to find himself on another connection than before.
    if (connected) throw new SessionLost("the connection was lost");
    connected = true;
    const late = new AbortController();
    const reason = new SessionLost(`no answer within ${CONNECT_PATIENCE} ms`);
    const timer = setTimeout(() => late.abort(reason), CONNECT_PATIENCE);
    try {
      socket = await connectSocket(host, tls, AbortSignal.any([signal, late.signal]));
      return socket;
    } finally {
      clearTimeout(timer);
    }
  };
  const lose = (reason: string, error: SessionLost = new SessionLost(reason)): void => {
    if (lost !== undefined) return;
    lost = error;
    signal.removeEventListener("abort", destroy);
    socket?.destroy();
    for (const reject of waiting) reject(error);
    waiting.clear();
    if (closing === undefined) onlost?.(reason);
  };
  const destroy = (): void => {
    closing ??= Promise.resolve();
    lose("the connection was closed");
    void sql.end({ timeout: 0 });
  };

  // Some of these are missing in its types, and all are named: what is not it takes from the environment.
  const settings = {
    host: "alknet",
    port: 5_432,
    database,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ssl: false,
    max: 1,
    idle_timeout: undefined,
    max_lifetime: null,
    keep_alive: null,
    connect_timeout: CONNECT_PATIENCE / 1_000,
    prepare,
    fetch_types: false,
    types: TYPES,
    connection: { application_name: applicationName },
    debug: false,
    socket: connectOnce,
    onnotice: () => {},
    onnotify,
    onclose: () => lose("the server closed the connection"),
  };
  const sql = postgres(settings as postgres.Options<typeof TYPES>);
  signal.addEventListener("abort", destroy, { once: true });

  async function ask<T>(run: () => PromiseLike<T>): Promise<T> {
    if (lost !== undefined) throw lost;
    return await new Promise<T>((resolve, reject) => {
      const late = setTimeout(
        () => lose(`the server did not answer within ${patience} ms`),
        patience,
      );
      const settle = (done: () => void): void => {
        clearTimeout(late);
        waiting.delete(onlose);
        done();
      };
      const onlose = (error: SessionLost): void => settle(() => reject(error));
      waiting.add(onlose);
      run().then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(error as Error)),
      );
    });
  }

  const session: PostgresSession = {
    get isLost() {
      return lost !== undefined;
    },
    query: ({ sql: text, values }) =>
      ask(() => sql.unsafe(text, [...values], { prepare }).values() as PromiseLike<SqlRow[]>),
    run: async (text) => {
      const results = await ask(() => sql.unsafe(text));
      // Of several statements it is a list of results, each with its own.
      const all = results as unknown as readonly { readonly command?: string }[];
      return (results.command ?? all.at(-1)?.command ?? "") as string;
    },
    close: () =>
      (closing ??= (async () => {
        signal.removeEventListener("abort", destroy);
        await sql.end({ timeout: 1 });
        lose("the connection was closed");
      })()),
    destroy,
  };
  try {
    // Connects.
    await session.run("SELECT 1");
    return session;
  } catch (error) {
    destroy();
    throw error;
  }
}
