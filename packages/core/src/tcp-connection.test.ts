import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { authenticate } from "./access.ts";
import { type ConformanceOptions, type Ends, testConnection } from "./connection-conformance.ts";
import type { OwnedConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { createIdentity } from "./identity-file.ts";
import { staticIdentities } from "./static-identities.ts";
import { tcpConnection } from "./tcp-connection.ts";
import { dialTcp } from "./tcp-dial.ts";
import { nodeContext } from "./tls-context.ts";
import { serveTls } from "./tls-server.ts";

const identity = createIdentity();
const context = nodeContext(identity);

async function connect(owners: {
  client: ConnectionOwner;
  server: ConnectionOwner;
}): Promise<Ends> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[net.Socket]>;
  const dialed = dialTcp({
    address: "127.0.0.1",
    port: (server.address() as net.AddressInfo).port,
    alpn: "alknet/test",
    serverName: "node.example",
    expected: { kind: "pinned", fingerprints: [identity.fingerprint] },
    identity: createIdentity(),
    authenticate: () => owners.client.auth,
    signal: AbortSignal.timeout(10_000),
    drain: 500,
  });
  const [raw] = await accepted;
  server.close();
  const outcome = await serveTls(raw, () => ({
    kind: "serve",
    context,
    requestCertificate: true,
    alpn: "alknet/test",
  }));
  assert.ok(outcome.kind === "secure");
  const { socket, alpn, serverName } = outcome;
  const ends: { client: OwnedConnection; server: OwnedConnection } = {
    client: await dialed,
    server: tcpConnection({
      ...owners.server,
      side: "server",
      socket,
      raw,
      alpn,
      serverName,
      drain: 500,
    }),
  };
  return {
    ...ends,
    async [Symbol.asyncDispose]() {
      await Promise.all([ends.client.close(), ends.server.close()]);
    },
  };
}

const options: ConformanceOptions = { name: "tcp", exporter: true, cuts: true, connect };
testConnection(options);

test("tcp: a socket that is closed keeps nobody who listened to it", async () => {
  const stranger = (): ConnectionOwner => ({ auth: authenticate(staticIdentities([]), undefined) });
  await using ends = await connect({ client: stranger(), server: stranger() });
  const streams = [await ends.client.open(), await ends.server.accept()];
  const closed = streams.map((stream) => {
    assert.ok(stream !== undefined);
    stream.on("error", () => {});
    return new Promise<typeof stream>((resolve) => stream.on("close", () => resolve(stream)));
  });
  ends.client.abort(0);
  for (const stream of await Promise.all(closed)) {
    // Late errors concern nobody, and end no process.
    assert.deepEqual(stream.eventNames(), ["error"]);
  }
});
