/**
 * The QUIC engine, loaded as this module is: the exports of `native/quic`, with their types.
 *
 * Numbers stand for things: an endpoint, a connection, a stream, a TLS configuration. A number that
 * has gone stale names nothing, and using it does nothing.
 *
 * @module
 */

import { loadNative } from "./load-native.ts";

/** @throws {NativeMissingError} from the import itself, where no engine can be loaded. */
export const native: NativeQuic = loadNative() as unknown as NativeQuic;

export interface NativeQuic {
  serverTls(options: {
    certificates: Uint8Array[];
    privateKey: Uint8Array;
    clientCertificate: 0 | 1 | 2;
    rawPublicKeys: boolean;
    keyLogFile?: string | undefined;
  }): number;
  forgetServerTls(tls: number): void;
  clientTls(options: {
    alpn: Uint8Array[];
    trust: 0 | 1 | 2 | 3;
    trusted: Uint8Array[];
    certificates?: Uint8Array[] | undefined;
    privateKey?: Uint8Array | undefined;
    rawPublicKeys: boolean;
    keyLogFile?: string | undefined;
  }): number;
  forgetClientTls(tls: number): void;

  bind(
    options: {
      address: string;
      port: number;
      socketBuffer: number;
      resetKey?: Uint8Array | undefined;
      server: boolean;
      /** False: everybody is admitted, and `admit` is not asked. */
      admits: boolean;
      /** Also of dialed connections, unless `connect` says otherwise. */
      transport: NativeTransport;
    },
    wake: () => void,
    admit: (address: string, port: number, validated: boolean, handshake: number) => number,
    configure: (
      alpn: string[],
      serverName: string | undefined,
      address: string,
      port: number,
      validated: boolean,
    ) => number,
  ): number;
  endpointInfo(endpoint: number): NativeEndpointInfo;
  rebind(endpoint: number, address: string, port: number, socketBuffer: number): void;
  addressChanged(endpoint: number): void;
  stopAccepting(endpoint: number): void;
  dropHandshake(endpoint: number, handshake: number): void;
  setReferenced(endpoint: number, on: boolean): void;
  closeAll(endpoint: number, code: number, reason: Uint8Array): void;
  destroy(endpoint: number): void;
  flush(endpoint: number): void;
  /** `header` has 4 places: records, large offset, small offset, more; the offsets go in and come out. */
  drain(
    endpoint: number,
    header: Uint32Array,
    records: Uint32Array,
    large: Uint8Array,
    small: Uint8Array,
  ): void;
  takeFailure(endpoint: number): {
    handshake: number;
    address: string;
    port: number;
    validated: boolean;
    reason: NativeReason;
  } | null;

  connect(
    endpoint: number,
    tls: number,
    address: string,
    port: number,
    serverName: string | undefined,
    transport: NativeTransport | undefined,
  ): number;
  /**
   * Latin-1: two bytes of port, one each of the lengths of address, ALPN and server name, one that is 1 for a
   * raw public key, these three texts, and the peer's leaf.
   */
  connectionInfo(endpoint: number, connection: number): string | null;
  closeReason(endpoint: number, connection: number): NativeReason | null;
  /** Streams of the connection that are not done. */
  streamIds(endpoint: number, connection: number): Uint32Array;
  close(endpoint: number, connection: number, code: number, reason: Uint8Array): void;
  dropConnection(endpoint: number, connection: number): void;
  release(endpoint: number, connection: number): void;
  statistics(endpoint: number, connection: number): number[] | null;
  exportKeyingMaterial(
    endpoint: number,
    connection: number,
    label: Uint8Array,
    context: Uint8Array,
    length: number,
  ): Buffer | null;
  /** Negative: leave as it is. */
  setLimits(
    endpoint: number,
    connection: number,
    streams: number,
    receive: number,
    send: number,
  ): void;
  sendDatagram(endpoint: number, connection: number, data: Uint8Array): boolean;
  maxDatagram(endpoint: number, connection: number): number;

  /** id + 2^32 · bytes taken; -1: wait for `AVAILABLE`; -2: the connection has ended. */
  open(
    endpoint: number,
    connection: number,
    unidirectional: boolean,
    data: Uint8Array,
    fin: boolean,
  ): number;
  /** Bytes taken, at most {@linkcode MAX_WRITE}; -1: the stream takes no more. */
  write(endpoint: number, stream: number, data: Uint8Array, fin: boolean): number;
  reset(endpoint: number, stream: number, code: number): void;
  stop(endpoint: number, stream: number, code: number): void;
  flow(endpoint: number, stream: number, on: boolean): void;

  /** A `FINISHED` record follows when the stream's end is acknowledged. */
  watch(endpoint: number, stream: number): void;
  /** A `FLUSHED` record follows; false: every stream that was ended is acknowledged already. */
  flushStreams(endpoint: number, connection: number): boolean;
  /** A `PONG` record follows when the peer has acknowledged something; false: the connection has ended. */
  ping(endpoint: number, connection: number): boolean;

  panicInCall(endpoint: number): void;
  panicInConnection(endpoint: number, connection: number, reading: boolean): void;
}

export interface NativeTransport {
  idleTimeout: number;
  keepAlive: number;
  handshakeTimeout: number;
  maxStreams: number;
  streamReceiveWindow: number;
  receiveWindow: number;
  sendWindow: number;
  initialMtu: number;
  mtuUpperBound: number;
  congestion: 0 | 1 | 2;
  datagramBuffer: number;
}

export interface NativeEndpointInfo {
  address: string;
  port: number;
  ipv6: boolean;
  receiveBuffer: number;
  sendBuffer: number;
  connections: number;
  handshakes: number;
  streams: number;
  held: number;
  sendErrors: number;
  lastSendError?: string;
}

export interface NativeReason {
  kind: number;
  byPeer: boolean;
  code: number;
  text: string;
}

/** Most bytes that one `write` takes. */
export const MAX_WRITE: number = 2 ** 20 - 1;

/** Kinds of records that `drain` writes, `[kind, id, a, b]`. See the engine's `engine/record.rs`. */
export const Record = {
  CONNECTED: 1,
  CLOSED: 2,
  OPENED: 3,
  DATA: 4,
  RESET: 5,
  STOPPED: 6,
  WRITABLE: 7,
  FINISHED: 8,
  AVAILABLE: 9,
  DATAGRAM: 10,
  LOST: 11,
  FAILED: 12,
  DRAINED: 13,
  FLUSHED: 14,
  PONG: 15,
} as const;

/** Low bits of an id that index a table; what is above is a generation. */
export const INDEX_MASK: number = 2 ** 22 - 1;
