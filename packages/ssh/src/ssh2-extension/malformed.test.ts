import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import ssh2 from "ssh2";
import { connectSsh } from "../client.ts";
import { batchWrites } from "./extend.ts";
import { connectHostile, type Protocol, send, string, u32 } from "../test-hostile.ts";
import { HOST } from "../test-keys.ts";

/** RFC 4250 §4.1.2 */
const DISCONNECT = 1;
const UNIMPLEMENTED = 3;
const DEBUG = 4;
const SERVICE_REQUEST = 5;
const SERVICE_ACCEPT = 6;
const EXT_INFO = 7;
const KEXINIT = 20;
const USERAUTH_REQUEST = 50;
const USERAUTH_FAILURE = 51;
const BANNER = 53;
const PK_OK = 60;
const GLOBAL_REQUEST = 80;
const OPEN = 90;
const CONFIRMATION = 91;
const OPEN_FAILURE = 92;
const ADJUST = 93;
const DATA = 94;
const EXTENDED_DATA = 95;
const CHANNEL_REQUEST = 98;
const PROTOCOL_ERROR = 2;

/** A text goes with its length in front of it, a number in 32 bits, bytes as they are. */
type Field = string | number | boolean | Buffer;
type Message = readonly [number: number, ...fields: Field[]];

const KEY = `${string("ssh-ed25519").toString("latin1")}${"\0\0\0\x20"}${"k".repeat(32)}`;
const SIGNATURE = `${string("ssh-ed25519").toString("latin1")}${"\0\0\0\x40"}${"s".repeat(64)}`;
const EITHER: readonly Message[] = [
  [UNIMPLEMENTED, 0],
  [DEBUG, true, "what", "en"],
  [EXT_INFO, 2, "server-sig-algs", "ssh-ed25519", "no-such-thing", "at all"],
  [KEXINIT, Buffer.alloc(16), ...Array.from({ length: 10 }, () => "a,b"), false, 0],
];
const FROM_CLIENT: readonly Message[] = [
  ...EITHER,
  [SERVICE_REQUEST, "ssh-userauth"],
  [USERAUTH_REQUEST, "me", "ssh-connection", "none"],
  [USERAUTH_REQUEST, "me", "ssh-connection", "password", false, "secret"],
  [USERAUTH_REQUEST, "me", "ssh-connection", "password", true, "old", "new"],
  [USERAUTH_REQUEST, "me", "ssh-connection", "publickey", false, "ssh-ed25519", KEY],
  [USERAUTH_REQUEST, "me", "ssh-connection", "publickey", true, "ssh-ed25519", KEY, SIGNATURE],
  [USERAUTH_REQUEST, "me", "ssh-connection", "publickey", true, "rsa-sha2-256", KEY, SIGNATURE],
  [USERAUTH_REQUEST, "me", "ssh-connection", "publickey", true, "ssh-dss", KEY, SIGNATURE],
  [
    ...([USERAUTH_REQUEST, "me", "ssh-connection", "publickey", true] as const),
    ...["ecdsa-sha2-nistp256", KEY, SIGNATURE],
  ],
  [
    ...([USERAUTH_REQUEST, "me", "ssh-connection", "hostbased"] as const),
    ...["ssh-ed25519", KEY, "host.test", "me", SIGNATURE],
  ],
  [USERAUTH_REQUEST, "me", "ssh-connection", "keyboard-interactive", "", "pam"],
  ...["tcpip-forward", "cancel-tcpip-forward"].map((name): Message => [
    GLOBAL_REQUEST,
    name,
    true,
    "localhost",
    8_080,
  ]),
  ...["streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"].map(
    (name): Message => [GLOBAL_REQUEST, name, true, "/tmp/no-such-socket"],
  ),
  [GLOBAL_REQUEST, "no-more-sessions@openssh.com", false],
  [GLOBAL_REQUEST, "keepalive@openssh.com", true],
  [OPEN, "session", 7, 65_536, 32_768],
  [OPEN, "direct-tcpip", 8, 65_536, 32_768, "localhost", 80, "127.0.0.1", 4_000],
  [OPEN, "direct-streamlocal@openssh.com", 9, 65_536, 32_768, "/tmp/no-such-socket"],
  [OPEN, "x11", 10, 65_536, 32_768, "127.0.0.1", 6_000],
  [OPEN, "no-such-kind", 11, 65_536, 32_768],
  ...ofChannel(
    ["pty-req", true, "xterm", 80, 24, 640, 480, "\x01\0\0\0\x03\0"],
    ["x11-req", true, false, "MIT-MAGIC-COOKIE-1", "00ff", 0],
    ["env", true, "LANG", "C.UTF-8"],
    ["window-change", false, 80, 24, 640, 480],
    ["signal", false, "USR1"],
    ["xon-xoff", false, true],
    ["auth-agent-req@openssh.com", true],
    ["no-such-request", true],
    ["subsystem", true, "sftp"],
    ["exec", true, "true"],
  ),
  [DATA, 0, "typed"],
  [EXTENDED_DATA, 0, 1, "typed"],
  [ADJUST, 0, 100],
  [CONFIRMATION, 3, 3, 65_536, 32_768],
  [OPEN_FAILURE, 3, 1, "no", "en"],
  [DISCONNECT, 11, "bye", "en"],
];
const FROM_SERVER: readonly Message[] = [
  ...EITHER,
  [SERVICE_ACCEPT, "ssh-userauth"],
  [USERAUTH_FAILURE, "publickey,password", false],
  [BANNER, "welcome", "en"],
  [GLOBAL_REQUEST, "hostkeys-00@openssh.com", false, KEY, KEY],
  [GLOBAL_REQUEST, "keepalive@openssh.com", true],
  [OPEN, "forwarded-tcpip", 8, 65_536, 32_768, "localhost", 80, "127.0.0.1", 4_000],
  [OPEN, "forwarded-streamlocal@openssh.com", 9, 65_536, 32_768, "/tmp/no-such-socket"],
  [OPEN, "x11", 10, 65_536, 32_768, "127.0.0.1", 6_000],
  [OPEN, "auth-agent@openssh.com", 11, 65_536, 32_768],
  [OPEN, "session", 12, 65_536, 32_768],
  [OPEN_FAILURE, 3, 1, "no", "en"],
  [DATA, 0, "printed"],
  [EXTENDED_DATA, 0, 1, "printed"],
  ...ofChannel(
    ["exit-status", false, 1],
    ["exit-signal", false, "TERM", false, "stopped", "en"],
    ["no-such-request", true],
  ),
  [DISCONNECT, 11, "bye", "en"],
];

