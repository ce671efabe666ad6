/**
 * Our side of the TCP benches: an endpoint with a handler of a few lines, and a dialer.
 *
 *     core-worker.ts server certificate=F key=F client=F
 *     core-worker.ts client certificate=F key=F peer=F to=HOST:PORT [transport=tcp|quic]
 *
 * The commands are those of `peers/node-tls.ts`, and so is the work.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { finished } from "node:stream/promises";
import { createDialer } from "@alknet/core/dialer";
import { createEndpoint } from "@alknet/core/endpoint";
import { fingerprintOfPublicKey } from "@alknet/core/fingerprint";
import type { ProtocolHandler } from "@alknet/core/handler";
import { formatHostPort } from "@alknet/core/host";
import { identityFromKey, type NodeIdentity } from "@alknet/core/identity-file";
import type { PeerEntry } from "@alknet/core/peers";
import { staticIdentities } from "@alknet/core/static-identities";
import { bind } from "@alknet/quic/endpoint";
import { inParallel, number, obey, parseWords, stopwatch, text, usage } from "./commands.ts";
import { sendBulk, serveStream, welcomed } from "./tcp-work.ts";

const ALPN = "alknet/bench";

const [role, ...words] = process.argv.slice(2);
const given = parseWords(words);
const transport = given.get("transport") === "quic" ? "quic" : "tcp";
const counts = { connections: 0 };

if (role === "server") await serve();
else await dial();

async function serve(): Promise<void> {
  const handler: ProtocolHandler = {
    alpns: [ALPN],
    access: "peers",
    tls: "node",
    async handle(connection) {
      counts.connections += 1;
      const stream = await connection.accept();
      if (stream === undefined) return;
      serveStream(stream);
      // How the client leaves is its own matter.
      await finished(stream).catch(() => {});
    },
  };
  const endpoint = await createEndpoint({
    identity: identity(),
    identities: staticIdentities([peer("client", text(given, "client"))]),
    handlers: [handler],
    listen: ["127.0.0.1:0"],
    // Every connection comes from one address here, which the limits per address are not for.
    limits: { exempt: ["127.0.0.0/8"] },
  });
  const [address] = endpoint.addresses;
  if (address === undefined) throw new Error("the endpoint has no address");
  await obey(formatHostPort(address), { counts: () => counts });
}

async function dial(): Promise<void> {
  const dialer = createDialer({
    identity: identity(),
    identities: staticIdentities([peer("server", text(given, "peer"), [text(given, "to")])]),
    bind: () => bind({ address: "127.0.0.1" }),
  });
  const connect = async () => {
    const connection = await dialer.dial("server", ALPN, { transports: [transport] });
    const stream = await connection.open();
    await welcomed(stream);
    return { connection, stream };
  };
  await obey("", {
    async bulk(words) {
      const bytes = number(words, "bytes");
      const { connection, stream } = await connect();
      const watch = stopwatch();
      await sendBulk(stream, bytes);
      const time = watch();
      connection.abort(0);
      return time;
    },
    async handshakes(words) {
      const watch = stopwatch();
      await inParallel(number(words, "count"), number(words, "parallel"), async () => {
        const { connection, stream } = await connect();
        // An abort ends the stream with an error, which is expected here.
        stream.on("error", () => {});
        connection.abort(0);
      });
      return watch();
    },
    stats: usage,
  });
}

function identity(): NodeIdentity {
  const key = readFileSync(text(given, "key"));
  return identityFromKey(createPrivateKey({ key, format: "der", type: "pkcs8" }));
}

function peer(peerId: string, certificateFile: string, addresses: string[] = []): PeerEntry {
  const { publicKey } = new X509Certificate(readFileSync(certificateFile));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const fingerprint = fingerprintOfPublicKey(spki.subarray(-32));
  return { peerId, fingerprints: [fingerprint], scopes: [], enabled: true, addresses };
}
