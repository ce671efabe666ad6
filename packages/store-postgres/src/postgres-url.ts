/**
 * Where a PostgreSQL server is, as a URL says it.
 *
 * ```text
 * postgres://user:password@host:port/database?sslmode=verify-full
 * postgres://user:password@one:5432,two:5432/database
 * postgres://user@%2Fvar%2Frun%2Fpostgresql/database
 * postgres:///database?host=/var/run/postgresql&user=alknet
 * ```
 *
 * As libpq has it (manual, 34.1.1.2), but that everything not known is refused, and that another machine is spoken to
 * over TLS, with its name verified, unless `sslmode` says otherwise: who can change what a node reads here decides who
 * may do what on it.
 *
 * Pure: no I/O, no clock. No error of it shows any part of a URL that a password may be in.
 *
 * @module
 */

import { isIPv4, isIPv6 } from "node:net";

export type PostgresHost =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** How the connection is protected. */
export type PostgresTls =
  | { readonly kind: "none" }
  /** Against listeners, and not against who is in between. */
  | { readonly kind: "unverified" }
  /** `caFile`: certificates of authorities, PEM. `undefined`: those that Node comes with. */
  | { readonly kind: "verified"; readonly caFile: string | undefined };

export interface PostgresAddress {
  /** Tried in this order; of several the first that can be written. */
  readonly hosts: readonly PostgresHost[];
  readonly database: string;
  /** `undefined`: who runs this process. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly tls: PostgresTls;
  readonly applicationName: string;
  /** For people: without the password. */
  readonly label: string;
}

const PORT = 5_432;

/** Most hosts of a URL. */
const MAX_HOSTS = 16;

const PARAMETERS = ["sslmode", "sslrootcert", "application_name", "host", "port", "user"] as const;

type Parameter = (typeof PARAMETERS)[number];

/** @throws {SyntaxError} */
export function parsePostgresUrl(url: string): PostgresAddress {
  const parts =
    /^postgres(?:ql)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^@/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/.exec(
      url,
    );
  if (parts === null || url.length > 4_096) {
    throw invalid(
      "expected postgres://user:password@host:port/database, with %40 for @, %2F for / and %3A for : in a password",
    );
  }
  const [, userText = "", passwordText, hostText = "", databaseText = "", query = ""] = parts;
  const parameters = parseParameters(query);
  const hosts = parseHosts(hostText, parameters);
  const database = decode(databaseText, "database");
  if (database === "") throw invalid("expected the name of a database after the host: …/alknet");
  const user = decode(userText, "user") || parameters.get("user");
  const tls = parseTls(parameters, hosts);
  return {
    hosts,
    database,
    user,
    password: passwordText === undefined ? undefined : decode(passwordText, "password"),
    tls,
    applicationName: parameters.get("application_name") ?? "alknet",
    label: postgresLabel({ hosts, user, database }),
  };
}

/** For people: no password, and nothing that a terminal would obey. */
export function postgresLabel({
  hosts,
  user,
  database,
}: Pick<PostgresAddress, "hosts" | "user" | "database">): string {
  const shown = hosts.map((host) =>
    host.kind === "unix"
      ? encodeURIComponent(host.path)
      : `${isIPv6(host.host) ? `[${host.host}]` : host.host}:${host.port}`,
  );
  const at = user === undefined ? "" : `${encodeURIComponent(user)}@`;
  return `postgres://${at}${shown.join(",")}/${encodeURIComponent(database)}`;
}

function parseParameters(query: string): ReadonlyMap<Parameter, string> {
  const found = new Map<Parameter, string>();
  for (const pair of query === "" ? [] : query.split("&")) {
    const at = pair.indexOf("=");
    const name = at < 0 ? pair : pair.slice(0, at);
    if (name === "password")
      throw invalid("expected the password before the host, as user:password@");
    if (!isParameter(name)) {
      const shown = /^[a-z_]{1,40}$/.test(name) ? JSON.stringify(name) : "another";
      throw invalid(`expected as parameters ${PARAMETERS.join(", ")}, got ${shown}`);
    }
    if (found.has(name)) throw invalid(`expected ${name} once`);
    found.set(name, decode(at < 0 ? "" : pair.slice(at + 1), name));
  }
  return found;
}

function isParameter(name: string): name is Parameter {
  return (PARAMETERS as readonly string[]).includes(name);
}

function parseHosts(
  text: string,
  parameters: ReadonlyMap<Parameter, string>,
): readonly PostgresHost[] {
  const given = parameters.get("host");
  if (given !== undefined && text !== "") throw invalid("expected the host once");
  const ports = parameters.get("port");
  const defaultPort = ports === undefined ? PORT : parsePort(ports);
  if (given !== undefined) return [parseHost(given, defaultPort)];
  if (text === "") throw invalid("expected a host, or ?host= with the folder of a socket");
  const hosts = text.split(",");
  if (hosts.length > MAX_HOSTS) throw invalid(`expected at most ${MAX_HOSTS} hosts`);
  return hosts.map((each) => {
    const match = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(each);
    if (match === null) throw invalid("expected host:port, and IPv6 addresses in brackets");
    const [, host = "", port] = match;
    return parseHost(
      decode(host.replaceAll(/^\[|\]$/g, ""), "host"),
      port === undefined ? defaultPort : parsePort(port),
    );
  });
}

function parseHost(host: string, port: number): PostgresHost {
  if (host.startsWith("/")) return { kind: "unix", path: `${host}/.s.PGSQL.${port}` };
  if (!isIPv6(host) && !/^[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_.])?$/i.test(host)) {
    throw invalid("expected a name, an IP address, or the folder of a socket as host");
  }
  return { kind: "tcp", host, port };
}

function parsePort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw invalid("expected a port from 1 to 65535");
}

function parseTls(
  parameters: ReadonlyMap<Parameter, string>,
  hosts: readonly PostgresHost[],
): PostgresTls {
  const caFile = parameters.get("sslrootcert");
  const mode = parameters.get("sslmode") ?? (hosts.every(isLocal) ? "disable" : "verify-full");
  if (caFile !== undefined && mode !== "verify-full") {
    throw invalid("expected sslmode=verify-full beside sslrootcert");
  }
  switch (mode) {
    case "disable":
      return { kind: "none" };
    case "require":
      return { kind: "unverified" };
    case "verify-full":
      return { kind: "verified", caFile };
    default:
      // "prefer" and "allow" are what an attacker prefers, and "verify-ca" takes any machine's certificate.
      throw invalid("expected sslmode to be verify-full, require or disable");
  }
}

function isLocal(host: PostgresHost): boolean {
  if (host.kind === "unix") return true;
  const name = host.host.toLowerCase();
  return name === "localhost" || name === "::1" || (isIPv4(name) && name.startsWith("127."));
}

function decode(text: string, what: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw invalid(`expected % and two hex digits in its ${what}`);
  }
  // They go to the server as texts that end with a zero.
  if (decoded.includes("\0")) throw invalid(`expected no zero byte in its ${what}`);
  return decoded;
}

function invalid(expected: string): SyntaxError {
  return new SyntaxError(`cannot use the URL of the PostgreSQL server: ${expected}`);
}