/** Looked at where a key has been shown alone. */
const ASKED_FOR_KEY: Message = [PK_OK, "ssh-ed25519", KEY];

for (const state of ["before a login", "after it"] as const) {
  test(`a server ${state} ends the connection when a field is longer than its message`, async () => {
    for (const mutated of mutations(FROM_CLIENT)) {
      await using it = await connectHostile();
      const { client, protocol } = await it.login(state === "after it");
      client.on("error", () => {});
      if (state === "after it") await opened(client);
      const told = reasonOf(protocol);
      send(protocol, mutated.payload);
      if (mutated.isCut) assert.equal(await told, PROTOCOL_ERROR, mutated.name);
      for (let each = 0; each < 4; each++) await turn();
      it.stream.destroy();
      await it.served;
      assert.equal(it.handler.sessions, 0, mutated.name);
    }
  });

  test(`a client ${state} ends the connection when a field is longer than its message`, async () => {
    const isIn = state === "after it";
    for (const mutated of mutations(isIn ? FROM_SERVER : [...FROM_SERVER, ASKED_FOR_KEY])) {
      await using it = await connectClient(isIn);
      const told = reasonOf(it.protocol);
      send(it.protocol, mutated.payload);
      if (mutated.isCut) assert.equal(await told, PROTOCOL_ERROR, mutated.name);
      for (let each = 0; each < 4; each++) await turn();
    }
  });
}

