/**
 * What every `Connection` does, whatever carries it: a suite that each implementation runs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { authenticate, type Credential, type OwnedAuthContext } from "./access.ts";
import { CloseCode } from "./close-code.ts";
import { ConnectionClosed, type OwnedConnection, StreamReset } from "./connection.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import type { PeerEntry } from "./peers.ts";
import { staticIdentities, type StaticIdentities } from "./static-identities.ts";

export interface Ends extends AsyncDisposable {
  readonly client: OwnedConnection;
  readonly server: OwnedConnection;
}

export interface ConformanceOptions {
  /** Begins the name of each test. */
  readonly name: string;
  /** Connects two ends for `alknet/test`; the server takes the client for `client`. */
  connect(owners: { client: ConnectionOwner; server: ConnectionOwner }): Promise<Ends>;
  /** Whether both ends can export the same keying material. */
  readonly exporter: boolean;
  /** Whether an abort reaches the other end as something else than a clean end. */
  readonly cuts: boolean;
}

const KEY = `ed25519:${"1".repeat(64)}`;
const OTHER_KEY = `ed25519:${"2".repeat(64)}`;
const alice: PeerEntry = { peerId: "alice", fingerprints: [KEY], scopes: [], enabled: true };
const bob: PeerEntry = { peerId: "bob", fingerprints: [OTHER_KEY], scopes: [], enabled: true };

