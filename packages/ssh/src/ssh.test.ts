import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type StaticIdentities, staticIdentities } from "@alknet/core/static-identities";
import { connectionPair, FakeClock } from "@alknet/core/testing";
import { sshPublicKeyBlob } from "@alknet/vault/openssh-key";
import ssh2 from "ssh2";
import { NoAccount, ownAccount } from "./account.ts";
import { ssh, type SshOptions, type SshRefusal } from "./ssh.ts";
import { exec } from "./test-exec.ts";
import { HOST, LAPTOP, STRANGER, testKey } from "./test-keys.ts";

test("handle() logs in a peer whom TLS has proved, without a key of SSH's, on every kind of connection", async () => {
  for (const multiplexed of [true, false]) {
    await using it = connect({ tls: LAPTOP.fingerprint, multiplexed });
    const client = await login(await it.open(), {});
    assert.equal(await run(client, "echo $ALKNET_PEER"), "laptop\n");
    client.end();
    await it.served;
  }
});

test("a key of SSH's may be another of the peer whom TLS has proved, and not another peer's", async () => {
  await using same = connect({ tls: LAPTOP.fingerprint });
  const client = await login(await same.open(), { privateKey: SPARE.privateKey });
  assert.equal(await run(client, "echo $ALKNET_PEER"), "laptop\n");
  client.end();

  await using other = connect({ tls: LAPTOP.fingerprint });
  const key = { type: "publickey", username: "me", key: OTHER.privateKey } as const;
  await assert.rejects(login(await other.open(), { authHandler: [key] }), /authentication/i);
  assert.match(other.refused[0]?.reason ?? "", /"other", the connection peer "laptop"'s$/);
  // The owner sees who it was.
  assert.equal(other.refused[0]?.peer, "laptop");
});

test("keys whose public half begins with zero bytes are keys as others are: the host's, and those of users", async () => {
  assert.deepEqual([...ZEROS.publicKey.subarray(0, 2), ZERO.publicKey[0]], [0, 0, 0]);
  for (const [host, user] of [
    [HOST, ZERO],
    [ZERO, ZEROS],
    [ZEROS, LAPTOP],
  ] as const) {
    await using it = connect({ hostKey: host.privateKey });
    let shown: Buffer | undefined;
    // A client believes the key it is shown once the signature under it is right.
    const hostVerifier = (key: Buffer): boolean => ((shown = key), true);
    const client = await login(await it.open(), { privateKey: user.privateKey, hostVerifier });
    assert.deepEqual(shown, Buffer.from(sshPublicKeyBlob(host.publicKey)));
    assert.equal(await run(client, "echo $ALKNET_PEER"), "laptop\n");
    client.end();
    await it.served;
  }
});

test("who is nobody, has no right here or no account, is not logged in", async () => {
  const stranger = connect({ tls: STRANGER.fingerprint });
  const noRight = connect({ tls: LAPTOP.fingerprint, scopes: ["call:invoke"] });
  const none = (): never => {
    throw new NoAccount("none");
  };
  const noAccount = connect({ tls: LAPTOP.fingerprint, accounts: none });
  const told: string[][] = [];
  for (const it of [stranger, noRight, noAccount]) {
    await using _closed = it;
    const key = { type: "publickey", username: "me", key: SPARE.privateKey } as const;
    const authHandler = [{ type: "none", username: "me" } as const, key, key];
    const banners: string[] = [];
    told.push(banners);
    const sock = await it.open();
    const asked = it === stranger ? {} : { authHandler };
    await assert.rejects(
      login(sock, asked, (text) => banners.push(text)),
      /authentication/i,
    );
  }
  // Why, once, to whom TLS has proved; a stranger hears nothing.
  const noRights = 'not let in: peer "laptop" has no right that SSH serves\r\n';
  assert.deepEqual(told, [[], [noRights], ["not let in: none\r\n"]]);
});

test("tries to log in are counted, and the last one ends the connection", async () => {
  // Nobody is waited for: that clock stands still.
  await using it = connect({ limits: { attempts: 3 }, clock: new FakeClock() });
  const wrong = { type: "publickey", username: "me", key: STRANGER.privateKey } as const;
  const tries = Array.from({ length: 20 }, () => wrong);
  await assert.rejects(login(await it.open(), { authHandler: tries }));
  assert.equal(it.refused.length, 3);
  await it.served;
});

test("who does not log in in time is cut off, at whatever state they are", async () => {
  for (const opening of ["", "SSH-2.0-x\r\n", "SSH-2.0-x"]) {
    const clock = new FakeClock();
    await using it = connect({ clock });
    const stream = await it.open();
    stream.on("error", () => {});
    stream.write(opening === "" ? "S" : opening);
    await once(stream, "data");
    clock.advance(30_000);
    await it.served;
  }
});

test("keys are exchanged strictly: nothing can be slipped in before they are (CVE-2023-48795)", async () => {
  const ignore = packet(Buffer.from([2, 0, 0, 0, 0]));
  // A client that does not know of it may send this at any time (RFC 4253 §11).
  assert.equal(await isAnswered(false, (kexInit) => [kexInit, ignore]), true);
  assert.equal(await isAnswered(true, (kexInit) => [kexInit]), true);
  assert.equal(await isAnswered(true, (kexInit) => [kexInit, ignore]), false);
  assert.equal(await isAnswered(true, (kexInit) => [ignore, kexInit]), false);
});

/** Whether an exchange of keys that begins with these packets comes to the server's reply. */
async function isAnswered(strict: boolean, begin: (kexInit: Buffer) => Buffer[]): Promise<boolean> {
  await using it = connect({});
  const stream = await it.open();
  stream.on("error", () => {});
  const { publicKey } = generateKeyPairSync("x25519");
  const init = Buffer.concat([
    Buffer.from([30]),
    string(publicKey.export({ format: "raw-public" })),
  ]);
  stream.write(
    Buffer.concat([Buffer.from("SSH-2.0-t\r\n"), ...begin(kexInitOf(strict)), packet(init)]),
  );
  let got = Buffer.alloc(0);
  for await (const data of stream as AsyncIterable<Buffer>) {
    got = Buffer.concat([got, data]);
    if (messageNumbers(got).includes(31)) return true;
  }
  return false;
}

/** Of packets that are not encrypted yet, behind the identification. */
function messageNumbers(bytes: Buffer): number[] {
  const numbers: number[] = [];
  let at = bytes.indexOf("\n") + 1;
  while (at + 6 <= bytes.length) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    numbers.push(bytes.readUInt8(at + 5));
    at = end;
  }
  return numbers;
}

