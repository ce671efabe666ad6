/**
 * `h2` and `http/1.1`: one plain page, for who comes to the port with a browser. The HTTP package takes
 * its place.
 *
 * It tells nothing about the node: a scanner sees a web server with a page.
 *
 * @module
 */

import { constants, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import { createServer, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import { CloseCode } from "@alknet/core/close-code";
import type { ProtocolHandler } from "@alknet/core/handler";

/** Longest life of a connection, in milliseconds: there is one page to get. */
const LIFE = 30_000;

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<h1>It works</h1>
</html>
`;

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-length": String(Buffer.byteLength(PAGE)),
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
} as const;

export function webPage(options: { clock?: Clock | undefined } = {}): ProtocolHandler {
  const { clock = systemClock } = options;
  const http1 = createHttp1();
  return {
    alpns: ["h2", "http/1.1"],
    access: "anyone",
    tls: "web",
    transports: ["tcp"],
    async handle(connection) {
      const stream = await connection.accept();
      if (stream === undefined) return;
      const gone = new Promise<void>((resolve) => {
        if (stream.closed) resolve();
        stream.once("close", () => resolve());
      });
      const late = clock.timeout(LIFE);
      const expire = (): void => connection.abort(CloseCode.IDLE);
      late.addEventListener("abort", expire, { once: true });
      if (connection.alpn === "h2") serveHttp2(stream, connection.draining);
      else http1.emit("connection", stream);
      await gone;
      // Or whoever comes and goes stays in memory until then.
      late.removeEventListener("abort", expire);
    },
  };
}

type Answer = { readonly status: number; readonly page: boolean };

function answerTo(method: string | undefined, path: string | undefined): Answer {
  if (method !== "GET" && method !== "HEAD") return { status: 405, page: false };
  if (path !== "/" && path?.startsWith("/?") !== true) return { status: 404, page: false };
  return { status: 200, page: true };
}

function createHttp1(): Server {
  return createServer((request, response) => {
    const { status, page } = answerTo(request.method, request.url);
    // One answer for a connection: nothing idles here. (Before the head, which says so.)
    response.shouldKeepAlive = false;
    response.writeHead(status, page ? HEADERS : { "content-length": "0" });
    response.end(page && request.method === "GET" ? PAGE : undefined);
  });
}

function serveHttp2(stream: Duplex, draining: AbortSignal): void {
  const session = performServerHandshake(stream, {
    settings: { maxConcurrentStreams: 16, enablePush: false },
  });
  // A browser that goes away is no fault of anybody.
  session.on("error", () => stream.destroy());
  session.on("stream", (request: ServerHttp2Stream, headers) => {
    request.on("error", () => {});
    const method = headers[constants.HTTP2_HEADER_METHOD] as string | undefined;
    const { status, page } = answerTo(method, headers[constants.HTTP2_HEADER_PATH] as string);
    const endStream = !page || method === "HEAD";
    request.respond({ ":status": status, ...(page ? HEADERS : {}) }, { endStream });
    if (!endStream) request.end(PAGE);
  });
  const close = () => session.close();
  if (draining.aborted) close();
  else draining.addEventListener("abort", close, { once: true });
}
