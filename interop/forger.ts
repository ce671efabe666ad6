/**
 * Who sends datagrams in another's name.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { boundSocket } from "./captured.ts";

export interface Forger extends Disposable {
  /** Bytes that came so far. */
  readonly received: number;
  /** The datagrams that came so far, answers to `echo` apart. */
  readonly datagrams: readonly Buffer[];
  /** @returns how many bytes that were. */
  send(port: number, datagrams: readonly Buffer[]): Promise<number>;
  /** The next datagram that comes. */
  answer(): Promise<Buffer>;
  /** Ask for what is answered at once, and not counted: what was sent before has been dealt with by then. */
  echo(port: number): Promise<void>;
}

/** @param victim what the forger names as its source: it hears what is sent there, so that we can count it. */
export async function forge(victim: string): Promise<Forger> {
  const socket = await boundSocket(victim);
  const datagrams: Buffer[] = [];
  let received = 0;
  const echoes = new Map<string, () => void>();
  socket.on("message", (message) => {
    const echo = echoes.get(idOf(message));
    if (echo !== undefined) return echo();
    received += message.length;
    datagrams.push(message);
  });
  const send = async (port: number, datagram: Buffer): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      socket.send(datagram, port, "127.0.0.1", (error) => (error ? reject(error) : resolve()));
    });
  };
  return {
    get received() {
      return received;
    },
    datagrams,
    async send(port, datagrams) {
      for (const datagram of datagrams) await send(port, datagram);
      return datagrams.reduce((sum, { length }) => sum + length, 0);
    },
    async answer() {
      const [message] = (await once(socket, "message")) as [Buffer];
      return message;
    },
    async echo(port) {
      const question = unknownVersion();
      await new Promise<void>((resolve, reject) => {
        echoes.set(question.toString("hex", 15, 23), resolve);
        send(port, question).catch(reject);
      });
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

/** The connection id that a long header is for, if it has eight bytes (RFC 8999 §5.1). */
function idOf(datagram: Buffer): string {
  return datagram.toString("hex", 6, 14);
}

/** A long header of a version that nobody has (RFC 9000 §15): answered by Version Negotiation. */
export function unknownVersion(): Buffer {
  const header = Buffer.from([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]);
  return Buffer.concat([header, randomBytes(8), Buffer.from([8]), randomBytes(8)], 1_200);
}
