/**
 * A PostgreSQL of its own for a test: Debian's binaries, a fresh cluster, an unprivileged user.
 *
 * @module
 */

import { execFile, spawn } from "node:child_process";
import { globSync } from "node:fs";
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Namespace } from "./netns.ts";
import { follow, type Program } from "./program.ts";

/** Whom it runs as: it refuses to run as root. Debian's package makes this user. */
const USER = "postgres";
const AS_USER = ["--reuid", USER, "--regid", USER, "--clear-groups", "--"] as const;

/** A running server. It listens on loopback only, trusts everybody, and knows the superuser `postgres`. */
export interface Postgres extends AsyncDisposable {
  /** Who has connected so far: lines of its log. */
  connections(): string[];
  /** What it has written since it was started. */
  readonly log: string;
  /** Stop it, as its administrator does: who is connected is cut off. */
  stop(): Promise<void>;
  /** Start it again with all that it had. @param port @default the port of before */
  start(port?: number): Promise<void>;
}

export interface PostgresOptions {
  /** Lines of pg_hba.conf; the first that fits counts, and after them everybody is trusted. */
  readonly hba?: readonly string[] | undefined;
  /** A certificate and its key, as PEM text: it offers TLS then. */
  readonly tls?: { readonly certificate: string; readonly key: string } | undefined;
}

/** On this machine's own loopback. */
export const HERE: Pick<Namespace, "spawn"> = {
  spawn: (command, words, options = {}) => spawn(command, [...words], options),
};

/** Start a server in `namespace`. It takes connections when the promise resolves. */
export async function startPostgres(
  namespace: Pick<Namespace, "spawn">,
  port: number,
  { hba = [], tls }: PostgresOptions = {},
): Promise<Postgres> {
  const binaries = postgresBinaries();
  await using made = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "alknet-postgres-"));
  made.defer(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o777);
  const data = join(folder, "data");
  // Durability is of no use to a cluster that lives for a minute.
  const initdb = ["-D", data, "-U", USER, "--auth=trust", "--locale=C.UTF-8", "--no-sync"];
  await promisify(execFile)("setpriv", [...AS_USER, join(binaries, "initdb"), ...initdb], {
    cwd: folder,
  });
  const rules = join(data, "pg_hba.conf");
  await writeFile(rules, [...hba, await readFile(rules, "utf8")].join("\n"));
  const settings: Record<string, string> = {
    listen_addresses: "localhost",
    unix_socket_directories: "",
    fsync: "off",
    log_connections: "on",
  };
  if (tls !== undefined) {
    settings["ssl"] = "on";
    settings["ssl_cert_file"] = await ownedBy(data, tls.certificate, "server.crt");
    settings["ssl_key_file"] = await ownedBy(data, tls.key, "server.key");
  }

  async function launch(port: number): Promise<Program> {
    const options = Object.entries({ ...settings, port }).flatMap(([name, value]) => [
      "-c",
      `${name}=${value}`,
    ]);
    const words = [...AS_USER, join(binaries, "postgres"), "-D", data, ...options];
    const program = follow(
      namespace.spawn("setpriv", words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }),
      "postgres",
    );
    await program.waitFor(/ready to accept connections/);
    return program;
  }

  let server: Program | undefined;
  const stop = async (): Promise<void> => {
    // Fast shutdown: it lets go of its shared memory, and of the processes of its connections.
    await server?.stop("SIGINT");
    server = undefined;
  };
  made.defer(stop);
  server = await launch(port);
  const owned = made.move();
  return {
    connections: () => server?.output.match(/connection authori[sz]ed: .*/g) ?? [],
    get log() {
      return server?.output ?? "";
    },
    stop,
    async start(other = port) {
      server = await launch(other);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A file that its user may read, and nobody else: it takes no other for a key. */
async function ownedBy(data: string, text: string, name: string): Promise<string> {
  const { uid, gid } = await stat(data);
  const file = join(data, name);
  await writeFile(file, text, { mode: 0o600 });
  await chown(file, uid, gid);
  return file;
}

/** The folder of the newest installed version. */
function postgresBinaries(): string {
  const versions = globSync("/usr/lib/postgresql/*/bin/postgres").sort((a, b) =>
    a.localeCompare(b, "en", { numeric: true }),
  );
  const newest = versions.at(-1);
  if (newest === undefined) {
    throw new Error(
      "cannot find PostgreSQL in /usr/lib/postgresql: install the Debian package postgresql",
    );
  }
  return join(newest, "..");
}
