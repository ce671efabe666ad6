/**
 * Bare `node:tls`: what the TCP side of the endpoint is compared with.
 *
 *     node-tls.ts server certificate=F key=F
 *     node-tls.ts client certificate=F key=F peer=F to=HOST:PORT
 *
 * The same keys, the same cipher, TLS 1.3, a certificate asked of the client, no resumption, no delay.
 *
 * @module
 */

import { constants, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect, createSecureContext, createServer, type TLSSocket } from "node:tls";
import {
  type Commands,
  inParallel,
  number,
  obey,
  parseWords,
  stopwatch,
  text,
  usage,
  type Words,
} from "../commands.ts";
import { sendBulk, serveStream, welcomed } from "../tcp-work.ts";

const [role, ...words] = process.argv.slice(2);
const given = parseWords(words);
const ALPN = "alknet-bench";
const counts = { connections: 0 };
const identity = {
  cert: new X509Certificate(readFileSync(text(given, "certificate"))).toString(),
  key: pem(readFileSync(text(given, "key"))),
  minVersion: "TLSv1.3",
  ciphers: "TLS_AES_256_GCM_SHA384",
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

if (role === "server") await serve();
else await dial();

async function serve(): Promise<void> {
  const server = createServer({
    ...identity,
    requestCert: true,
    // Self-signed: the key is judged below, as it is with us.
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN],
    noDelay: true,
  });
  server.on("secureConnection", (socket) => {
    if (socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType !== "ed25519") {
      socket.destroy();
      return;
    }
    counts.connections += 1;
    serveStream(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // It listens on TCP, so this is no path.
  const { port } = server.address() as AddressInfo;
  await obey(`127.0.0.1:${port}`, { counts: () => counts });
}

async function dial(): Promise<void> {
  const secureContext = createSecureContext(identity);
  const pinned = new X509Certificate(readFileSync(text(given, "peer"))).fingerprint256;
  const open = async (words: Words): Promise<TLSSocket> => {
    // Another server may be named: ours, for a comparison of servers alone.
    const [host, port] = (words.get("to") ?? text(given, "to")).split(":");
    const socket = connect({
      host,
      port: Number(port),
      secureContext,
      ALPNProtocols: [words.get("alpn") ?? ALPN],
      rejectUnauthorized: false,
    });
    socket.setNoDelay(true);
    await once(socket, "secureConnect");
    if (socket.getPeerX509Certificate()?.fingerprint256 !== pinned) throw new Error("wrong key");
    await welcomed(socket);
    return socket;
  };
  const commands: Commands = {
    async bulk(words) {
      const bytes = number(words, "bytes");
      const socket = await open(words);
      const watch = stopwatch();
      await sendBulk(socket, bytes);
      const time = watch();
      socket.destroy();
      return time;
    },
    async handshakes(words) {
      const watch = stopwatch();
      await inParallel(number(words, "count"), number(words, "parallel"), async () => {
        (await open(words)).destroy();
      });
      return watch();
    },
    stats: usage,
  };
  await obey("", commands);
}

function pem(der: Buffer): string {
  return `-----BEGIN PRIVATE KEY-----\n${der.toString("base64")}\n-----END PRIVATE KEY-----\n`;
}
