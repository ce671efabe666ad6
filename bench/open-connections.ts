/**
 * Connections that have carried something, and stay open.
 *
 * @module
 */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Bytes that each has had there and back. */
const SENT = 64 * 1024;

/** A TCP server that sends back what comes. */
export async function startEcho(): Promise<Disposable & { readonly address: string }> {
  // The end of the bench breaks them.
  const server = createServer((socket) => socket.on("error", () => {}).pipe(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, [Symbol.dispose]: () => void server.close() };
}

/** Open `count` to the echo behind `address`, one after the other. */
export async function openConnections(address: string, count: number): Promise<Disposable> {
  const sockets: Socket[] = [];
  for (let left = count; left > 0; left--) sockets.push(await exchange(address));
  return { [Symbol.dispose]: () => sockets.forEach((socket) => socket.destroy()) };
}

async function exchange(address: string): Promise<Socket> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = connect(Number(port), hostname);
  socket.write(Buffer.alloc(SENT));
  let got = 0;
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("end", () => reject(new Error("a connection ended early")));
    socket.on("data", (data: Buffer) => {
      got += data.length;
      if (got === SENT) resolve();
    });
  });
  socket.removeAllListeners();
  socket.on("error", () => {});
  return socket;
}
