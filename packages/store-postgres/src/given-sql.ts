/**
 * Where the server of a `postgres()` is that somebody has made already.
 *
 * A store opens connections of its own there: values, names and transactions are to be as it expects them, whatever
 * the options of the other are, and a lost connection must not be replaced behind its back.
 *
 * @module
 */

import type { ConnectionOptions } from "node:tls";
import { type PostgresHost, postgresLabel, type PostgresTls } from "./postgres-url.ts";
import type { Password, PostgresServer } from "./postgres-session.ts";

/** What we use of a `Sql` of postgres.js 3.4. */
export interface SqlLike {
  readonly options: {
    readonly host: readonly string[];
    readonly port: readonly number[];
    readonly path: unknown;
    readonly database: string;
    readonly user: string;
    readonly pass: unknown;
    readonly ssl: unknown;
    readonly connection: { readonly application_name?: unknown };
  };
}

/** @throws {TypeError} if it reaches its server in a way that we cannot go. */
export function serverOfSql({ options }: SqlLike): PostgresServer {
  const { host, port, path, database, user, pass, ssl, connection } = options;
  if ("socket" in options && options.socket !== undefined) {
    throw new TypeError("cannot use a postgres() with sockets of its own: expected host and port");
  }
  const hosts: readonly PostgresHost[] =
    typeof path === "string" && path !== ""
      ? [{ kind: "unix", path }]
      : host.map((each, at) => ({
          kind: "tcp",
          host: each.replaceAll(/^\[(.*)\]$/g, "$1"),
          port: port[at] ?? 5_432,
        }));
  const { application_name: name } = connection;
  return {
    hosts,
    database,
    user,
    password: pass as Password,
    tls: tlsOf(ssl),
    applicationName: typeof name === "string" && name !== "postgres.js" ? name : "alknet",
    label: postgresLabel({ hosts, user, database }),
  };
}

/** @throws {TypeError} */
function tlsOf(ssl: unknown): PostgresTls | ConnectionOptions {
  if (ssl === false || ssl === undefined || ssl === null || ssl === "disable")
    return { kind: "none" };
  if (ssl === "require") return { kind: "unverified" };
  if (ssl === true || ssl === "verify-full") return { kind: "verified", caFile: undefined };
  if (typeof ssl === "object") return ssl;
  throw new TypeError(
    `cannot use a postgres() with ssl ${JSON.stringify(ssl)}: expected "verify-full", "require", options of TLS, or false`,
  );
}
