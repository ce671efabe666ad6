/**
 * A PostgreSQL of its own for a test: Debian's binaries, a fresh cluster, an unprivileged user.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Namespace } from "./netns.ts";
import { follow } from "./program.ts";

/** Whom it runs as: it refuses to run as root. Debian's package makes this user. */
const USER = "postgres";
const AS_USER = ["--reuid", USER, "--regid", USER, "--clear-groups", "--"] as const;

/** A running server. It listens on loopback only, trusts everybody, and knows the superuser `postgres`. */
export interface Postgres extends AsyncDisposable {
  /** Who has connected so far: lines of its log. */
  connections(): string[];
}

/** Start a server in `namespace`. It takes connections when the promise resolves. */
export async function startPostgres(namespace: Namespace, port: number): Promise<Postgres> {
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
  const settings = {
    port,
    listen_addresses: "localhost",
    unix_socket_directories: "",
    fsync: "off",
    log_connections: "on",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const words = [...AS_USER, join(binaries, "postgres"), "-D", data, ...options];
  const server = follow(
    namespace.spawn("setpriv", words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }),
    "postgres",
  );
  // Fast shutdown: it lets go of its shared memory, and of the processes of its connections.
  made.defer(async () => void (await server.stop("SIGINT")));
  await server.waitFor(/ready to accept connections/);
  const owned = made.move();
  return {
    connections: () => server.output.match(/connection authori[sz]ed: .*/g) ?? [],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
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