function kexInitOf(strict: boolean): Buffer {
  const kex = ["curve25519-sha256", ...(strict ? ["kex-strict-c-v00@openssh.com"] : [])].join(",");
  const cipher = "aes128-gcm@openssh.com";
  const lists = [kex, "ssh-ed25519", cipher, cipher, "hmac-sha2-256", "hmac-sha2-256"];
  const all = [...lists, "none", "none", "", ""].map((list) => string(Buffer.from(list)));
  return packet(Buffer.concat([Buffer.from([20]), Buffer.alloc(16), ...all, Buffer.alloc(5)]));
}

/** RFC 4253 §6, before there are keys. */
function packet(payload: Buffer): Buffer {
  const padding = 4 + ((8 - ((payload.length + 9) % 8)) % 8);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(1 + payload.length + padding);
  head.writeUInt8(padding, 4);
  return Buffer.concat([head, payload, Buffer.alloc(padding)]);
}

function string(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

test("stdout and stderr may both wait for the window: neither loses or repeats anything", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint });
  const client = await login(await it.open(), {});
  const size = 5_000_000;
  const command = `(yes e | head -c ${size} >&2) & yes o | head -c ${size}; wait`;
  const channel = await exec(client, command);
  const [out, error] = await Promise.all([text(channel), text(channel.stderr)]);
  assert.ok(out === "o\n".repeat(size / 2), `${out.length} characters on stdout`);
  assert.ok(error === "e\n".repeat(size / 2), `${error.length} characters on stderr`);
  client.end();
});

