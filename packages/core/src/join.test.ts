import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "@alknet/quic/endpoint";
import type { Connection } from "./connection.ts";
import { createDialer, type Dialer } from "./dialer.ts";
import { createEndpoint, type Endpoint, type EndpointEvent } from "./endpoint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { createIdentity, type NodeIdentity } from "./identity-file.ts";
import type { IdentityStore } from "./identity-store.ts";
import { createInvitation, type InvitationOptions } from "./invitation.ts";
import { formatInvitation, parseInvitation } from "./invitation-ticket.ts";
import { join, type Joined, type JoinOptions } from "./join.ts";
import type { LimitsOptions } from "./limits.ts";
import { MemoryDatabase } from "./memory-store.ts";
import type { PeerEntry } from "./peers.ts";
import { ping, pingHandler } from "./ping.ts";
import { resetCodeOf } from "./quic-connection.ts";
import { REGISTER_ALPN, registerHandler } from "./register.ts";
import { StoreError } from "./store-error.ts";
import { formatTicket } from "./ticket.ts";
import { decodeRequest } from "./wire/register.ts";
import { readMessage } from "./read-message.ts";

const TRANSPORTS = ["quic", "tcp"] as const;

const den = createIdentity();
const laptop = createIdentity();
const phone = createIdentity();

interface World extends AsyncDisposable {
  /** Of the node. */
  readonly store: IdentityStore;
  readonly endpoint: Endpoint;
  readonly address: string;
  readonly events: EndpointEvent[];
  /** The text of an invitation. */
  invite(options?: InvitationOptions): Promise<string>;
  /** As `identity`, with a store of its own that it keeps. */
  join(identity: NodeIdentity, text: string, options?: Partial<JoinOptions>): Promise<Joined>;
  storeOf(identity: NodeIdentity): Promise<IdentityStore>;
  readonly dialer: Dialer;
}

/** A node on loopback that can be joined, and dialers to it. */
async function world(
  options: {
    limits?: LimitsOptions;
    identity?: NodeIdentity;
    handler?: ProtocolHandler;
  } = {},
): Promise<World> {
  const { limits = { exempt: ["127.0.0.0/8"] }, identity = den } = options;
  const store = await new MemoryDatabase().open();
  const events: EndpointEvent[] = [];
  const handler = options.handler ?? registerHandler({ store, name: "den" });
  const endpoint = await createEndpoint({
    identity,
    identities: store,
    handlers: [pingHandler(), handler],
    listen: ["127.0.0.1:0"],
    limits,
    drain: 500,
    onevent: (event) => void events.push(event),
  });
  const stores = new Map<NodeIdentity, Promise<IdentityStore>>();
  const storeOf = (of: NodeIdentity): Promise<IdentityStore> => {
    const known = stores.get(of) ?? new MemoryDatabase().open();
    stores.set(of, known);
    return known;
  };
  const dialer = createDialer({
    identities: await storeOf(laptop),
    bind: () => bind({ address: "127.0.0.1", resetCodeOf }),
    drain: 500,
  });
  const address = `127.0.0.1:${endpoint.addresses[0]!.port}`;
  return {
    store,
    endpoint,
    address,
    events,
    dialer,
    storeOf,
    async invite(more) {
      const { invitation, secret } = createInvitation(more);
      await store.addInvitation(invitation);
      const { expiresAt } = invitation;
      const { fingerprint } = den;
      return formatInvitation({
        fingerprint,
        addresses: [address],
        name: "den",
        expiresAt,
        secret,
      });
    },
    async join(as, text, more) {
      return await join(text, {
        dialer: dialingAs(dialer, as),
        store: await storeOf(as),
        fingerprint: as.fingerprint,
        ...more,
      });
    },
    async [Symbol.asyncDispose]() {
      await dialer.close();
      await endpoint.close();
      for (const each of [store, ...(await Promise.all(stores.values()))]) await each.close();
    },
  };
}

function dialingAs(dialer: Dialer, identity: NodeIdentity): Pick<Dialer, "dial"> {
  return { dial: (target, alpn, options) => dialer.dial(target, alpn, { ...options, identity }) };
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? String(error);
}

