/**
 * A process to put into a namespace: it answers, sends or counts packets, and says so in lines of JSON.
 *
 *     probe.ts echo PORT                  answer UDP and TCP with what came; "ready" first
 *     probe.ts count PORT                 take datagrams until there are as many as stdin says in the end, then
 *                                         print what came; "ready" first
 *     probe.ts send HOST PORT COUNT SIZE  send numbered datagrams as fast as the socket takes them
 *     probe.ts rtt HOST PORT COUNT        one datagram after the other, waiting for each echo
 *     probe.ts tcp HOST PORT TEXT         send TEXT, print the echo
 *
 * @module
 */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { text } from "node:stream/consumers";

/** What `count` prints: which numbers came, in order, and how long from the first to the last. */
export interface Counted {
  numbers: number[];
  milliseconds: number;
}

/** What `rtt` prints: round trips in milliseconds, in order. */
export interface RoundTrips {
  milliseconds: number[];
}

const SOCKET_BUFFER = 4 * 2 ** 20;

const [mode = "", ...words] = process.argv.slice(2);
switch (mode) {
  case "echo":
    await echo(number(words[0]));
    break;
  case "count":
    print(await count(number(words[0])));
    break;
  case "send":
    await send(word(words[0]), number(words[1]), number(words[2]), number(words[3]));
    break;
  case "rtt":
    print(await roundTrips(word(words[0]), number(words[1]), number(words[2])));
    break;
  case "tcp":
    await overTcp(word(words[0]), number(words[1]), word(words[2]));
    break;
  default:
    throw new RangeError(
      `cannot run ${JSON.stringify(mode)}: expected echo, count, send, rtt or tcp`,
    );
}

async function echo(port: number): Promise<void> {
  const socket = await bind(port);
  socket.on("message", (data: Buffer, from: RemoteInfo) => {
    socket.send(data, from.port, from.address);
  });
  const server = createServer({ noDelay: true }, (stream) => {
    stream.pipe(stream);
    stream.on("error", () => stream.destroy());
  });
  server.listen(port, "::");
  await once(server, "listening");
  ready();
}

async function count(port: number): Promise<Counted> {
  const socket = await bind(port);
  const numbers: number[] = [];
  let first = 0;
  let last = 0;
  let expected = Infinity;
  return new Promise((resolve) => {
    const look = (): void => {
      if (numbers.length < expected) return;
      socket.close();
      resolve({ numbers, milliseconds: last - first });
    };
    socket.on("message", (data: Buffer) => {
      last = performance.now();
      if (numbers.length === 0) first = last;
      numbers.push(data.readUInt32BE());
      look();
    });
    ready();
    void text(process.stdin).then((input) => {
      expected = number(input);
      look();
    });
  });
}

async function send(host: string, port: number, total: number, size: number): Promise<void> {
  const socket = await bind(0);
  for (let at = 0; at < total; at += 1) {
    const data = Buffer.alloc(size);
    data.writeUInt32BE(at);
    await new Promise<void>((resolve, reject) => {
      socket.send(data, port, host, (error) => (error === null ? resolve() : reject(error)));
    });
  }
  socket.close();
}

async function roundTrips(host: string, port: number, total: number): Promise<RoundTrips> {
  const socket = await bind(0);
  const milliseconds: number[] = [];
  for (let at = 0; at < total; at += 1) {
    const begin = performance.now();
    socket.send("x", port, host);
    await once(socket, "message");
    milliseconds.push(performance.now() - begin);
  }
  socket.close();
  return { milliseconds };
}

async function overTcp(host: string, port: number, message: string): Promise<void> {
  const stream = connect({ host, port, noDelay: true });
  stream.end(message);
  process.stdout.write(await text(stream));
}

async function bind(port: number): Promise<Socket> {
  // Dual stack: IPv4 destinations are written as `::ffff:` addresses.
  const socket = createSocket({
    type: "udp6",
    recvBufferSize: SOCKET_BUFFER,
    sendBufferSize: SOCKET_BUFFER,
  });
  socket.bind(port);
  await once(socket, "listening");
  return socket;
}

function ready(): void {
  process.stdout.write("ready\n");
}

function print(value: Counted | RoundTrips): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function word(value: string | undefined): string {
  if (value === undefined) throw new RangeError(`missing argument for ${mode}`);
  return value;
}

function number(value: string | undefined): number {
  return Number.parseInt(word(value), 10);
}
