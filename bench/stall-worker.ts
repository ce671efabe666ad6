/**
 * Both ends of `forward-stall`: connections that bring a small message every 20 ms, with the time at which it was sent.
 * The clock is the machine's, which both ends share.
 *
 *     stall-worker.ts [ADDRESS:PORT]
 *
 * With an address it serves there. Else:
 *
 * - `listen flows=N seconds=S to=ADDRESS`: N connections, until S seconds after the last was opened
 *
 * @module
 */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { number, obey, text } from "./commands.ts";

/** Milliseconds between two messages of a connection. */
const INTERVAL = 20;
/** Bytes; it begins with the time, a double. */
const MESSAGE = 100;
/** Milliseconds above the fastest message from which on one is late: half a round trip of the line. */
const LATE = 50;
/** Milliseconds until the connections are on their way. */
const WARM_UP = 1_000;

/** Who is sent to in each millisecond of an interval: together they would share packets, and their losses. */
const turns = Array.from({ length: INTERVAL }, () => new Set<Socket>());

const [where] = process.argv.slice(2);
if (where !== undefined) await serve(new URL(`tcp://${where}`));
await obey("", {
  async listen(words) {
    const { hostname, port } = new URL(`tcp://${text(words, "to")}`);
    const sockets: Socket[] = [];
    const messages: Message[] = [];
    for (let flow = 0; flow < number(words, "flows"); flow++) {
      const socket = connect(Number(port), hostname);
      await once(socket, "connect");
      hear(socket, (sent) => messages.push({ flow, sent, delay: now() - sent }));
      sockets.push(socket);
    }
    const begin = now() + WARM_UP;
    await sleep(WARM_UP + number(words, "seconds") * 1_000);
    for (const socket of sockets) socket.destroy();
    return summary(
      messages.filter(({ sent }) => sent > begin),
      sockets.length,
    );
  },
});

interface Message {
  readonly flow: number;
  /** Milliseconds, as {@linkcode now} has them. */
  readonly sent: number;
  readonly delay: number;
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function serve({ hostname, port }: URL): Promise<void> {
  let count = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    const turn = turns[count++ % INTERVAL];
    turn?.add(socket);
    socket.on("error", () => {}).once("close", () => turn?.delete(socket));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(Number(port), hostname, resolve));
  let next = Math.floor(now());
  setInterval(() => {
    for (; next < now(); next++) turns[next % INTERVAL]?.forEach(speak);
  }, 1);
}

function speak(socket: Socket): void {
  const message = Buffer.alloc(MESSAGE);
  message.writeDoubleLE(now());
  socket.write(message);
}

function hear(socket: Socket, heard: (sent: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data: Buffer) => {
    rest = Buffer.concat([rest, data]);
    for (; rest.length >= MESSAGE; rest = rest.subarray(MESSAGE)) heard(rest.readDoubleLE());
  });
}

/** How many messages came late, and of how many connections those were that were sent within one interval. */
function summary(messages: readonly Message[], connections: number): object {
  const fastest = messages.reduce((least, { delay }) => Math.min(least, delay), Infinity);
  const late = messages.filter(({ delay }) => delay > fastest + LATE);
  const together = new Map<number, Set<number>>();
  for (const { flow, sent } of late) {
    const interval = Math.floor(sent / INTERVAL);
    together.set(interval, (together.get(interval) ?? new Set()).add(flow));
  }
  const flows = [...together.values()].reduce((sum, { size }) => sum + size, 0);
  const share = late.length / messages.length;
  return {
    messages: messages.length,
    late: late.length,
    together: flows / together.size,
    // Of those intervals in which anybody is late at all.
    independent: (connections * share) / (1 - (1 - share) ** connections),
  };
}
