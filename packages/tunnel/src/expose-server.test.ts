import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { ownerContext } from "@alknet/core/access";
import { type Auth, connectionPair, FakeClock } from "@alknet/core/testing";
import { type ExposeServer, exposeServer, type ExposeStream } from "./expose-server.ts";
import { framed } from "./framed.ts";
import { inbound } from "./inbound.ts";
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

/** The owner has `server` listen, over a connection of one stream. */
async function listen(server: ExposeServer) {
  const ours = await single(ownerContext());
  const request = { kind: "listen-tcp", host: "127.0.0.1", port: 0 } as const;
  const listening = server.listen(ours.server, request);
  const { value: reply } = await readHead(ours.client.stream, decodeReply);
  assert.ok(reply.kind === "open");
  const { place } = decodeListening("listen-tcp", reply.body);
  assert.ok("port" in place);
  return { ours, listening, place };
}

test("a connection is claimed once, by its own token, and by nobody but the peer it is for", async () => {
  const server = exposeServer();
  const { ours, listening, place } = await listen(server);

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

test("a peer that reads no announcements has no more of them wait than it could claim", async () => {
  const clock = new FakeClock();
  const server = exposeServer({ clock });
  const { ours, listening, place } = await listen(server);
  for (let round = 0; round < 16; round++) {
    const closed = Array.from({ length: 257 }, () => {
      const socket = connect(place).on("error", () => {});
      return new Promise((resolve) => void socket.once("close", resolve));
    });
    // The last is one too many: all before it have been taken.
    await closed.at(-1);
    clock.advance(10_000);
    await Promise.all(closed);
  }
  const { writableLength } = ours.server.stream;
  assert.ok(writableLength < 20_000, `${writableLength} bytes wait`);
  ours.client.stream.destroy();
  await listening;
});

test("a peer that goes while its listener is being opened leaves none behind", async () => {
  const into = inbound();
  const server = exposeServer({ inbound: into });
  const ours = await single(ownerContext());
  const request = { kind: "listen-tcp", host: "127.0.0.1", port: 0 } as const;
  const listening = server.listen(ours.server, request);
  ours.server.stream.destroy();
  await once(ours.server.stream, "close");
  await listening.catch(() => {});
  assert.equal(into.listeners, 0);
});
