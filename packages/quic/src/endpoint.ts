/**
 * A QUIC endpoint: one UDP socket that serves and dials, on Node's own event loop.
 *
 * @module
 */

import type { QuicConnection, WaitOptions } from "./connection.ts";
import type { ConnectOptions, EndpointOptions } from "./endpoint-options.ts";
import { EndpointState } from "./endpoint-state.ts";
import { native } from "./native.ts";

/**
 * Bind an endpoint.
 *
 * It keeps the process alive until closed, or `unref()`ed.
 *
 * @throws {Error} with the `code` of the system (`EADDRINUSE`, `EACCES`, …) if the port is not to be had.
 */
export function bind(options: EndpointOptions = {}): QuicEndpoint {
  return new QuicEndpoint(options);
}

export class QuicEndpoint implements AsyncDisposable {
  readonly #state: EndpointState;

  constructor(options: EndpointOptions = {}) {
    this.#state = new EndpointState(options);
    orphans.register(this, this.#state);
  }

  /** Where it is bound. */
  get address(): { address: string; port: number; family: "IPv4" | "IPv6" } {
    return this.#state.address;
  }

  /** Bytes that the kernel gave for each direction (Linux counts double what was asked). */
  get socketBuffers(): { receive: number; send: number } {
    const { receiveBuffer, sendBuffer } = native.endpointInfo(this.#state.live());
    return { receive: receiveBuffer, send: sendBuffer };
  }

  /** Connections that are ready. */
  get connectionCount(): number {
    return this.#state.driver.connectionCount;
  }

  /** Handshakes under way, both ways. */
  get handshakeCount(): number {
    return this.#state.closed ? 0 : native.endpointInfo(this.#state.live()).handshakes;
  }

  /**
   * What the engine holds: `connections` that JavaScript or the protocol still knows, the `closing` ones
   * among them that only wait for their last packets to die out, `handshakes` under way, `streams` of all.
   * For monitoring.
   */
  get counts(): { connections: number; closing: number; handshakes: number; streams: number } {
    const { connections, handshakes, streams } = native.endpointInfo(this.#state.live());
    const closing = Math.max(0, connections - this.connectionCount - handshakes);
    return { connections, closing, handshakes, streams };
  }

  /** Datagrams that the system refused to send, and its last word: `EPERM` means a firewall. */
  get sendErrors(): { count: number; last: string | undefined } {
    const { sendErrors, lastSendError } = native.endpointInfo(this.#state.live());
    return { count: sendErrors, last: lastSendError };
  }

  /**
   * Dial.
   *
   * Resolves when TLS is complete here. The server may still refuse our key: its refusal is then the
   * reason in `closed`, before any stream byte has come.
   *
   * @throws {QuicConnectionClosed} with the reason why there is no connection
   * @throws the signal's reason
   */
  connect(options: ConnectOptions): Promise<QuicConnection> {
    return new Promise((resolve, reject) => this.#state.connect(this, options, resolve, reject));
  }

  /** The next connection, for servers without a `connection` function; `undefined` once closed. */
  async accept(options: WaitOptions = {}): Promise<QuicConnection | undefined> {
    return await this.#state.accept(options);
  }

  /** Move to another local address; connections go on (RFC 9000 §9). */
  rebind(options: { address?: string | undefined; port?: number | undefined } = {}): void {
    this.#state.rebind(options);
  }

  /** This machine's addresses changed: dialed connections probe at once, instead of at the next PING. */
  addressChanged(): void {
    native.addressChanged(this.#state.live());
  }

  /** Keep the process alive (the default). */
  ref(): this {
    native.setReferenced(this.#state.live(), true);
    return this;
  }

  /** Let the process end while the endpoint is open. */
  unref(): this {
    native.setReferenced(this.#state.live(), false);
    return this;
  }

  /** Refuse handshakes from now on; connections go on. */
  stopAccepting(): void {
    native.stopAccepting(this.#state.live());
  }

  /**
   * End an admitted handshake without a word, to make room for another; also from inside `admit`. What is
   * no handshake any more is left alone. `handshakeFailed` is not told.
   */
  dropHandshake(handshake: number): void {
    native.dropHandshake(this.#state.live(), handshake);
  }

  /** Send now what this tick queued. Only needed before the process is ended by force. */
  flush(): void {
    native.flush(this.#state.live());
  }

  /**
   * Close every connection with `code`, wait until the peers know (three probe time-outs at most), and
   * give the port back. There is one promise, however often it is called.
   */
  close(options: { code?: number | undefined; reason?: string | undefined } = {}): Promise<void> {
    return this.#state.close(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** An endpoint object was collected. Nobody can dial from it or take its queue any more. */
const orphans = new FinalizationRegistry<EndpointState>((state) => state.orphan());