/** Register the tests of one implementation. */
export function testConnection(options: ConformanceOptions): void {
  const { name } = options;

  async function connect(
    identities: StaticIdentities = staticIdentities([alice]),
  ): Promise<Ends & { identities: StaticIdentities }> {
    const credential: Credential = { kind: "fingerprint", fingerprint: KEY };
    const ends = await options.connect({
      client: { auth: authenticate(identities, undefined) },
      server: { auth: authenticate(identities, credential), identities },
    });
    return Object.assign(ends, { identities });
  }

  /** A stream, from both of its ends; the client has sent one byte, and the server has taken it. */
  async function joined({ client, server }: Ends): Promise<[Duplex, Duplex]> {
    const near = await client.open();
    near.write("!");
    const far = await server.accept();
    assert.ok(far !== undefined);
    assert.equal(String(await readSome(far)), "!");
    return [near, far];
  }

  test(`${name}: each direction of a stream ends by itself`, async () => {
    await using ends = await connect();
    const near = await ends.client.open();
    near.end("question");
    const far = await ends.server.accept();
    assert.ok(far !== undefined);
    assert.equal(await readText(far), "question");
    far.end("answer");
    assert.equal(await readText(near), "answer");
  });

  test(`${name}: what is sent arrives as it was, in both directions at once`, async () => {
    await using ends = await connect();
    const [near, far] = await joined(ends);
    const sent = randomBytes(3_000_000);
    const echoed = pipeline(far, far);
    near.end(sent);
    assert.ok((await readAll(near)).equals(sent));
    await echoed;
  });

  test(`${name}: a reader that does not read stops the writer`, async () => {
    await using ends = await connect();
    const [near, far] = await joined(ends);
    const chunk = Buffer.alloc(2 ** 20);
    let taken = 0;
    // Every mebibyte has its turn; when one is not taken for many turns of the loop, it waits.
    const blocked = async (): Promise<boolean> => {
      const before = taken;
      for (let turn = 0; turn < 300 && taken === before; turn++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      return taken === before;
    };
    const writeOne = (): void => {
      near.write(chunk, (error) => {
        if (error === null || error === undefined) taken++;
      });
    };
    let written = 0;
    do {
      writeOne();
      written++;
      assert.ok(written < 128, "128 MiB were taken from a writer, and nobody read them");
    } while (!(await blocked()));
    near.end();
    let read = 0;
    for await (const part of far as AsyncIterable<Buffer>) read += part.length;
    assert.equal(read, written * chunk.length);
  });

  test(`${name}: close() loses no bytes, and both ends learn that it was closed`, async () => {
    await using ends = await connect();
    const near = await ends.client.open();
    const sent = randomBytes(2 ** 20);
    near.write(sent);
    const closing = ends.client.close();
    const far = await ends.server.accept();
    assert.ok(far !== undefined);
    assert.ok((await readAll(far)).equals(sent));
    far.end();
    await closing;
    assert.deepEqual(await ends.client.closed, {
      by: "local",
      code: CloseCode.OK,
      name: "OK",
      reason: "",
    });
    const { by, name: reason } = await ends.server.closed;
    assert.deepEqual({ by, reason }, { by: "peer", reason: "OK" });
    assert.equal(await ends.server.accept(), undefined);
    assert.equal(ends.client.close(), ends.client.close());
    await assert.rejects(ends.client.open(), ConnectionClosed);
  });

  test(`${name}: abort() ends both ends now`, async () => {
    await using ends = await connect();
    const [near, far] = await joined(ends);
    const pending = assert.rejects(readAll(near), { code: "INTERNAL" });
    ends.client.abort(CloseCode.INTERNAL, "a fault");
    await pending;
    assert.deepEqual(await ends.client.closed, {
      by: "local",
      code: CloseCode.INTERNAL,
      name: "INTERNAL",
      reason: "a fault",
    });
    if (options.cuts) await assert.rejects(readAll(far), ConnectionClosed);
    else far.destroy();
    const { by, code, name: reason } = await ends.server.closed;
    if (ends.server.multiplexed) {
      assert.deepEqual({ by, code, reason }, { by: "peer", code: 6, reason: "INTERNAL" });
    } else if (options.cuts) {
      assert.deepEqual({ by, code, reason }, { by: "transport", code: undefined, reason: "CUT" });
    }
  });

  test(`${name}: a stream that is destroyed with an error fails at the other end`, async () => {
    await using ends = await connect();
    const [near, far] = await joined(ends);
    near.destroy(Object.assign(new Error("broken"), { code: "PROTOCOL" }));
    if (!ends.server.multiplexed) {
      if (options.cuts) await assert.rejects(readAll(far), { code: "CUT" });
      assert.deepEqual(await ends.client.closed, {
        by: "local",
        code: CloseCode.PROTOCOL,
        name: "PROTOCOL",
        reason: "broken",
      });
      return;
    }
    await assert.rejects(readAll(far), { code: "STREAM_RESET", resetCode: CloseCode.PROTOCOL });
    assert.equal(ends.client.draining.aborted, false);
    // The connection stands.
    const [again] = await joined(ends);
    again.end();
  });

  test(`${name}: a stream that fails while nobody listens harms nothing else`, async () => {
    await using ends = await connect();
    const [, far] = await joined(ends);
    ends.client.abort(CloseCode.INTERNAL);
    // Data is wanted, so that the end is noticed on every transport; errors are not.
    far.resume();
    // What looks like an end in order is only half of it.
    if (!options.cuts) far.end();
    await ends.server.closed;
  });

  test(`${name}: drain() lets streams finish, and accept() gives no more`, async () => {
    await using ends = await connect();
    const [near, far] = await joined(ends);
    const waiting = ends.server.accept();
    ends.server.drain();
    assert.equal(ends.server.draining.aborted, true);
    assert.equal(await waiting, undefined);
    assert.equal(await ends.server.accept(), undefined);
    far.end("last words");
    assert.equal(await readText(near), "last words");
  });

  test(`${name}: accept() and open() heed their signal`, async () => {
    await using ends = await connect();
    const reason = new Error("enough");
    const stop = new AbortController();
    await joined(ends);
    const waiting = assert.rejects(ends.server.accept({ signal: stop.signal }), reason);
    stop.abort(reason);
    await waiting;
    await assert.rejects(ends.server.accept({ signal: stop.signal }), reason);
    await assert.rejects(ends.client.open({ signal: stop.signal }), reason);
  });

  test(`${name}: accepted resolves when the peer has spoken`, async () => {
    await using ends = await connect();
    await ends.server.accepted;
    const [near, far] = await joined(ends);
    let accepted = false;
    const seen = ends.client.accepted.then(() => (accepted = true));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(accepted, false);
    far.write("welcome");
    await seen;
    assert.equal(String(await readSome(near)), "welcome");
  });

  test(`${name}: a connection that is refused says so as UNAVAILABLE, and reads fail with it`, async () => {
    await using ends = await connect();
    const near = await ends.client.open();
    near.write("let me in");
    const read = assert.rejects(readAll(near), { code: "UNAVAILABLE" });
    const accepted = assert.rejects(ends.client.accepted, { code: "UNAVAILABLE" });
    ends.server.refuse(CloseCode.UNAVAILABLE);
    await Promise.all([read, accepted]);
    const { by, code } = await ends.client.closed;
    assert.deepEqual({ by, code }, { by: "peer", code: CloseCode.UNAVAILABLE });
    assert.equal((await ends.server.closed).name, "UNAVAILABLE");
  });

  test(`${name}: a key that is taken back ends the connection`, async () => {
    await using ends = await connect(staticIdentities([alice, bob]));
    const { server, identities } = ends;
    assert.equal(server.auth.peer?.id, "alice");
    const [near] = await joined(ends);
    near.on("error", () => {}).resume();
    identities.replace([bob]);
    const { by, name: reason } = await server.closed;
    assert.deepEqual({ by, reason }, { by: "local", reason: "REVOKED" });
    await ends.client.closed;
  });

  test(`${name}: authenticate() binds a further identity, whose end is the connection's`, async () => {
    await using ends = await connect(staticIdentities([alice, bob]));
    const { server, identities } = ends;
    const further = server.authenticate({ kind: "fingerprint", fingerprint: OTHER_KEY });
    assert.equal(further?.peer?.id, "bob");
    assert.equal(
      server.authenticate({ kind: "fingerprint", fingerprint: OTHER_KEY }),
      further,
      "asked again, it is the same",
    );
    const unknown = { kind: "fingerprint", fingerprint: `ed25519:${"3".repeat(64)}` } as const;
    assert.equal(server.authenticate(unknown), undefined);
    assert.equal(server.auth.peer?.id, "alice");
    identities.replace([alice]);
    assert.equal((await server.closed).name, "REVOKED");
  });

  if (options.exporter) {
    test(`${name}: both ends export the same keying material, another for each label and context`, async () => {
      await using ends = await connect();
      const { client, server } = ends;
      const context = Buffer.from("context");
      const ours = client.exportKeyingMaterial("EXPORTER-test", context, 32);
      assert.equal(ours.length, 32);
      assert.deepEqual(
        Buffer.from(server.exportKeyingMaterial("EXPORTER-test", context, 32)),
        Buffer.from(ours),
      );
      for (const other of [
        server.exportKeyingMaterial("EXPORTER-other", context, 32),
        server.exportKeyingMaterial("EXPORTER-test", Buffer.from("elsewhere"), 32),
      ]) {
        assert.notDeepEqual(Buffer.from(other), Buffer.from(ours));
      }
    });
  }
}

/** More tests for connections with many streams. */
export function testMultiplexed(options: ConformanceOptions): void {
  const { name } = options;

  /** Peers on both ends, or strangers: these get few streams. */
  async function connect(key: string = KEY): Promise<Ends> {
    const identities = staticIdentities([alice]);
    const auth = (): OwnedAuthContext =>
      authenticate(identities, { kind: "fingerprint", fingerprint: key });
    return await options.connect({ client: { auth: auth() }, server: { auth: auth() } });
  }

  test(`${name}: streams go both ways, many at once, and do not wait for one another`, async () => {
    await using ends = await connect();
    const serve = async (connection: OwnedConnection): Promise<void> => {
      for (;;) {
        const stream = await connection.accept();
        if (stream === undefined) return;
        void pipeline(stream, stream).catch(() => {});
      }
    };
    const serving = [serve(ends.client), serve(ends.server)];
    const ask = async (connection: OwnedConnection, i: number): Promise<void> => {
      const stream = await connection.open();
      stream.end(`${i} `.repeat(1_000));
      assert.equal(await readText(stream), `${i} `.repeat(1_000));
    };
    // One that stalls in the middle of them.
    const stalled = await ends.client.open();
    stalled.write("no more for now");
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => ask(i % 2 === 0 ? ends.client : ends.server, i)),
    );
    stalled.end();
    assert.equal(await readText(stalled), "no more for now");
    await ends.client.close();
    await Promise.all(serving);
  });

  test(`${name}: open() waits for the peer's limit`, async () => {
    await using ends = await connect(OTHER_KEY);
    const held: Duplex[] = [];
    const taken: Duplex[] = [];
    // The limit is the peer's choice; find it. Nothing on the other end is done with a stream yet.
    let waiting: Promise<Duplex> | undefined;
    const stop = new AbortController();
    while (waiting === undefined) {
      assert.ok(held.length < 1_000, "there is a limit");
      const opening = ends.client.open({ signal: stop.signal });
      const stream = await Promise.race([opening, turns(50)]);
      if (stream === undefined) {
        waiting = opening;
        break;
      }
      stream.write("!");
      held.push(stream);
      const far = await ends.server.accept();
      assert.ok(far !== undefined);
      taken.push(far);
    }
    const gaveUp = assert.rejects(waiting, { message: "not any more" });
    stop.abort(new Error("not any more"));
    await gaveUp;
    const next = ends.client.open();
    // All of them: a peer may give out new turns by the handful.
    for (const stream of [...held, ...taken]) stream.resume().end();
    assert.ok((await next).writable);
  });

  test(`${name}: destroy() carries the number of the error, or of what caused it`, async () => {
    await using ends = await connect();
    for (const [error, resetCode] of [
      [Object.assign(new Error("x"), { code: "LIMIT" }), CloseCode.LIMIT],
      [Object.assign(new Error("x", { cause: { code: "no error" } }), { code: "EPIPE" }), 6],
      [
        Object.assign(
          new Error("x", { cause: Object.assign(new Error(), { code: "ACCESS_REVOKED" }) }),
          {
            code: "ABORT_ERR",
          },
        ),
        CloseCode.REVOKED,
      ],
      [new StreamReset(0x1234), 0x1234],
      [new Error("x"), CloseCode.INTERNAL],
    ] as const) {
      const near = await ends.client.open();
      near.write("!");
      const far = await ends.server.accept();
      assert.ok(far !== undefined);
      near.destroy(error);
      await assert.rejects(readAll(far), { code: "STREAM_RESET", resetCode });
    }
  });

  test(`${name}: a peer that has stopped reading fails writes, and not what it sent before`, async () => {
    await using ends = await connect();
    const near = await ends.client.open();
    near.write("!");
    const far = await ends.server.accept();
    assert.ok(far !== undefined);
    await readSome(far);
    // The server has answered, and wants no more of the question.
    far.end("answer");
    await once(far, "finish");
    assert.equal(await readText(near), "answer");
    far.destroy();
    await assert.rejects(
      (async () => {
        for (;;) {
          await new Promise<void>((resolve, reject) => {
            near.write(Buffer.alloc(1_000), (error) =>
              error === null || error === undefined ? resolve() : reject(error),
            );
          });
          await turns(1);
        }
      })(),
      (error: Error) => error instanceof Error,
    );
  });

  test(`${name}: what came before the peer's close can be read after it`, async () => {
    await using ends = await connect();
    const near = await ends.client.open();
    near.end("in time");
    const unseen = await ends.client.open();
    unseen.end("not accepted yet");
    const open = await ends.client.open();
    open.write("ended by close()");
    await ends.client.close();
    await ends.server.closed;
    const texts: string[] = [];
    for (;;) {
      const far = await ends.server.accept();
      if (far === undefined) break;
      texts.push(await readText(far));
    }
    assert.deepEqual(texts.sort(), ["ended by close()", "in time", "not accepted yet"]);
  });

  test(`${name}: datagrams arrive, and one that is too large is not taken`, async () => {
    await using ends = await connect();
    const { client, server } = ends;
    assert.ok(client.datagrams !== undefined && server.datagrams !== undefined);
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    server.datagrams.listen(resolve);
    assert.equal(client.datagrams.send(Buffer.from("hello")), true);
    assert.equal(String(Buffer.from(await promise)), "hello");
    const { maxSize } = client.datagrams;
    assert.ok(maxSize >= 1_000);
    assert.equal(client.datagrams.send(new Uint8Array(maxSize + 1)), false);
    await client.close();
    assert.equal(client.datagrams.send(Buffer.from("late")), false);
  });
}

/** The next bytes, without their end. */
async function readSome(stream: Duplex): Promise<Buffer> {
  for (;;) {
    const chunk = stream.read() as Buffer | null;
    if (chunk !== null) return chunk;
    await once(stream, "readable");
  }
}

/** All bytes to the end. `node:stream/consumers` would destroy the stream there, its other half too. */
async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.once("end", resolve);
  stream.once("error", reject);
  stream.once("close", () => reject(stream.errored ?? new Error("closed before its end")));
  if (stream.readableEnded) resolve();
  else if (stream.destroyed) reject(stream.errored ?? new Error("destroyed before its end"));
  await promise;
  return Buffer.concat(chunks);
}

async function readText(stream: Duplex): Promise<string> {
  return (await readAll(stream)).toString();
}

/** So many turns of the event loop. */
async function turns(count: number): Promise<undefined> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  return undefined;
}