for (const transport of TRANSPORTS) {
  test(`${transport}: join() makes each known to the other, and the right granted can be used`, async () => {
    await using it = await world();
    const text = await it.invite({ peerId: "laptop", scopes: ["ssh:shell"] });
    const joined = await it.join(laptop, text, { transports: [transport], name: "ignored" });
    const { committed, ...shown } = joined;
    assert.ok(committed !== undefined);
    assert.deepEqual(shown, {
      before: false,
      node: "den",
      fingerprint: den.fingerprint,
      addresses: [it.address],
      peer: "laptop",
      scopes: ["ssh:shell"],
      scopeCount: 1,
      transport,
    });
    assert.deepEqual(it.store.resolveFingerprint(laptop.fingerprint)?.scopes, ["ssh:shell"]);
    const here = (await it.storeOf(laptop)).peer("den");
    assert.deepEqual(here?.fingerprints, [den.fingerprint]);
    assert.deepEqual(here?.addresses, [it.address]);
    assert.deepEqual(here?.scopes, [], "nothing is granted back");
    // By its name, from now on.
    const options = { identity: laptop, transports: [transport] };
    await using connection = await it.dialer.dial("den", "alknet/ping", options);
    for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  });

  test(`${transport}: join() says what is wrong with an invitation, and nothing of a wrong one`, async () => {
    await using it = await world();
    const one = { transports: [transport] };
    const fails = async (
      identity: NodeIdentity,
      text: string,
      code: string,
      options: Partial<JoinOptions> = {},
    ): Promise<void> => {
      await assert.rejects(
        it.join(identity, text, { ...one, ...options }),
        (error: Error & { code: string; hint?: string }) => {
          assert.equal(error.code, code, String(error));
          assert.match(error.hint ?? "", /alknet|command/, "it says what to do");
          return true;
        },
      );
      assert.equal(it.store.resolveFingerprint(identity.fingerprint), undefined);
    };
    const used = await it.invite({ peerId: "laptop" });
    await it.join(laptop, used, one);
    await fails(phone, used, "INVITATION_USED");
    const open = await it.invite();
    await fails(phone, open, "NAME_TAKEN", { name: "laptop" });
    const { invitation, secret } = createInvitation({ lifetime: 1_000 });
    const createdAt = Date.now() - 10_000;
    await it.store.addInvitation({ ...invitation, createdAt, expiresAt: createdAt + 1_000 });
    const parsed = parseInvitation(used);
    const expired = formatInvitation({ ...parsed, expiresAt: createdAt, secret });
    await fails(phone, expired, "INVITATION_EXPIRED");
    // Whole, and of somebody else's making.
    const guess = formatInvitation({ ...parsed, secret: new Uint8Array(16) });
    await fails(phone, guess, "INVITATION_UNKNOWN");
    await fails(
      phone,
      `${open.slice(0, -1)}${open.endsWith("a") ? "b" : "a"}`,
      "INVITATION_INVALID",
    );
    await fails(phone, formatTicket(parsed), "INVITATION_INVALID");
    assert.deepEqual((await it.storeOf(phone)).peers, []);
    // Still as good as before.
    assert.equal((await it.join(phone, open, { ...one, name: "phone" })).peer, "phone");
  });

  test(`${transport}: a node with another key gets nothing, wherever it answers`, async () => {
    const heard: unknown[] = [];
    const handler: ProtocolHandler = {
      alpns: [REGISTER_ALPN],
      access: "keyed",
      tls: "node",
      async handle(connection: Connection) {
        const stream = await connection.accept();
        if (stream !== undefined) heard.push(await readMessage(stream, decodeRequest));
      },
    };
    await using wrong = await world({ identity: createIdentity(), handler });
    const text = await wrong.invite({ scopes: ["*"] });
    await assert.rejects(wrong.join(laptop, text, { transports: [transport] }), {
      code: "PEER_KEY_MISMATCH",
    });
    await wrong.endpoint.close();
    assert.deepEqual(
      heard.filter((it) => it !== undefined),
      [],
    );
    assert.deepEqual((await wrong.storeOf(laptop)).peers, []);
  });
}

test("of 100 joins at once, half over QUIC and half over TCP, exactly one wins", async () => {
  await using it = await world();
  const text = await it.invite({ peerId: "laptop", scopes: ["git:read"] });
  const joiners = Array.from({ length: 100 }, () => createIdentity());
  const outcomes = await Promise.all(
    joiners.map((identity, at) =>
      it.join(identity, text, { transports: [TRANSPORTS[at % 2]!] }).then(
        ({ peer }) => peer,
        (error: unknown) => codeOf(error),
      ),
    ),
  );
  const winners = joiners.filter((_, at) => outcomes[at] === "laptop");
  assert.equal(winners.length, 1, JSON.stringify(outcomes));
  assert.equal(outcomes.filter((it) => it === "INVITATION_USED").length, 99);
  assert.deepEqual(it.store.peer("laptop")?.fingerprints, [winners[0]!.fingerprint]);
  assert.equal(it.store.peers.length, 1);
  const joined = (await it.store.audit()).filter(({ action }) => action === "peer.join");
  assert.equal(joined.length, 1);
  // Each of the others has no peer of it either.
  for (const identity of joiners) {
    const peers = (await it.storeOf(identity)).peers.length;
    assert.equal(peers, identity === winners[0] ? 1 : 0);
  }
});

for (const transport of TRANSPORTS) {
  test(`${transport}: guessing shuts its source out`, async () => {
    await using it = await world({ limits: {} });
    const parsed = parseInvitation(await it.invite());
    const one = { transports: [transport] };
    const guess = (number: number, signal?: AbortSignal): Promise<Joined> => {
      const secret = new Uint8Array(16).fill(number);
      return it.join(phone, formatInvitation({ ...parsed, secret }), { ...one, signal });
    };
    // 5 s each, 15 s to take effect: with the time that passes in between that is the fourth.
    let guesses = 0;
    while (it.endpoint.limits.penalty("127.0.0.1") === 0) {
      guesses++;
      assert.ok(guesses <= 5, "nobody keeps it from guessing");
      await assert.rejects(guess(guesses), { code: "INVITATION_UNKNOWN" });
    }
    assert.ok(guesses >= 3);
    // From then on nobody hears it. (QUIC is silent: that would take the whole dial.)
    const stop = new AbortController();
    const unheard = assert.rejects(guess(9, stop.signal), (error) => {
      return codeOf(error) !== "INVITATION_UNKNOWN";
    });
    while (!it.events.some(({ kind }) => kind === "turned away")) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    stop.abort(new Error("enough"));
    await unheard;
  });
}