test("a client that sends more than its window is cut off", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint });
  const client = await login(await it.open(), {});
  const failed = new Promise<Error>((resolve) => client.once("error", resolve));
  const channel = await exec(client, "sleep 1000");
  // Past the client's own count of what it may send.
  const { protocol, id } = insidesOf(client, channel);
  for (let sent = 0; sent < 4 * 2 ** 20; sent += 32_768) {
    protocol.channelData(id, Buffer.alloc(32_768));
  }
  assert.match((await failed).message, /PROTOCOL_ERROR/);
  await it.served;
  await idle(it.handler);
});

test("a signal comes through after the end of stdin", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint });
  const client = await login(await it.open(), {});
  const channel = await exec(client, "cat; echo ready; exec sleep 1000");
  channel.end();
  await once(channel, "data");
  const ended = once(channel, "exit");
  // Its own check is of its side, which has ended.
  const { protocol, id } = insidesOf(client, channel);
  protocol.signal(id, "TERM");
  assert.deepEqual((await ended).slice(0, 2), [null, "SIGTERM"]);
  client.end();
});

test("a session runs one program, and no second one beside it", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint });
  const client = await login(await it.open(), {});
  const channel = await exec(client, "read x; echo $x");
  const { protocol, id } = insidesOf(client, channel);
  protocol.exec(id, "echo second", false);
  assert.equal(await run(client, "echo other"), "other\n");
  assert.equal(it.handler.sessions, 1);
  channel.end("first\n");
  assert.equal(await text(channel), "first\n");
  client.end();
});

test("programs of one peer are limited, over all its connections", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint, limits: { sessionsPerPeer: 2 } });
  const client = await login(await it.open(), {});
  const first = await exec(client, "read x; echo $x");
  const second = await exec(client, "read x; echo $x");
  assert.equal(it.handler.sessions, 2);
  assert.equal(await run(client, "echo no"), "");
  assert.match(it.refused[0]?.reason ?? "", /too many sessions/);
  first.end("one\n");
  assert.equal(await text(first), "one\n");
  second.end("two\n");
  assert.equal(await text(second), "two\n");
  await idle(it.handler);
  assert.equal(await run(client, "echo yes"), "yes\n");
  client.end();
});

test("channels of one connection are limited", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint, limits: { channels: 2 } });
  const client = await login(await it.open(), {});
  const held = [await exec(client, "read x"), await exec(client, "read x")];
  await assert.rejects(exec(client, "true"), /open failure/i);
  for (const channel of held) channel.end();
  client.end();
});

test("channels of one peer are limited, over all its connections", async () => {
  await using it = connect({
    tls: LAPTOP.fingerprint,
    limits: { channels: 2, channelsPerPeer: 3 },
  });
  const server = { identities: it.identities, fingerprint: LAPTOP.fingerprint };
  const pair = connectionPair({ auth: { server } });
  const served = it.handler.handle(pair.server);
  await using _second = {
    async [Symbol.asyncDispose]() {
      pair.client.abort(0);
      await served;
    },
  };
  const first = await login(await it.open(), {});
  const second = await login(await pair.client.open(), {});
  await exec(first, "read x");
  await exec(first, "read x");
  const held = await exec(second, "read x");
  await assert.rejects(exec(second, "true"), /open failure/i);
  held.resume().end();
  await once(held, "close");
  assert.equal(await run(second, "echo after one has ended"), "after one has ended\n");
  // What goes with its connection leaves its place, too.
  first.destroy();
  await it.served;
  const more = [await exec(second, "read x"), await exec(second, "read x")];
  for (const channel of more) channel.end();
  second.end();
});

