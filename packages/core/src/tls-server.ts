/**
 * TLS by ALPN on a TCP connection: read the ClientHello, choose a configuration, do the handshake.
 *
 * node:tls wants its configuration before it has read a byte, so we read the ClientHello first, push its
 * bytes back, and only then let TLS have the socket. It is the socket itself that TLS gets, so that from
 * there on bytes move between the kernel and OpenSSL without a turn through JavaScript.
 *
 * @module
 */

import type { Socket } from "node:net";
import tls from "node:tls";
import { alpnList } from "./alpn-list.ts";
import { type ClientHello, type ClientHelloResult, readClientHello } from "./client-hello.ts";
import { shadowOnce } from "./shadow.ts";

/** What the handshake of one client is to be. */
export type TlsChoice =
  | {
      readonly kind: "serve";
      readonly context: tls.SecureContext;
      /** Ask for the client's certificate. None is required, and any whose signature holds is taken. */
      readonly requestCertificate: boolean;
      readonly alpn: string;
    }
  /** End it with this alert (RFC 8446 §6.2). */
  | { readonly kind: "alert"; readonly alert: number };

/** `no_application_protocol` (RFC 7301 §3.2). */
export const NO_APPLICATION_PROTOCOL = 120;

export type TlsOutcome =
  | {
      readonly kind: "secure";
      readonly socket: tls.TLSSocket;
      readonly alpn: string;
      readonly serverName: string | undefined;
      /** The client's leaf, DER, if it showed one: it has proved that it holds the key. */
      readonly certificate: Buffer | undefined;
    }
  | {
      readonly kind: "failed";
      /**
       * What the client did: took too long, sent what is no TLS, showed a certificate without having its
       * key, offered nothing that is served, or went away.
       */
      readonly reason: "timeout" | "malformed" | "auth" | "refused" | "cut";
      readonly detail: string;
      readonly hello: ClientHello | undefined;
    };

/** The handshake took too long, or had to make room: destroy the socket with this to end it. */
export class HandshakeDropped extends Error {
  override readonly name = "HandshakeDropped";
  readonly code = "HANDSHAKE_TIMEOUT";
}

/**
 * Serve TLS on `raw`, which was accepted with `pauseOnConnect` and from which nothing was read.
 *
 * There is no deadline in here: destroy `raw` to end the handshake in whatever phase it is, with a
 * {@linkcode HandshakeDropped} where the client is to blame. The socket is TLS's from now on, and
 * destroyed if the handshake fails. Never rejects.
 */
export function serveTls(
  raw: Socket,
  choose: (hello: ClientHello) => TlsChoice,
): Promise<TlsOutcome> {
  // One promise for all of it, and few listeners: they are most of what a handshake costs besides OpenSSL.
  return new Promise<TlsOutcome>((resolve) => {
    // Errors are noticed where the outcome is; none may be without a listener, at any time.
    raw.on("error", ignore);
    peek(raw, (read) => {
      if (read.kind !== "hello") {
        raw.destroy();
        if (read.kind === "malformed") resolve(failed("malformed", read.reason, undefined));
        else resolve(gone(raw, "before its ClientHello", undefined));
        return;
      }
      const choice = choose(read);
      if (choice.kind === "serve") return handshake(raw, read, choice, resolve);
      sendAlert(raw, choice.alert, () =>
        resolve(failed("refused", `offered ${offer(read)}`, read)),
      );
    });
  });
}

function ignore(): void {}

/**
 * Read the ClientHello, and put its bytes back.
 *
 * They are taken on their way into the socket's buffer, which costs half of what "readable" does. An end
 * (`push(null)`) and a close are told as the incomplete ClientHello that they leave.
 */
function peek(raw: Socket, settle: (result: ClientHelloResult) => void): void {
  let chunks: Buffer[] = [];
  let length = 0;
  let need = 1;
  const end = (result: ClientHelloResult): void => {
    raw.off("close", onclose);
    settle(result);
  };
  const onclose = (): void => end({ kind: "incomplete", need });
  const take = (chunk: Buffer | null): boolean => {
    if (chunk === null) {
      raw.push(null);
      onclose();
      return false;
    }
    chunks.push(chunk);
    length += chunk.length;
    // Only then is there more to say: who sends single bytes causes no more work than anybody.
    if (length >= need) {
      const bytes = chunks.length === 1 ? chunk : Buffer.concat(chunks);
      chunks = [bytes];
      const result = readClientHello(bytes);
      if (result.kind !== "incomplete") {
        if (result.kind === "hello") raw.push(bytes);
        end(result);
        return true;
      }
      // Never more than MAX_CLIENT_HELLO_BYTES.
      need = result.need;
    }
    shadowOnce(raw, "push", take);
    return true;
  };
  shadowOnce(raw, "push", take);
  raw.on("close", onclose);
  raw.read(0);
}