test("whoever lost the answer may ask again, and is told the same", async () => {
  await using it = await world();
  const text = await it.invite({ peerId: "laptop", scopes: ["git:read"] });
  // The node does its part, and nobody hears of it.
  const full: Pick<IdentityStore, "peers" | "changePeer"> = {
    peers: [],
    changePeer: () => Promise.reject(new StoreError("STORE_FULL", "no room on the disk")),
  };
  await assert.rejects(
    it.join(laptop, text, { store: full }),
    (error: Error & { hint: string }) => {
      assert.equal(codeOf(error), "JOINED_NOT_SAVED");
      assert.match(error.message, /has let this machine in.*no room on the disk/);
      assert.match(error.hint, /run the same command again/);
      return true;
    },
  );
  assert.equal(it.store.resolveFingerprint(laptop.fingerprint)?.id, "laptop");
  const again = await it.join(laptop, text);
  assert.equal(again.before, true);
  assert.deepEqual(again.scopes, ["git:read"]);
  assert.deepEqual((await it.storeOf(laptop)).peer("den")?.addresses, [it.address]);
  await it.join(laptop, text);
  assert.equal((await it.storeOf(laptop)).peers.length, 1);
});

test("join() says what stands against it here before anything is sent", async () => {
  await using it = await world();
  const text = await it.invite();
  const peer = (peerId: string, key: NodeIdentity, more: Partial<PeerEntry> = {}): PeerEntry => ({
    peerId,
    fingerprints: [key.fingerprint],
    scopes: [],
    enabled: true,
    ...more,
  });
  const store = await it.storeOf(laptop);
  const fails = async (code: string, options: Partial<JoinOptions> = {}): Promise<void> => {
    await assert.rejects(it.join(laptop, text, options), (error) => codeOf(error) === code);
    assert.deepEqual(it.events, []);
  };
  await fails("LOCAL_NAME_TAKEN", { configured: [peer("DEN", phone)] });
  await fails("NAME_INVALID", { as: "owner" });
  await fails("NAME_INVALID", { as: "a b" });
  await fails("OWN_INVITATION", { fingerprint: den.fingerprint });
  await store.putPeer(peer("den", phone));
  await fails("LOCAL_NAME_TAKEN");
  await store.putPeer(peer("attic", den, { enabled: false }));
  await fails("PEER_DISABLED");
  await store.putPeer(peer("attic", den, { scopes: ["git:read"], addresses: ["old.example:1"] }));
  await fails("LOCAL_NAME_TAKEN", { as: "other" });
  // A node that is known keeps its name, its rights and its addresses.
  const joined = await it.join(laptop, text, { name: "laptop" });
  assert.deepEqual([joined.node, joined.peer], ["attic", "laptop"]);
  assert.deepEqual(store.peer("attic")?.scopes, ["git:read"]);
  assert.deepEqual(store.peer("attic")?.addresses, [it.address, "old.example:1"]);
});

test("join() leaves a node that the configuration names to the configuration", async () => {
  await using it = await world();
  const text = await it.invite();
  const { fingerprint } = den;
  const configured = [{ peerId: "attic", fingerprints: [fingerprint], scopes: [], enabled: true }];
  const joined = await it.join(laptop, text, { configured });
  assert.equal(joined.node, "attic");
  assert.equal(joined.committed, undefined);
  assert.deepEqual((await it.storeOf(laptop)).peers, []);
});

test("join() says when a node lets nobody join, and heeds its signal", async () => {
  const silent: ProtocolHandler = {
    alpns: [REGISTER_ALPN],
    access: "keyed",
    tls: "node",
    handle: async (connection) => void (await connection.closed),
  };
  const none: ProtocolHandler = { ...silent, alpns: ["alknet/other"] };
  await using without = await world({ handler: none });
  for (const transport of TRANSPORTS) {
    const text = await without.invite();
    await assert.rejects(without.join(laptop, text, { transports: [transport] }), {
      code: "JOIN_UNAVAILABLE",
    });
  }
  await using it = await world({ handler: silent });
  for (const transport of TRANSPORTS) {
    const stop = new AbortController();
    const reason = new Error("enough");
    const opened = it.events.length;
    const joining = it.join(laptop, await it.invite(), {
      transports: [transport],
      signal: stop.signal,
    });
    const stopped = assert.rejects(joining, reason);
    while (it.events.length === opened) await new Promise((resolve) => setImmediate(resolve));
    stop.abort(reason);
    await stopped;
  }
});