function ofChannel(...requests: readonly [string, ...Field[]][]): Message[] {
  return requests.map((request) => [CHANNEL_REQUEST, 0, ...request]);
}

interface Mutated {
  readonly name: string;
  readonly payload: Buffer;
  /** Whether a field is longer than what is left of the message. */
  readonly isCut: boolean;
}

/** Each message with the length of each of its texts changed, one at a time, and cut off within each of its fields. */
function* mutations(messages: readonly Message[]): Iterable<Mutated> {
  for (const [number, ...fields] of messages) {
    const parts = fields.map(encode);
    let at = 1;
    for (const [index, field] of fields.entries()) {
      const part = parts[index]!;
      const whole = Buffer.concat([Buffer.of(number), ...parts]);
      const name = `${number} ${JSON.stringify(fields)}, field ${index}`;
      if (typeof field === "string") {
        const left = whole.length - at - 4;
        for (const length of [0, 1, field.length + 1, 2 ** 31, 2 ** 32 - 1]) {
          const payload = Buffer.from(whole);
          payload.writeUInt32BE(length, at);
          yield { name: `${name} of ${length}`, payload, isCut: length > left };
        }
      }
      const isOfNumber = typeof field === "number";
      if (isOfNumber) yield { name, payload: whole.subarray(0, at + 3), isCut: number !== KEXINIT };
      at += part.length;
    }
  }
}

function encode(field: Field): Buffer {
  if (typeof field === "string") return Buffer.concat([u32(field.length), Buffer.from(field)]);
  if (typeof field === "number") return u32(field);
  return typeof field === "boolean" ? Buffer.of(field ? 1 : 0) : field;
}

/** Why the other end has ended the connection (RFC 4253 §11.1); `undefined`: it has not said. */
function reasonOf({ _handlers: handlers }: Protocol): Promise<number | undefined> {
  return new Promise((resolve) => {
    handlers["DISCONNECT"] = ((_: unknown, reason: number) => resolve(reason)) as never;
  });
}

/** Have the channel 0: a session in which nothing runs. */
function opened(client: ssh2.Client): Promise<void> {
  const { _protocol: protocol, _chanMgr: numbers } = client as unknown as {
    _protocol: { session(local: number, window: number, packet: number): void };
    _chanMgr: { add(opened: (error?: Error) => void): number };
  };
  return new Promise((resolve, reject) => {
    const answered = Object.assign(
      (error?: Error) => (error === undefined ? resolve() : reject(error)),
      { type: "session" },
    );
    protocol.session(numbers.add(answered), 2 ** 16, 2 ** 15);
  });
}

/** A client of ours, and the protocol of a server that sends whatever it likes: ssh2's own. */
async function connectClient(isIn: boolean) {
  const made = Promise.withResolvers<Protocol>();
  const asked = Promise.withResolvers<void>();
  const server = new ssh2.Server({ hostKeys: [HOST.privateKey] }, (peer) => {
    peer.on("error", () => {});
    peer.on("authentication", (request) => {
      if (isIn) request.accept();
      else if (request.method === "none") request.reject();
      else asked.resolve();
    });
    peer.on("session", (accept) => {
      accept().on("exec", (granted) => void granted());
    });
    made.resolve((peer as unknown as { _protocol: Protocol })._protocol);
  });
  const [near, far] = duplexPair();
  for (const side of [near, far]) side.on("error", () => {});
  batchWrites(far);
  server.injectSocket(far as never);
  const keys = [HOST.privateKey];
  const connecting = connectSsh(near, { user: "me", checkHostKey: () => true, keys });
  connecting.catch(() => {});
  const protocol = await made.promise;
  if (!isIn) await asked.promise;
  else await (await connecting).session({ program: { kind: "exec", command: "true" } });
  return {
    protocol,
    async [Symbol.asyncDispose]() {
      near.destroy();
      await connecting.then(
        (client) => client.closed,
        () => {},
      );
    },
  };
}