function handshake(
  raw: Socket,
  hello: ClientHello,
  choice: TlsChoice & { kind: "serve" },
  settle: (outcome: TlsOutcome) => void,
): void {
  const socket = new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: choice.context,
    requestCert: choice.requestCertificate,
    // OpenSSL has checked the signature by which a client proves its key; chains, names and dates mean
    // nothing here, and who holds the key is looked up later.
    rejectUnauthorized: false,
    // A client that offers no ALPN at all gets none, and is served by the one that was chosen for it.
    ...(hello.alpn.length === 0 ? {} : { ALPNProtocols: alpnList(choice.alpn) }),
  });
  let over = false;
  const end = (outcome: TlsOutcome): void => {
    over = true;
    socket.off("close", onclose);
    settle(outcome);
  };
  const onclose = (): void => end(gone(raw, "in the handshake", hello));
  // Stays: something has to listen for errors, until the connection does or the socket is gone.
  socket.on("error", (error: NodeJS.ErrnoException) => {
    if (over) return;
    socket.destroy();
    const { code = "" } = error;
    if (raw.errored instanceof HandshakeDropped) end(gone(raw, "", hello));
    else end(failed(reasonOf(error), code === "" ? error.message : code, hello));
  });
  // What a tls.Server would do: on a socket made by hand, Node tells of errors in this event alone.
  socket.on("_tlsError", (error: Error) => socket.destroy(error));
  socket.on("close", onclose);
  // Undocumented for servers, and what tls.Server itself waits for.
  socket.on("secure", () => {
    if (over) return;
    // As tls.Server does it too; node:http2 waits for ever for a socket that says it is not ready.
    Object.assign(socket, { secureConnecting: false });
    end({
      kind: "secure",
      socket,
      alpn: choice.alpn,
      serverName: hello.serverName,
      certificate: socket.getPeerX509Certificate()?.raw,
    });
  });
}

/** What an error of OpenSSL, or of the socket, says about the client. */
function reasonOf(
  error: NodeJS.ErrnoException & { library?: string },
): "malformed" | "auth" | "refused" | "cut" {
  const { code = "", library = "" } = error;
  // It did not like what we showed, and said so: no fault of its own.
  if (/^ERR_SSL_.*_ALERT_/.test(code)) return "refused";
  if (/^ERR_SSL_(UNSUPPORTED_PROTOCOL|NO_SHARED_|NO_SUITABLE_|NO_APPLICATION_)/.test(code)) {
    return "refused";
  }
  // The part of OpenSSL that checks signatures names its errors by what was wrong with the numbers.
  if (/^(rsa|elliptic curve|Provider) routines$/.test(library)) return "auth";
  if (/^ERR_SSL_(BAD_SIGNATURE|.*SIGNATURE|EE_KEY|CA_KEY|.*_MD_TOO_WEAK)/.test(code)) return "auth";
  return code.startsWith("ERR_SSL_") || code.startsWith("ERR_OSSL_") ? "malformed" : "cut";
}

/**
 * Refuse in the clear, as TLS itself would before the ServerHello, without having TLS start; then end in
 * order, so that the alert is not lost to a reset.
 */
function sendAlert(raw: Socket, alert: number, done: () => void): void {
  const FATAL = 2;
  if (raw.destroyed) return done();
  raw.once("close", done);
  raw.resume();
  raw.end(Buffer.from([21, 3, 3, 0, 2, FATAL, alert]));
}

/** The socket was closed, by us or by them. */
function gone(raw: Socket, when: string, hello: ClientHello | undefined): TlsOutcome {
  const { errored } = raw;
  return errored instanceof HandshakeDropped
    ? failed("timeout", errored.message, hello)
    : failed("cut", `went away ${when}`, hello);
}

function offer(hello: ClientHello): string {
  return hello.alpn.length === 0 ? "no ALPN" : JSON.stringify(hello.alpn.slice(0, 8)).slice(0, 300);
}

function failed(
  reason: (TlsOutcome & { kind: "failed" })["reason"],
  detail: string,
  hello: ClientHello | undefined,
): TlsOutcome {
  return { kind: "failed", reason, detail, hello };
}
