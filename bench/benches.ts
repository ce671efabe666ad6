/**
 * The list of benches: a name, a line, and the file, loaded when it is wanted.
 *
 * @module
 */

import type { Bench } from "./harness.ts";

export interface Listed {
  readonly about: string;
  load(): Promise<{ bench: Bench }>;
}

export const benches: Readonly<Record<string, Listed>> = {
  "quic-bulk": {
    about: "512 MiB on one QUIC stream, both ends in one process, against Deno",
    load: () => import("./quic-bulk.ts"),
  },
  "quic-bulk-native": {
    about: "the same between two processes, against pure Rust",
    load: () => import("./quic-bulk-native.ts"),
  },
  "quic-streams": {
    about: "requests of 100 bytes one by one, a stream each, against Deno and pure Rust",
    load: () => import("./quic-streams.ts"),
  },
  "quic-streams-64": {
    about: "the same, 64 in flight, against pure Rust",
    load: () => import("./quic-streams-64.ts"),
  },
  "quic-handshakes": {
    about:
      "handshakes with certificates on both sides, one by one and 32 in flight, against pure Rust",
    load: () => import("./quic-handshakes.ts"),
  },
  "quic-idle": {
    about: "memory of an idle connection at 2,000, and processor time of doing nothing",
    load: () => import("./quic-idle.ts"),
  },
  "quic-stall": {
    about: "bulk while the JavaScript thread is blocked 200 ms in each second",
    load: () => import("./quic-stall.ts"),
  },
};
