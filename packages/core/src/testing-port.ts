/**
 * A port for a program that cannot be told to find one by itself.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import { type EventEmitter, once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";

/** Below those that systems give to who asks for any, and to connections that go out. */
const FIRST = 20_000;
const COUNT = 12_000;

/** Processes begin apart from each other, and ask on from where they are. */
let next = FIRST + ((process.pid * 61) % COUNT);

/**
 * A port of 127.0.0.1 that nobody has now, neither for TCP nor for UDP.
 *
 * On Linux it is this process's for as long as that runs: nobody else who asks here is given the same, and the system gives
 * it to nobody. Elsewhere others who ask here may get it too, if its user is late.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < COUNT; tries++) {
    const port = next;
    next = port + 1 < FIRST + COUNT ? port + 1 : FIRST;
    if ((await isReserved(port)) && (await isFree(port))) return port;
  }
  throw new Error(`no port between ${FIRST} and ${FIRST + COUNT} is free`);
}

/** An abstract socket stands for the port; it goes with this process. */
async function isReserved(port: number): Promise<boolean> {
  if (process.platform !== "linux") return true;
  const mark = createServer().unref();
  mark.listen(`\0alknet-port-${port}`);
  return isListening(mark);
}

async function isFree(port: number): Promise<boolean> {
  await using tcp = createServer();
  await using udp = createSocket("udp4");
  tcp.listen({ host: "127.0.0.1", port });
  udp.bind({ address: "127.0.0.1", port });
  const [hasTcp, hasUdp] = await Promise.all([isListening(tcp), isListening(udp)]);
  return hasTcp && hasUdp;
}

async function isListening(server: EventEmitter): Promise<boolean> {
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  }
}
