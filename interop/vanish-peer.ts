/**
 * SSH clients that are to be killed: each on a connection of its own, and in a state of its own.
 *
 *     vanish-peer.ts '{"port":7433,"fingerprint":"ed25519:…","key":"…","transport":"quic","states":["shell"]}'
 *
 * Says over IPC once all are where they are to be, and waits to be killed.
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import process from "node:process";
import { type Duplex, duplexPair } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { identityFromKey } from "@alknet/core/identity-file";
import ssh2, { type ClientChannel } from "ssh2";
import { dialerOf } from "./attack.ts";
import type { State, STATES, VanishSettings } from "./vanish-states.ts";

// Also on its way there: who asked for it is gone.
process.once("disconnect", () => process.exit());
const settings = JSON.parse(process.argv[2] ?? "{}") as VanishSettings;
const der = Buffer.from(settings.key, "base64");
const identity = identityFromKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
// How long they may be silent, the node says.
const dialer = dialerOf(identity, "127.0.0.1", { idleTimeout: 0 });

/** How long the way to a state may take, in milliseconds. */
const LIMIT = 60_000;

/** What is used of ssh2's protocol. */
interface Insides {
  readonly _protocol: {
    session(channel: number, window: number, packet: number): void;
    pty(...options: readonly unknown[]): void;
    rekey(): void;
  };
  readonly _chanMgr: { add(opened: object): number };
}

/** Both directions of a stream, either of which may be held up. */
interface Gate {
  /** For ssh2. */
  readonly near: Duplex;
  /** Let packets of ours through up to one with this number, and nothing after it. */
  holdAfter(message: number): void;
  /** That one has gone. */
  readonly held: Promise<void>;
  /** Let nothing more of theirs through. @returns when something has been held back. */
  holdTheirs(): Promise<void>;
}

/** The last message that a client sends which comes so far (RFC 4253 §12, RFC 5656 §7.1): KEXINIT, ECDH_INIT, NEWKEYS. */
const LAST = {
  "in the exchange of keys": 20,
  "keys exchanged, but for its last word": 30,
  "keys exchanged": 21,
};

function gate(far: Duplex): Gate {
  const [near, inner] = duplexPair();
  let last: number | undefined;
  let pending = Buffer.alloc(0);
  let over = false;
  const held = Promise.withResolvers<void>();
  let holdTheirs: (() => void) | undefined;
  inner.on("data", (data: Buffer) => {
    if (over) return;
    if (last === undefined) return void far.write(data);
    pending = Buffer.concat([pending, data]);
    for (;;) {
      const length = lengthOf(pending);
      if (length === undefined || pending.length < length) return;
      const message = pending[5];
      far.write(pending.subarray(0, length));
      pending = pending.subarray(length);
      if (message !== last) continue;
      over = true;
      return held.resolve();
    }
  });
  far.on("error", () => {});
  far.on("data", (data: Buffer) => {
    if (holdTheirs === undefined) inner.write(data);
    else holdTheirs();
  });
  return {
    near,
    held: held.promise,
    holdAfter: (message) => void (last = message),
    holdTheirs: () => new Promise((resolve) => (holdTheirs = resolve)),
  };
}

/** Bytes of the line or the packet that `bytes` begins with, keys not yet exchanged. */
function lengthOf(bytes: Buffer): number | undefined {
  if (bytes[0] === "S".charCodeAt(0)) return bytes.indexOf("\n") + 1 || undefined;
  return bytes.length < 6 ? undefined : 4 + bytes.readUInt32BE();
}

function connectOver(near: Duplex, authHandler: unknown = ["none"]): ssh2.Client {
  const client = new ssh2.Client();
  client.on("error", () => {});
  client.connect({
    sock: near as never,
    username: "me",
    readyTimeout: 0,
    authHandler: authHandler as never,
    // Nobody asks it anything: only that it is there counts.
    agent: "/nowhere",
    // It asks others than OpenSSH for no Unix sockets.
    strictVendor: false,
  });
  return client;
}

/** Go to `state`, on a connection of its own. */
async function enter(state: State): Promise<void> {
  const { port, fingerprint, transport } = settings;
  const target = { address: `127.0.0.1:${port}`, fingerprint };
  const connection = await dialer.dial(target, "alknet/ssh", { transports: [transport] });
  const stream = await connection.open();
  if (state === "before its identification") {
    stream.on("error", () => {});
    stream.write("SSH-2");
    return void (await once(stream, "readable"));
  }
  const way = gate(stream);
  if (state === "in its login") {
    // Asked how to go on, it says nothing.
    const asked = Promise.withResolvers<void>();
    connectOver(way.near, () => asked.resolve());
    return await asked.promise;
  }
  if (
    state === "in the exchange of keys" ||
    state === "keys exchanged, but for its last word" ||
    state === "keys exchanged"
  ) {
    way.holdAfter(LAST[state]);
    connectOver(way.near);
    return await way.held;
  }
  const client = connectOver(way.near);
  await once(client, "ready");
  await work(state, client, way);
}