test("what is not listed is refused: forwarding, X11, agents, and kinds of channels without a name here", async () => {
  await using it = connect({ tls: LAPTOP.fingerprint, scopes: ["*"] });
  const client = await login(await it.open(), {});
  const refused = (ask: (done: (error: Error | undefined) => void) => unknown): Promise<void> =>
    assert.rejects(
      new Promise<void>(
        (done, fail) => void ask((error) => (error === undefined ? done() : fail(error))),
      ),
    );
  await refused((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", 1, done));
  await refused((done) => client.forwardIn("127.0.0.1", 0, done));
  await refused((done) =>
    client.openssh_forwardInStreamLocal("/tmp/x", (error) => done(error ?? undefined)),
  );
  await refused((done) => client.openssh_forwardOutStreamLocal("/tmp/x", done));
  await refused((done) => client.exec("true", { x11: true }, (error) => done(error ?? undefined)));
  client.end();
});

test("a right that is taken back ends what stands on it; the key, the connection", async () => {
  await using it = connect({
    tls: LAPTOP.fingerprint,
    scopes: ["ssh:exec:sleep *", "ssh:exec:cat"],
  });
  const client = await login(await it.open(), {});
  const sleeping = await exec(client, "sleep 1000");
  const copying = await exec(client, "cat");
  const ended = once(sleeping, "exit");
  it.allow(["ssh:exec:cat"]);
  assert.deepEqual((await ended).slice(0, 2), [null, "SIGKILL"]);
  copying.end("still here");
  assert.equal(await text(copying), "still here");
  client.on("error", () => {});
  it.identities.replace([]);
  await it.served;
});

const SPARE = testKey(3);
const OTHER = testKey(4);
/** Their public keys begin with two zero bytes, and with one before a byte of 0x1f. */
const ZEROS = testKey(36);
const ZERO = testKey(218);

interface ConnectOptions extends Partial<SshOptions> {
  /** Key that TLS has proved. @default none */
  readonly tls?: string | undefined;
  readonly scopes?: readonly string[] | undefined;
  readonly multiplexed?: boolean | undefined;
}

/** A connection in memory to a server that knows `laptop`, with four keys, and `other`. */
function connect(options: ConnectOptions) {
  const { tls, scopes = ["ssh:exec"], multiplexed, ...rest } = options;
  const other = {
    peerId: "other",
    fingerprints: [OTHER.fingerprint],
    scopes: ["*"],
    enabled: true,
  };
  const laptop = (rights: readonly string[]) => {
    const fingerprints = [LAPTOP, SPARE, ZERO, ZEROS].map((key) => key.fingerprint);
    return { peerId: "laptop", fingerprints, scopes: rights, enabled: true };
  };
  const identities: StaticIdentities = staticIdentities([laptop(scopes), other]);
  const refused: SshRefusal[] = [];
  const accounts = () => ({ ...ownAccount(), shell: "/bin/sh" });
  const onrefused = (each: SshRefusal) => void refused.push(each);
  const handler = ssh({ hostKey: HOST.privateKey, accounts, onrefused, ...rest });
  const pair = connectionPair({ multiplexed, auth: { server: { identities, fingerprint: tls } } });
  const served = handler.handle(pair.server);
  return {
    identities,
    refused,
    handler,
    served,
    open: () => pair.client.open(),
    allow: (rights: readonly string[]) => void identities.replace([laptop(rights), other]),
    [Symbol.asyncDispose]: async () => {
      pair.client.abort(0);
      await served;
      identities[Symbol.dispose]();
    },
  };
}

function login(
  sock: Duplex,
  options: ssh2.ConnectConfig,
  onbanner: (text: string) => void = () => {},
): Promise<ssh2.Client> {
  const client = new ssh2.Client();
  client.on("banner", onbanner);
  const { promise, resolve, reject } = Promise.withResolvers<ssh2.Client>();
  client.once("ready", () => resolve(client));
  client.on("error", reject);
  client.once("close", () => reject(new Error("closed before authentication")));
  // Those of the stream itself are told by the client.
  client.connect({ sock: sock as never, username: "me", ...options });
  return promise;
}

async function run(client: ssh2.Client, command: string): Promise<string> {
  const channel = await exec(client, command);
  channel.stderr.resume();
  return text(channel);
}

/** To send what a client of good manners does not. */
function insidesOf(client: ssh2.Client, channel: ssh2.ClientChannel) {
  const { _protocol: protocol } = client as unknown as {
    _protocol: {
      channelData(channel: number, data: Buffer): void;
      signal(channel: number, name: string): void;
      exec(channel: number, command: string, wantReply: boolean): void;
    };
  };
  const { outgoing } = channel as unknown as { outgoing: { id: number } };
  return { protocol, id: outgoing.id };
}

async function idle(handler: { readonly sessions: number }): Promise<void> {
  while (handler.sessions > 0) await turn();
}
