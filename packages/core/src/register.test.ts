import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { OwnedConnection } from "./connection.ts";
import { FakeClock } from "./fake-clock.ts";
import type { IdentityStore } from "./identity-store.ts";
import { createInvitation, type InvitationOptions } from "./invitation.ts";
import type { Penalty } from "./limit-values.ts";
import { MemoryDatabase } from "./memory-store.ts";
import type { Logger } from "./log.ts";
import { readMessage } from "./read-message.ts";
import { registerHandler, type RegisterOptions, type RegisterRefusal } from "./register.ts";
import { staticIdentities } from "./static-identities.ts";
import { connectionPair } from "./testing.ts";
import { decodeReply, encodeJoinRequest, type Reply } from "./wire/register.ts";

const KEYS = Array.from({ length: 10 }, (_, at) => `ed25519:${`${at}`.repeat(64)}`);
const [A = "", B = ""] = KEYS;

interface World extends AsyncDisposable {
  readonly store: IdentityStore;
  readonly clock: FakeClock;
  readonly refused: RegisterRefusal[];
  readonly penalties: Penalty[];
  readonly lines: string[];
  invite(options?: InvitationOptions): Promise<Uint8Array>;
  /** A client's end, whose other end is being served. */
  connect(fingerprint: string, multiplexed?: boolean): OwnedConnection;
  ask(fingerprint: string, secret: Uint8Array, name?: string): Promise<Reply>;
  /** Have the newest connection drain, as a node that shuts down does. */
  drain(): void;
  /** What came of the handler of the newest connection. */
  served(): Promise<unknown>;
}

async function world(options: Partial<RegisterOptions> = {}): Promise<World> {
  const clock = new FakeClock();
  const store = await new MemoryDatabase().open({ clock });
  const refused: RegisterRefusal[] = [];
  const penalties: Penalty[] = [];
  const lines: string[] = [];
  const log = (fields: object, message: string): void =>
    void lines.push(`${message} ${JSON.stringify(fields)}`);
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  const onrefused = (refusal: RegisterRefusal): void => void refused.push(refusal);
  const handler = registerHandler({ store, clock, logger, onrefused, name: "den", ...options });
  const pairs: AsyncDisposable[] = [];
  let served: Promise<unknown> = Promise.resolve();
  let drain = (): void => {};
  const made: World = {
    store,
    clock,
    refused,
    penalties,
    lines,
    async invite(more) {
      const { invitation, secret } = createInvitation({ clock, ...more });
      await store.addInvitation(invitation);
      return secret;
    },
    connect(fingerprint, multiplexed = true) {
      const server = { identities: store, fingerprint };
      const pair = connectionPair({ multiplexed, clock, auth: { server } });
      pair.server.onpenalty = (penalty) => void penalties.push(penalty);
      pairs.push(pair);
      drain = () => pair.server.drain();
      // As the router does.
      served = handler.handle(pair.server).then(
        () => pair.server.close(),
        (error: unknown) => {
          pair.server.abort(6);
          return error;
        },
      );
      return pair.client;
    },
    async ask(fingerprint, secret, name) {
      const stream = await made.connect(fingerprint).open();
      stream.end(encodeJoinRequest({ secret, name }));
      return await answered(stream);
    },
    drain: () => drain(),
    served: () => served,
    async [Symbol.asyncDispose]() {
      await Promise.all(pairs.map((pair) => pair[Symbol.asyncDispose]()));
      await store.close();
    },
  };
  return made;
}

async function answered(stream: Duplex): Promise<Reply> {
  const reply = await readMessage(stream, decodeReply);
  assert.ok(reply !== undefined, "the stream ended without an answer");
  return reply;
}

function refusalOf(reply: Reply): string {
  return reply.kind === "refused" ? `${reply.refusal}: ${reply.text}` : "joined";
}

for (const multiplexed of [true, false]) {
  test(`registerHandler() lets in who has the secret (multiplexed: ${multiplexed})`, async () => {
    await using it = await world();
    const secret = await it.invite({ scopes: ["ssh:shell", "@dev"] });
    const client = it.connect(A, multiplexed);
    const stream = await client.open();
    const request = encodeJoinRequest({ secret, name: "laptop" });
    // However it comes.
    for (const byte of request) stream.write(Uint8Array.of(byte));
    assert.deepEqual(await answered(stream), {
      kind: "joined",
      before: false,
      peer: "laptop",
      node: "den",
      scopes: ["ssh:shell", "@dev"],
      scopeCount: 2,
    });
    assert.equal(it.store.resolveFingerprint(A)?.id, "laptop");
    stream.end();
    await it.served();
    assert.equal((await client.closed).name, "OK");
    assert.deepEqual(it.penalties, []);
    const [joined] = (await it.store.audit()).filter(({ action }) => action === "peer.join");
    assert.equal(joined?.subject, "laptop");
  });
}

