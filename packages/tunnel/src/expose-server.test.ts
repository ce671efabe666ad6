import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { ownerContext } from "@alknet/core/access";
import { type Auth, connectionPair } from "@alknet/core/testing";
import { exposeServer, type ExposeStream } from "./expose-server.ts";
import { framed } from "./framed.ts";
import { readHead } from "./read-head.ts";
import { readAll, testPeer } from "./testing.ts";
import { decodeAnnouncement } from "./wire/announcement.ts";
import { decodeReply } from "./wire/open.ts";
import { decodeListening } from "./wire/opened.ts";

/** A connection with one stream, and both ends of that. */
async function single(server: Auth): Promise<{
  readonly client: ExposeStream;
  readonly server: ExposeStream;
}> {
  const pair = connectionPair({ multiplexed: false, auth: { server } });
  const stream = await pair.client.open();
  const served = await pair.server.accept();
  for (const end of [stream, served!]) end.on("error", () => {});
  return {
    client: { connection: pair.client, stream },
    server: { connection: pair.server, stream: served! },
  };
}

test("a connection is claimed once, by its own token, and by nobody but the peer it is for", async () => {
  const server = exposeServer();
  const ours = await single(ownerContext());
  const request = { kind: "listen-tcp", host: "127.0.0.1", port: 0 } as const;
  const listening = server.listen(ours.server, request);
  const { value: reply } = await readHead(ours.client.stream, decodeReply);
  assert.ok(reply.kind === "open");
  const { place } = decodeListening("listen-tcp", reply.body);
  assert.ok("port" in place);

  const socket = connect({ ...place, allowHalfOpen: true });
  const control = framed(ours.client.stream);
  const [bytes] = (await once(control, "data")) as [Buffer];
  const { token, origin } = decodeAnnouncement(bytes)!.value;
  assert.deepEqual(origin, { address: "127.0.0.1", port: socket.localPort });

  const refused = { refusal: "refused", message: "no connection waits there for this claim" };
  const claim = async (auth: Auth, by: Uint8Array) => {
    const asking = await single(auth);
    return { asking, done: server.claim(asking.server, { kind: "claim", token: by }) };
  };
  const identities = { identities: testPeer("tunnel:*").identities };
  const fingerprint = `ed25519:${"a".repeat(64)}`;
  await assert.rejects((await claim({ ...identities, fingerprint }, token)).done, refused);
  const guess = Buffer.from(token);
  guess[15]! ^= 1;
  await assert.rejects((await claim(ownerContext(), guess)).done, refused);

  const { asking, done } = await claim(ownerContext(), token);
  const { stream } = asking.client;
  assert.equal((await readHead(stream, decodeReply)).value.kind, "open");
  const flow = framed(stream);
  flow.end("for you alone");
  assert.equal(String(await readAll(socket)), "for you alone");
  socket.end("thanks");
  assert.equal(String(await readAll(flow)), "thanks");
  await done;
  await assert.rejects((await claim(ownerContext(), token)).done, refused);
  control.end();
  await listening;
});