async function work(state: (typeof STATES)[number], client: ssh2.Client, way: Gate): Promise<void> {
  const { _protocol: protocol } = client as unknown as Insides;
  const { target, path } = settings;
  switch (state) {
    case "logged in":
      return;
    case "session opened":
      return void (await openSession(client));
    case "terminal asked for": {
      const channel = await openSession(client);
      protocol.pty(channel, 24, 80, 0, 0, "xterm", undefined, true);
      const { promise, resolve } = Promise.withResolvers<void>();
      way.near.once("data", () => resolve());
      return await promise;
    }
    case "shell on a terminal": {
      const channel = await asked<ClientChannel>((done) => client.shell(done));
      channel.write("echo sh-'el'l; sleep 1001\n");
      return await saying(channel, "sh-ell");
    }
    case "command with children": {
      const command = "sleep 1002 & nohup sleep 1003 & (sleep 1004; true) & echo begun; wait";
      return await saying(await asked((done) => client.exec(command, done)), "begun");
    }
    case "flow to there":
      return await echoed(
        await asked((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", target, done)),
      );
    case "listener there":
      return void (await asked((done) => client.forwardIn("127.0.0.1", 0, done)));
    case "listener there, with a flow": {
      const port = await asked<number>((done) => client.forwardIn("127.0.0.1", 0, done));
      client.once("tcp connection", (_info, accept) => {
        const channel = accept();
        channel.pipe(channel);
      });
      return await echoed(net.connect(port, "127.0.0.1"));
    }
    case "listener on a Unix socket there":
      return void (await asked((done) => client.openssh_forwardInStreamLocal(path, done as never)));
    case "agent": {
      const command = 'test -S "$SSH_AUTH_SOCK" && echo begun; sleep 1005';
      return await saying(
        await asked((done) => client.exec(command, { agentForward: true } as object, done)),
        "begun",
      );
    }
    case "windows full both ways": {
      // What it prints is not read here, and what is sent is not read there.
      const command = "yes & exec sleep 1006 <&0";
      const channel = await asked<FullChannel>((done) => client.exec(command, done as never));
      channel.write(Buffer.alloc(64 * 2 ** 20));
      const isFull = (): boolean => channel.outgoing.window === 0 && channel.incoming.window === 0;
      while (!isFull()) await turn();
      return;
    }
    case "changing keys": {
      // Its half of the exchange stays away.
      const answered = way.holdTheirs();
      protocol.rekey();
      return await answered;
    }
  }
}

interface FullChannel extends ClientChannel {
  readonly outgoing: { readonly window: number };
  readonly incoming: { readonly window: number };
}

/** A session in which nothing is asked for. @returns the number that it has over there */
async function openSession(client: ssh2.Client): Promise<number> {
  const { _protocol: protocol, _chanMgr: channels } = client as unknown as Insides;
  const channel = await asked<{ readonly outgoing: { readonly id: number } }>((done) => {
    const local = channels.add(Object.assign(done, { type: "session" }));
    protocol.session(local, 2 ** 20, 2 ** 15);
  });
  return channel.outgoing.id;
}

function asked<Answer>(
  ask: (done: (error: Error | undefined, answer: Answer) => void) => unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    ask((error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Until `stream` has said `text`. */
async function saying(stream: Duplex, text: string): Promise<void> {
  let all = "";
  const { promise, resolve } = Promise.withResolvers<void>();
  // By one listener: what comes while there is none is lost.
  stream.on("data", function onData(data: Buffer) {
    all += String(data);
    if (!all.includes(text)) return;
    stream.off("data", onData);
    resolve();
  });
  await promise;
}

async function echoed(stream: Duplex): Promise<void> {
  stream.on("error", () => {});
  stream.write("there?");
  await saying(stream, "there?");
}

await Promise.all(
  settings.states.map(async (state) => {
    const late = AbortSignal.timeout(LIMIT);
    const isLate = once(late, "abort").then(() => Promise.reject(late.reason as Error));
    await Promise.race([enter(state), isLate]).catch((cause: unknown) => {
      throw new Error(`cannot get to "${state}" over ${settings.transport}`, { cause });
    });
  }),
);
process.send?.("there");