test("registerHandler() tells who has the right secret what is wrong, and everybody else nothing", async () => {
  const configured = staticIdentities([
    { peerId: "Attic", fingerprints: [KEYS[9]!], scopes: [], enabled: true },
    { peerId: "Cellar", fingerprints: [KEYS[8]!], scopes: [], enabled: false },
  ]);
  await using it = await world({ configured });
  const used = await it.invite({ peerId: "laptop" });
  assert.equal(refusalOf(await it.ask(A, used)), "joined");
  assert.deepEqual(await it.ask(A, used), {
    kind: "joined",
    before: true,
    peer: "laptop",
    node: "den",
    scopes: [],
    scopeCount: 0,
  });
  assert.equal(refusalOf(await it.ask(B, used)), "used: the invitation was used, by another key");
  const open = await it.invite();
  for (const name of ["LAPTOP", "attic"]) {
    assert.equal(
      refusalOf(await it.ask(B, open, name)),
      `name-taken: the name "${name}" is another's over there`,
    );
  }
  assert.equal(
    refusalOf(await it.ask(A, open, "phone")),
    'key-known: this key is that of peer "laptop" already',
  );
  assert.equal(
    refusalOf(await it.ask(KEYS[9]!, open, "phone")),
    "key-known: this key is a peer's already",
  );
  assert.equal(
    refusalOf(await it.ask(KEYS[8]!, open, "phone")),
    'key-known: this key is that of peer "Cellar" already',
  );
  const more = await it.invite({ peerId: "laptop", addsKey: true });
  await it.store.removePeer("laptop");
  assert.match(refusalOf(await it.ask(B, more)), /^peer-gone: peer "laptop" is disabled/);
  it.clock.advance(600_000);
  assert.equal(refusalOf(await it.ask(B, open)), "expired: the invitation has expired");
  assert.deepEqual(it.penalties, [], "none of these has guessed");

  const wrong = Uint8Array.from(open, (byte, at) => (at === 0 ? byte ^ 1 : byte));
  assert.equal(refusalOf(await it.ask(B, wrong)), "invalid: not a valid invitation");
  assert.deepEqual(it.penalties, ["auth"]);
  // One that was taken back is none.
  const { invitation, secret } = createInvitation({ clock: it.clock });
  await it.store.addInvitation(invitation);
  await it.store.removeInvitation(invitation.id);
  assert.equal(refusalOf(await it.ask(B, secret)), "invalid: not a valid invitation");
  assert.deepEqual(it.penalties, ["auth", "auth"]);
  assert.deepEqual(
    it.refused.map(({ reason }) => reason),
    [
      "invitation used",
      "name taken",
      "name taken",
      "key known",
      "key known",
      "key known",
      "peer gone",
      "invitation expired",
      "not a valid invitation",
      "not a valid invitation",
    ],
  );
  assert.equal(it.store.resolveFingerprint(B), undefined);
});

test("registerHandler() takes one attempt per connection, and what is malformed is charged", async () => {
  await using it = await world();
  const secret = await it.invite();
  const client = it.connect(A);
  const [first, second] = [await client.open(), await client.open()];
  second.on("error", () => {});
  first.write(encodeJoinRequest({ secret: new Uint8Array(16), name: undefined }));
  second.write(encodeJoinRequest({ secret, name: undefined }));
  assert.match(refusalOf(await answered(first)), /^invalid/);
  await it.served();
  await client.closed;
  assert.equal(it.store.resolveFingerprint(A), undefined);
  assert.deepEqual(it.penalties, ["auth"]);

  for (const bytes of [
    [1, 0xff, 0xff],
    [1, 0, 3, 1, 2, 3],
    [1, 0, 18, ...secret, 0x20, 0x20],
  ]) {
    const stream = await it.connect(B).open();
    stream.on("error", () => {});
    stream.end(Uint8Array.from(bytes));
    assert.equal(((await it.served()) as { code?: string }).code, "PROTOCOL");
  }
  assert.deepEqual(it.penalties, ["auth", "malformed", "malformed", "malformed"]);
  const newer = await it.connect(B).open();
  newer.end(Uint8Array.of(7, 0, 1, 0));
  assert.match(refusalOf(await answered(newer)), /^unsupported/);
  assert.equal(it.penalties.length, 4);
});

