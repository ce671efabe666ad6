/**
 * What clients say first, captured: to be cut, bent and said again.
 *
 * @module
 */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { bind, type QuicEndpoint } from "@alknet/quic/endpoint";
import { TlsClientConfig } from "@alknet/quic/tls";

/** What a client of node:tls says first. */
export async function captureHello(options: tls.SecureContextOptions = {}): Promise<Buffer> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const ALPNProtocols = ["alknet/ping"];
  const client = tls.connect({ host: "127.0.0.1", port, ALPNProtocols, ...options });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

let client: QuicEndpoint | undefined;
const anyServer = new TlsClientConfig({
  alpn: ["alknet/ping"],
  verify: { dangerouslyAcceptAny: true },
});

/**
 * What a QUIC client sends first, with a connection id of its own each time; two datagrams are all of it, for a
 * ClientHello with a post-quantum share fills two.
 */
export async function captureInitials(count: 1 | 2, serverName?: string): Promise<Buffer[]> {
  client ??= bind({ address: "127.0.0.1" }).unref();
  const socket = await boundSocket("127.0.0.1");
  const given = new AbortController();
  try {
    const datagrams: Buffer[] = [];
    const enough = new Promise<void>((resolve) => {
      socket.on("message", (message: Buffer) => {
        if (datagrams.length < count) datagrams.push(message);
        if (datagrams.length === count) resolve();
      });
    });
    const { port } = socket.address();
    const { signal } = given;
    client
      .connect({ address: "127.0.0.1", port, tls: anyServer, serverName, signal })
      .catch(() => {});
    await enough;
    return datagrams;
  } finally {
    given.abort();
    socket.close();
  }
}

/** A UDP socket on a free port of `address`. Who asks for it closes it. */
export async function boundSocket(address: string): Promise<UdpSocket> {
  const socket = createSocket("udp4");
  socket.bind(0, address);
  await once(socket, "listening");
  return socket;
}
