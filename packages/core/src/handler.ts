/**
 * `ProtocolHandler`: the narrow waist. A service is an ALPN, and this is all it has to be.
 *
 * @module
 */

import type { Connection } from "./connection.ts";

export interface ProtocolHandler {
  /** Names this handler serves, e.g. `["alknet/call"]` or `["h2", "http/1.1"]`. */
  readonly alpns: readonly string[];
  /** Known keys only, any proven key, or no key needed: decided before `handle`. */
  readonly access: "peers" | "keyed" | "anyone";
  /**
   * What the handshake shows and asks. `node`: our X.509 leaf, the client's key asked; `raw`: the same,
   * and raw public keys (RFC 7250) too; `web`: the web certificate, no key asked.
   */
  readonly tls: "node" | "raw" | "web";
  /** @default both */
  readonly transports?: readonly ("quic" | "tcp")[] | undefined;
  /**
   * Serve one connection. When it resolves, the connection is closed in order; when it rejects, the
   * connection is aborted with the error's code, else `INTERNAL`.
   */
  handle(connection: Connection): Promise<void>;
}
