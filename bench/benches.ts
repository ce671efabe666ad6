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
  "quic-congestion": {
    about: "what our BBR and CUBIC make of ten lines, against the kernel's BBR on plain TCP (root)",
    load: () => import("./quic-congestion.ts"),
  },
  "tcp-bulk": {
    about: "512 MiB over TCP+TLS through endpoint, router and dialer, against bare node:tls",
    load: () => import("./tcp-bulk.ts"),
  },
  "tcp-handshakes": {
    about: "TCP+TLS handshakes with certificates on both sides, against bare node:tls",
    load: () => import("./tcp-handshakes.ts"),
  },
  tunnel: {
    about: "one forwarded flow over QUIC, against ssh -L with its default cipher",
    load: () => import("./tunnel.ts"),
  },
  "tunnel-tcp": {
    about: "one forwarded flow over TCP+TLS, against ssh -L with AES-128-GCM",
    load: () => import("./tunnel-tcp.ts"),
  },
  "tunnel-wan": {
    about:
      "one forwarded flow over 100 ms and 1 Gbit/s, with and without loss, against ssh -L (root)",
    load: () => import("./tunnel-wan.ts"),
  },
  "forward-udp": {
    about: "packets a second and lost through alknet forward --udp, against a plain relay",
    load: () => import("./forward-udp.ts"),
  },
  "forward-flows": {
    about: "memory of both ends for each of 1,000 connections of alknet forward, against ssh -L",
    load: () => import("./forward-flows.ts"),
  },
  "forward-stall": {
    about: "whether 20 forwarded connections wait for each other's lost packets (root)",
    load: () => import("./forward-stall.ts"),
  },
  socks: {
    about: "bytes, and connections a second, through alknet socks, against ssh -D",
    load: () => import("./socks.ts"),
  },
  "ssh-bulk": {
    about: "a file by ssh host cat, both ways, from our server and from sshd",
    load: () => import("./ssh-bulk.ts"),
  },
  "ssh-forward": {
    about: "one connection of stock ssh -L through our SSH server, against through sshd",
    load: () => import("./ssh-forward.ts"),
  },
  "ssh-echo": {
    about: "a keystroke there and back beside a bulk transfer, at our server and at sshd",
    load: () => import("./ssh-echo.ts"),
  },
  "ssh-echo-upload": {
    about: "the same while an upload runs",
    load: () => import("./ssh-echo-upload.ts"),
  },
  "ssh-sessions": {
    about: "new sessions a second on one connection, at our server and at sshd",
    load: () => import("./ssh-sessions.ts"),
  },
  "ssh-wan": {
    about:
      "the output of a command, and the input of one, by alknet ssh over 100 ms, against ssh (root)",
    load: () => import("./ssh-wan.ts"),
  },
  "ssh-wan-tcp": {
    about: "stock ssh by plain TCP over 100 ms to our server, both ways, against to sshd (root)",
    load: () => import("./ssh-wan-tcp.ts"),
  },
  "ssh-connect": {
    about: "from the start of alknet ssh to the prompt, over 100 ms, against ssh (root)",
    load: () => import("./ssh-connect.ts"),
  },
  "ssh-flows": {
    about: "memory of our server for each of 1,000 connections of ssh -L that are open",
    load: () => import("./ssh-flows.ts"),
  },
  "call-64": {
    about: "calls of 200 characters, 64 in flight, against grpc-js, tRPC and Cap'n Web",
    load: () => import("./call-64.ts"),
  },
  "call-sequential": {
    about: "the time of one such call, one after another",
    load: () => import("./call-sequential.ts"),
  },
  "call-subscription": {
    about: "items of 200 characters of one subscription, against the same",
    load: () => import("./call-subscription.ts"),
  },
  "call-bulk": {
    about: "items of a mebibyte of one subscription, against the same",
    load: () => import("./call-bulk.ts"),
  },
  "call-validation": {
    about: "what it costs call-64 that inputs and outputs are checked",
    load: () => import("./call-validation.ts"),
  },
  "call-open": {
    about: "memory of 10,000 calls that wait, and 1,000 subscriptions beside one that is not read",
    load: () => import("./call-open.ts"),
  },
  identity: {
    about: "look-ups, rights and a full reload with 100,000 peers in SQLite, against their limits",
    load: () => import("./identity.ts"),
  },
  start: {
    about:
      "milliseconds of alknet up until it is ready, of a whole alknet ping, and alknet vault status",
    load: () => import("./start.ts"),
  },
  revocation: {
    about: "from another process's commit to the close that the peer sees, 1,000 connections",
    load: () => import("./revocation.ts"),
  },
  "revocation-postgres": {
    about: "the same, from a commit in PostgreSQL to nodes that listen to it (root)",
    load: () => import("./revocation-postgres.ts"),
  },
  "ssh-revocation": {
    about: "from the commit that takes back a right to the end of what SSH does by it",
    load: () => import("./ssh-revocation.ts"),
  },
  "vault-agent": {
    about: "a signature over the SSH agent's socket, and 8 clients at once, against ssh-agent",
    load: () => import("./vault-agent.ts"),
  },
  "vault-crypto": {
    about:
      "64 KiB sealed and opened by a vault, against bare node:crypto; and keys derived a second",
    load: () => import("./vault-crypto.ts"),
  },
  "vault-unlock": {
    about: "a vault file opened by its passphrase, less argon2id, against the limit we set",
    load: () => import("./vault-unlock.ts"),
  },
};
