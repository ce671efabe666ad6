/**
 * What a peer does that may be taken away from it: connections, flows that move, flows that stand, flows that
 * wait in a queue. The node and the targets are in other processes, or other sockets, than the peer.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Connection, ConnectionClosed } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import { createIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { PING_ALPN } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import { type DialTunnel, openFlow } from "@alknet/tunnel/open-flow";
import { ALPN as TUNNEL_ALPN } from "@alknet/tunnel/tunnel";
import { dialerOf, type Transport, TRANSPORTS, until } from "./attack.ts";

/** A piece of what moves, and how often one leaves, in milliseconds. */
const PIECE = Buffer.alloc(1_024, "alknet");
const BEAT = 10;

/** So many pieces each way show that something moves. */
const ENOUGH = 4 * PIECE.length;

/** Where flows lead: it sends and takes without an end. */
export interface FlowTarget extends AsyncDisposable {
  readonly port: number;
  /** The end of the flow with this number, when it is there. */
  end(number: number): Promise<FlowEnd>;
}

export interface FlowEnd {
  readonly received: number;
  readonly closed: Promise<void>;
}

export async function startFlowTarget(): Promise<FlowTarget> {
  const ends = new Map<number, FlowEnd>();
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    void closed.then(() => sockets.delete(socket));
    let received = 0;
    socket.once("data", (head: Buffer) => {
      // Number of the flow, and whether it is to be filled up to the brim.
      const [number, brim] = [head.readUInt32BE(0), head[4] === 1];
      ends.set(number, {
        closed,
        get received() {
          return received;
        },
      });
      if (brim) {
        socket.pause();
        fill(socket);
        return;
      }
      socket.on("data", (piece: Buffer) => (received += piece.length));
      beat(socket, closed);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async end(number) {
      await until(
        () => ends.has(number),
        () => [...ends.keys()],
      );
      return ends.get(number)!;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function beat(stream: Duplex, closed: Promise<unknown>): void {
  const timer = setInterval(() => stream.write(PIECE), BEAT);
  void closed.then(() => clearInterval(timer));
}

/** Write until nothing more is taken, and go on when it is. */
function fill(stream: Duplex): void {
  const piece = Buffer.alloc(64 * 1024);
  const write = (): void => {
    while (stream.writable && stream.write(piece));
  };
  stream.on("drain", write);
  write();
}

/** Ports at which somebody listens and nobody answers: who connects there waits for minutes. */
export interface StuckPorts extends AsyncDisposable {
  readonly ports: readonly number[];
}

export async function startStuckPorts(count: number): Promise<StuckPorts> {
  const program = `
    const { createServer } = require("node:net");
    const servers = Array.from({ length: ${count} }, () => createServer());
    let left = servers.length;
    for (const server of servers) server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
      if (--left === 0) console.log(servers.map((each) => each.address().port).join(" "));
    });`;
  const child: ChildProcess = spawn(process.execPath, ["-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout!.setEncoding("utf8"), "data")) as [string];
  const ports = line.trim().split(" ").map(Number);
  child.kill("SIGSTOP");
  // A backlog of 1 has room for two. Then Linux answers nobody.
  const fillers = ports.flatMap((port) => [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")]);
  await Promise.all(fillers.map((filler) => once(filler, "connect")));
  return {
    ports,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.on("error", () => {}).destroy();
      const gone = once(child, "close");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** A flow, seen from both ends. */
export interface Flow {
  readonly transport: Transport;
  /** Bytes have come at both ends since this was called. @throws if it ends first. */
  moves(): Promise<void>;
  /** Both ends know that it is over. */
  readonly over: Promise<void>;
}

/** A flow that is asked for and not there yet. */
export interface WaitingFlow {
  readonly transport: Transport;
  /** Why it never came. */
  readonly refused: Promise<Error>;
}

/** A connection for `alknet/ping`, with a stream on it. */
export interface Line {
  readonly transport: Transport;
  readonly connection: Connection;
  /** A question goes out, and its answer comes. */
  answers(): Promise<void>;
}

/** Somebody with a key. */
export interface Somebody extends AsyncDisposable {
  readonly identity: NodeIdentity;
  line(node: Target, transport: Transport): Promise<Line>;
  /** `brim`: nobody reads, and everything between the ends is full. It never moves then. */
  flow(node: Target, to: FlowTarget, transport: Transport, brim?: "brim"): Promise<Flow>;
  waiting(node: Target, port: number, transport: Transport): WaitingFlow;
  /** Name of the reason for which a dial is refused. */
  refusedDial(node: Target, transport: Transport): Promise<string>;
}

let numbers = 0;

export function somebody(): Somebody {
  const identity = createIdentity();
  const dialer: Dialer = dialerOf(identity);
  const dial =
    (node: Target, transport: Transport): DialTunnel =>
    ({ signal }) =>
      dialer.open(node, TUNNEL_ALPN, { signal, transports: [transport] });
  const open = async (node: Target, port: number, transport: Transport) =>
    await openFlow(dial(node, transport), { host: "127.0.0.1", port });
  return {
    identity,
    [Symbol.asyncDispose]: () => dialer[Symbol.asyncDispose](),
    async line(node, transport) {
      const connection = await dialer.dial(node, PING_ALPN, { transports: [transport] });
      const stream = await connection.open();
      let answered = 0;
      // What ends with its connection says so as an error; `closed` is what is looked at.
      stream.on("error", () => {});
      stream.on("data", (piece: Buffer) => (answered += piece.length));
      let asked = 0;
      const line: Line = {
        transport,
        connection,
        async answers() {
          asked += 8;
          stream.write(Buffer.alloc(8, asked));
          await until(
            () => answered === asked,
            () => ({ transport, answered, asked, destroyed: stream.destroyed }),
          );
        },
      };
      await line.answers();
      return line;
    },
    async flow(node, to, transport, brim) {
      const number = ++numbers;
      const flow = await open(node, to.port, transport);
      flow.on("error", () => {});
      const head = Buffer.from([0, 0, 0, 0, brim === undefined ? 0 : 1]);
      head.writeUInt32BE(number);
      flow.write(head);
      const far = await to.end(number);
      let received = 0;
      const closed = new Promise<void>((resolve) => flow.once("close", () => resolve()));
      if (brim === undefined) {
        flow.on("data", (piece: Buffer) => (received += piece.length));
        beat(flow, closed);
      } else {
        // The other direction is full as well.
        fill(flow);
      }
      return {
        transport,
        // Over QUIC, who does not read does not hear of a reset either: then the target's word is taken.
        over: brim === undefined ? Promise.all([closed, far.closed]).then(() => {}) : far.closed,
        async moves() {
          const before = [received, far.received] as const;
          await until(
            () => received >= before[0] + ENOUGH && far.received >= before[1] + ENOUGH,
            () => ({ transport, before, now: [received, far.received], gone: flow.destroyed }),
          );
        },
      };
    },
    waiting(node, port, transport) {
      return { transport, refused: rejection(open(node, port, transport)) };
    },
    async refusedDial(node, transport) {
      try {
        const connection = await dialer.dial(node, PING_ALPN, { transports: [transport] });
        await connection.open().catch(() => {});
        const { name } = await connection.closed;
        return name;
      } catch (error) {
        assert.ok(error instanceof ConnectionClosed, String(error));
        return error.code;
      }
    },
  };
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  return await promise.then(
    () => assert.fail("it was let in"),
    (error: Error) => error,
  );
}

/** All that a peer may have going at a node, over both transports. */
export interface Work {
  readonly lines: readonly Line[];
  /** To the target that may be taken away alone, and to the other. */
  readonly narrow: readonly Flow[];
  readonly wide: readonly Flow[];
  /** The same, full to the brim: they do not move. */
  readonly narrowBrim: readonly Flow[];
  readonly wideBrim: readonly Flow[];
}

export interface WorkPlan {
  readonly node: Target;
  readonly narrow: FlowTarget;
  readonly wide: FlowTarget;
}

/** Begin everything. */
export async function beginWork(who: Somebody, plan: WorkPlan): Promise<Work> {
  const { node, narrow, wide } = plan;
  const each = async <T>(make: (transport: Transport) => Promise<T>): Promise<T[]> => {
    const made: T[] = [];
    for (const transport of TRANSPORTS) made.push(await make(transport));
    return made;
  };
  const work: Work = {
    lines: await each((transport) => who.line(node, transport)),
    narrow: await each((transport) => who.flow(node, narrow, transport)),
    wide: await each((transport) => who.flow(node, wide, transport)),
    narrowBrim: await each((transport) => who.flow(node, narrow, transport, "brim")),
    wideBrim: await each((transport) => who.flow(node, wide, transport, "brim")),
  };
  await Promise.all([...work.narrow, ...work.wide].map((flow) => flow.moves()));
  return work;
}

/** Nothing of it has been touched, as far as it stands on what is not narrow. */
export async function goesOn({ lines, wide }: Pick<Work, "lines" | "wide">): Promise<void> {
  await Promise.all([...lines.map((line) => line.answers()), ...wide.map((flow) => flow.moves())]);
}
