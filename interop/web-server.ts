/**
 * An nginx of its own for a test: Debian's binary, a configuration and folders that go with it.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Namespace } from "./netns.ts";
import { follow } from "./program.ts";

/** What `/` answers. */
export const PAGE: string = "<!doctype html><title>den</title><p>Hello from the web server.\n";

/** A running server, on loopback only. */
export interface WebServer extends AsyncDisposable {
  /** What `/big` and `/slow/big` answer. */
  readonly big: Buffer;
}

export interface WebServerOptions {
  /** All serve the same. */
  ports: readonly number[];
  /** @default 64 MiB */
  bigSize?: number | undefined;
  /** Bytes per second at which `/slow/big`, the same file, is sent. @default 16 MiB */
  slowRate?: number | undefined;
}

/** Start a server in `namespace`. It takes connections when the promise resolves. */
export async function startWebServer(
  namespace: Namespace,
  options: WebServerOptions,
): Promise<WebServer> {
  const { ports, bigSize = 64 * 2 ** 20, slowRate = 16 * 2 ** 20 } = options;
  await using made = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "alknet-nginx-"));
  made.defer(() => rm(folder, { recursive: true, force: true }));
  // Its workers are another user's.
  await chmod(folder, 0o755);
  // Random: a piece that is lost, doubled or out of place changes the sum, which it would not with zeros.
  const big = randomBytes(bigSize);
  await writeFile(join(folder, "index.html"), PAGE);
  await writeFile(join(folder, "big"), big);
  await writeFile(join(folder, "nginx.conf"), configuration(folder, ports, slowRate));

  const words = ["-c", join(folder, "nginx.conf"), "-e", "stderr"];
  const server = follow(
    namespace.spawn("nginx", words, { stdio: ["ignore", "pipe", "pipe"] }),
    "nginx",
  );
  made.defer(async () => void (await server.stop("SIGTERM")));
  await server.waitFor(/start worker process \d+/);
  const owned = made.move();
  return { big, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function configuration(folder: string, ports: readonly number[], slowRate: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const listen = ports.map((port) => `listen 127.0.0.1:${port}; listen [::1]:${port};`);
  return `
    daemon off;
    worker_processes 1;
    error_log stderr notice;
    pid ${folder}/nginx.pid;
    events {}
    http {
      ${temporary.join(" ")}
      access_log off;
      default_type text/html;
      server {
        ${listen.join(" ")}
        root ${folder};
        location /slow/ { alias ${folder}/; limit_rate ${slowRate}; }
      }
    }
  `;
}
