import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "@alknet/quic/endpoint";
import { TlsServerConfig } from "@alknet/quic/tls";
import {
  type ConformanceOptions,
  type Ends,
  testConnection,
  testMultiplexed,
} from "./connection-conformance.ts";
import { authenticate } from "./access.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { createIdentity } from "./identity-file.ts";
import { quicConnection, resetCodeOf } from "./quic-connection.ts";
import { dialQuic } from "./quic-dial.ts";
import { staticIdentities } from "./static-identities.ts";

const identity = createIdentity();
const client = createIdentity();
const tls = new TlsServerConfig({
  certificates: [identity.certificate],
  privateKey: identity.privateKeyDer,
  clientCertificate: "request",
});

async function connect(owners: {
  client: ConnectionOwner;
  server: ConnectionOwner;
}): Promise<Ends> {
  const far = bind({
    address: "127.0.0.1",
    resetCodeOf,
    // As many as a stranger may have.
    transport: { maxStreams: 16 },
    server: { configure: () => ({ tls, alpn: "alknet/test" }) },
  });
  const near = bind({ address: "127.0.0.1", resetCodeOf });
  const [dialed, accepted] = await Promise.all([
    dialQuic({
      endpoint: near,
      address: "127.0.0.1",
      port: far.address.port,
      alpn: "alknet/test",
      serverName: "node.example",
      expected: { kind: "pinned", fingerprints: [identity.fingerprint] },
      identity: client,
      authenticate: () => owners.client.auth,
      signal: AbortSignal.timeout(10_000),
      drain: 500,
    }),
    far.accept(),
  ]);
  assert.ok(accepted !== undefined);
  const ends = {
    client: dialed,
    server: quicConnection({
      ...owners.server,
      side: "server",
      connection: accepted,
      serverName: accepted.serverName,
      drain: 500,
    }),
  };
  return {
    ...ends,
    async [Symbol.asyncDispose]() {
      await Promise.all([ends.client.close(), ends.server.close()]);
      await Promise.all([near.close(), far.close()]);
    },
  };
}

const options: ConformanceOptions = { name: "quic", exporter: true, cuts: true, connect };
testConnection(options);
testMultiplexed(options);

test("who was dialed may open more streams than a stranger, also if it has no name here", async () => {
  using auths = new DisposableStack();
  const nobody = (): ConnectionOwner => ({
    auth: auths.use(authenticate(staticIdentities([]), undefined)),
  });
  await using ends = await connect({ client: nobody(), server: nobody() });
  (await ends.client.open()).write("hello");
  const opened = await Promise.all(Array.from({ length: 32 }, () => ends.server.open()));
  for (const stream of opened) stream.write("x");
  for (let count = 0; count < opened.length; count++) {
    assert.notEqual(await ends.client.accept(), undefined);
  }
});
