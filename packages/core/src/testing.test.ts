import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { ownerContext } from "./access.ts";
import { StreamLimit } from "./connection.ts";
import { staticIdentities } from "./static-identities.ts";
import { connectionPair } from "./testing.ts";

const fingerprint = `ed25519:${"a".repeat(64)}`;

test("connectionPair() joins two ends that do not know each other", async () => {
  await using pair = connectionPair();
  assert.equal(pair.server.auth.peer, undefined);
  assert.equal(pair.server.auth.fingerprint, undefined);
  assert.throws(() => pair.server.auth.grant("tunnel:dial", { host: "127.0.0.1", port: 80 }), {
    code: "ACCESS_DENIED",
  });
  const stream = await pair.client.open();
  stream.end("hello");
  const served = await pair.server.accept();
  assert.ok(served !== undefined);
  await Promise.all([
    pipeline(served, served),
    text(stream).then((heard) => assert.equal(heard, "hello")),
  ]);
});

test("connectionPair() takes a key and who knows it, or a context", async () => {
  const peer = {
    peerId: "alice",
    fingerprints: [fingerprint],
    scopes: ["tunnel:*"],
    enabled: true,
  };
  const identities = staticIdentities([peer]);
  await using pair = connectionPair({
    alpn: "alknet/tunnel",
    auth: { server: { identities, fingerprint }, client: ownerContext() },
  });
  assert.equal(pair.server.alpn, "alknet/tunnel");
  assert.equal(pair.server.auth.peer?.id, "alice");
  assert.equal(pair.server.auth.fingerprint, fingerprint);
  assert.equal(pair.client.auth.peer?.id, "owner");
});

test("connectionPair() gives one stream where asked to", async () => {
  await using pair = connectionPair({ multiplexed: false });
  const stream = await pair.client.open();
  await assert.rejects(pair.client.open(), StreamLimit);
  await assert.rejects(pair.server.open(), StreamLimit);
  const served = await pair.server.accept();
  assert.ok(served !== undefined);
  const next = pair.server.accept();
  // To a server that ends without a word, a client says that it was not let in.
  stream.end();
  served.resume();
  served.end();
  assert.equal(await next, undefined);
  await assert.rejects(pair.client.accepted, { code: "UNAVAILABLE" });
  await pair.client.closed;
});