test("registerHandler() charges also who leaves before the answer", async () => {
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  await using it = await world({
    store: {
      async redeem() {
        asked.resolve();
        await gate.promise;
        return { outcome: "unknown" };
      },
    },
  });
  const client = it.connect(A);
  const stream = await client.open();
  stream.on("error", () => {});
  stream.write(encodeJoinRequest({ secret: new Uint8Array(16), name: undefined }));
  await asked.promise;
  client.abort(0);
  await client.closed;
  gate.resolve();
  await it.served();
  assert.deepEqual(it.penalties, ["auth"]);
});

test("registerHandler() lets go of who sends nothing, too little, or is late when we shut down", async () => {
  await using it = await world();
  for (const begin of [undefined, Uint8Array.of(1, 0)]) {
    const client = it.connect(A);
    if (begin !== undefined) {
      const stream = await client.open();
      stream.on("error", () => {});
      stream.write(begin);
    }
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    it.clock.advance(9_999);
    assert.equal(it.clock.pending > 0, true);
    it.clock.advance(1);
    assert.equal(((await it.served()) as { code?: string }).code, "IDLE");
  }
  const slow = await it.connect(A).open();
  slow.on("error", () => {});
  slow.write(Uint8Array.of(1));
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  it.drain();
  assert.equal(((await it.served()) as { code?: string }).code, "DRAINING");
  it.connect(A);
  it.drain();
  assert.equal(((await it.served()) as { code?: string } | undefined)?.code, "DRAINING");
  const ended = await it.connect(A).open();
  ended.end(Uint8Array.of(1));
  assert.equal(await it.served(), undefined);
  assert.deepEqual(it.penalties, []);
});

test("registerHandler() bounds what waits for the store, and says when the store is at fault", async () => {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  await using it = await world({
    store: {
      async redeem() {
        waiting++;
        await gate.promise;
        throw new Error("disk full at /var/lib/alknet.db");
      },
    },
  });
  const secret = new Uint8Array(16);
  const replies = Array.from({ length: 257 }, () => it.ask(A, secret));
  assert.match(refusalOf(await Promise.race(replies)), /^limit: /);
  assert.equal(waiting, 256);
  gate.resolve();
  const all = (await Promise.all(replies)).map(refusalOf);
  assert.equal(all.filter((text) => text.startsWith("limit")).length, 1);
  const failed = all.filter((text) => text.startsWith("failed"));
  assert.equal(failed.length, 256);
  for (const text of failed) assert.doesNotMatch(text, /disk|alknet\.db/);
  assert.ok(it.lines.some((line) => line.startsWith("cannot let a key join")));
  assert.deepEqual(it.penalties, [], "a fault of ours is nobody's guess");
});

test("the secret is in no log line, no audit and no row", async () => {
  await using it = await world();
  const secret = await it.invite({ peerId: "laptop" });
  await it.ask(A, secret);
  await it.ask(B, secret);
  const told = JSON.stringify([
    it.lines,
    it.refused,
    await it.store.audit(),
    await it.store.invitations(),
  ]);
  const { length } = it.lines;
  assert.ok(length >= 2);
  for (const form of ["hex", "base64", "base64url"] as const) {
    assert.ok(!told.includes(Buffer.from(secret).toString(form)));
  }
  assert.ok(!told.includes([...secret].join()));
});

test("createInvitation() makes what a store takes, for as long as is said", async () => {
  const clock = new FakeClock();
  const { invitation, secret } = createInvitation({ clock, lifetime: 1_500 });
  assert.match(invitation.id, /^[a-z2-7]{8}$/);
  assert.equal(secret.length, 16);
  assert.equal(invitation.expiresAt, clock.wallTime() + 1_000);
  const other = createInvitation({ clock });
  assert.notDeepEqual(other.secret, secret);
  assert.notEqual(other.invitation.id, invitation.id);
  assert.equal(other.invitation.expiresAt, clock.wallTime() + 600_000);
  for (const lifetime of [999, 31 * 86_400_000, Number.NaN]) {
    assert.throws(() => createInvitation({ lifetime }), RangeError);
  }
});
