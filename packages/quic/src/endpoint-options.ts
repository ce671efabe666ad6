/**
 * What an endpoint is made with, and what it dials with.
 *
 * @module
 */

import type { WaitOptions } from "./connection.ts";
import type { ServerOptions } from "./handshake.ts";
import type { TlsClientConfig } from "./tls.ts";
import type { TransportOptions } from "./transport-options.ts";

export interface EndpointOptions {
  /** An IP address. @default "::", both families, or "0.0.0.0" on a machine without IPv6 */
  address?: string | undefined;
  /** @default 0, any that is free */
  port?: number | undefined;
  /** Bytes asked of the kernel for each direction, which clamps them silently. @default 4 MiB */
  socketBuffer?: number | undefined;
  /**
   * At least 32 secret bytes that stay the same over restarts: peers of an earlier life are then told at
   * once that their connections are gone (RFC 9000 §10.3).
   */
  resetKey?: Uint8Array | undefined;
  /** For connections that are accepted, and for dialed ones unless `connect` says otherwise. */
  transport?: TransportOptions | undefined;
  /** Absent: the endpoint only dials. */
  server?: ServerOptions | undefined;
  /**
   * The number that a `Duplex` destroyed with this error sends; `null` without an error.
   * @default `error.resetCode`, else 0
   */
  resetCodeOf?: ((error: Error | null) => number) | undefined;
}

export interface ConnectOptions extends WaitOptions {
  /** An IP address; names are the caller's. */
  address: string;
  port: number;
  tls: TlsClientConfig;
  /** SNI, and the name that is checked against CA certificates. */
  serverName?: string | undefined;
  transport?: TransportOptions | undefined;
}
