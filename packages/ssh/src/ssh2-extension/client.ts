/**
 * What ssh2's client lacks: a login and a first session without waiting, sessions whose requests leave together,
 * channels of forwarding that end in one direction by itself, and that break.
 *
 * ```text
 * us    identification, KEXINIT, key by ML-KEM            (1)
 * them  identification, KEXINIT, key, signature, NEWKEYS
 * us    NEWKEYS, login by `none`, session, its requests   (2)
 * them  accepted, accepted, what the program prints
 * ```
 *
 * Two round trips in the place of seven. (1) guesses the exchange (RFC 4253 §7), which holds for servers whose first
 * choice is ours; (2) guesses that the first channel has the number 0, which holds for servers of Alknet.
 *
 * @module
 */

import { createRequire } from "node:module";
import { type Duplex, duplexPair } from "node:stream";
import type { Client, ClientChannel } from "ssh2";
import { offerMlKem } from "../ml-kem-exchange.ts";
import {
  type Channel,
  type Cipher,
  fail,
  type Insides,
  insidesOf,
  MESSAGE,
  type Opened,
  type Protocol,
} from "./insides.ts";
import { flowChannels } from "./flows.ts";
import { isGuessRight } from "./keys.ts";

/** What ssh2's client has beyond what both ends have. */
interface ClientProtocol extends Protocol {
  _cipher: Cipher & { allocPacket(length: number): Buffer };
  start: () => void;
  service(name: string): void;
  authNone(user: string): void;
  session(local: number, window: number, packet: number): void;
  env(channel: number, name: string, value: string, wantReply: boolean): void;
  openssh_agentForward(channel: number, wantReply: boolean): void;
  pty(
    channel: number,
    ...rest: [rows: number, columns: number, height: number, width: number, ...Modes]
  ): void;
  shell(channel: number, wantReply: boolean): void;
  exec(channel: number, command: string, wantReply: boolean): void;
  subsystem(channel: number, name: string, wantReply: boolean): void;
  windowChange(channel: number, ...size: [number, number, number, number]): void;
  signal(channel: number, name: string): void;
}

type Modes = [name: string, modes: Buffer, wantReply: boolean];

interface ClientInsides extends Insides {
  readonly _protocol: ClientProtocol;
  _agent: { getStream(done: (error: Error | undefined, stream?: Duplex) => void): void };
  _agentFwdEnabled: boolean;
}

interface SessionChannel extends Channel {
  /** Called with each answer to a request: whether it was refused. */
  readonly _callbacks: ((refused: unknown) => void)[];
}

const require = createRequire(import.meta.url);
const { kexinit } = require("ssh2/lib/protocol/kex.js") as {
  readonly kexinit: (protocol: Protocol) => void;
};

/** What every peer takes in one packet, in bytes. */
const MAX_PACKET = 32_768;
/** Bytes in front of a packet's payload while there are no keys: length and padding. */
const PACKET_HEAD = 5;
/** Behind the lists of KEXINIT: whether a guess follows, and 4 bytes for later. */
const KEXINIT_TAIL = 5;
const KEXDH_INIT = 30;

function clientInsides(client: Client): ClientInsides {
  return insidesOf(client) as ClientInsides;
}

/**
 * Send at once what can be foreseen. To be called with `extendSshClient`, after it; the client's `authHandler` begins
 * with `none`.
 *
 * @returns resolves when the login has been sent, and channels may be opened behind it.
 */
export function beginAhead(client: Client, user: string): Promise<void> {
  const { _protocol: protocol } = clientInsides(client);
  const start = protocol.start;
  protocol.start = () => {
    start();
    sendKeyAhead(protocol);
  };
  return sendLoginAhead(protocol, user);
}

function sendKeyAhead(protocol: ClientProtocol): void {
  const offer = offerMlKem();
  const cipher = protocol._cipher;
  const encrypt = cipher.encrypt.bind(cipher);
  // The KEXINIT that ssh2 makes says that no guess follows.
  cipher.encrypt = (packet) => {
    cipher.encrypt = encrypt;
    const init = protocol._kexinit as Buffer;
    const follows = init.length - KEXINIT_TAIL;
    init[follows] = packet[PACKET_HEAD + follows] = 1;
    encrypt(packet);
  };
  kexinit(protocol);
  sendKey(protocol, offer.init);

  // ssh2 sends its KEXINIT when it has heard the server: it has been sent.
  const sent = protocol._kexinit;
  const onHeader = protocol._onHeader;
  protocol._onHeader = (header) => {
    onHeader(header);
    protocol._cipher.encrypt = () => {
      protocol._cipher.encrypt = encrypt;
      protocol._kexinit = sent;
    };
    const first = protocol._decipher;
    const onPayload = first._onPayload;
    first._onPayload = (payload) => {
      if (payload[0] !== MESSAGE.KEXINIT || !isGuessRight(protocol, payload))
        return onPayload(payload);
      first._onPayload = onPayload;
      // The key that ssh2 would send now has been sent.
      protocol._cipher.encrypt = () => {};
      const result = onPayload(payload);
      protocol._cipher.encrypt = encrypt;
      const exchange = protocol._kex;
      if (exchange === undefined) return result;
      exchange.getPublicKey = () => offer.init;
      exchange.computeSecret = (reply) => {
        try {
          return offer.accept(reply);
        } catch (error) {
          return error as Error;
        }
      };
      return result;
    };
  };
}

function sendKey(protocol: ClientProtocol, key: Buffer): void {
  const payload = Buffer.alloc(5 + key.length);
  payload.writeUInt8(KEXDH_INIT);
  payload.writeUInt32BE(key.length, 1);
  key.copy(payload, 5);
  const packet = protocol._cipher.allocPacket(payload.length);
  payload.copy(packet, PACKET_HEAD);
  protocol._cipher.encrypt(packet);
}

/** Behind the request for the service, without waiting for that. */
function sendLoginAhead(protocol: ClientProtocol, user: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const service = protocol.service.bind(protocol);
  const authNone = protocol.authNone.bind(protocol);
  protocol.service = (name) => {
    protocol.service = service;
    service(name);
    authNone(user);
    // When the service has been accepted, ssh2 would send it.
    protocol.authNone = () => {
      protocol.authNone = authNone;
    };
    resolve();
  };
  return promise;
}

export interface WindowSize {
  /** In characters. */
  readonly columns: number;
  readonly rows: number;
}

/** What a session is to be, in the order in which it is asked for. */
export interface SessionRequests {
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Forward the agent of {@linkcode forwardAgent}. */
  readonly agent?: boolean | undefined;
  readonly terminal?:
    | { readonly name: string; readonly size: WindowSize; readonly modes: Uint8Array }
    | undefined;
  readonly program:
    | { readonly kind: "shell" }
    | { readonly kind: "exec"; readonly command: string }
    | { readonly kind: "subsystem"; readonly name: string };
}

export type SessionEnd =
  | { readonly kind: "exited"; readonly status: number }
  /** @member signal such as `SIGTERM` */
  | { readonly kind: "killed"; readonly signal: string }
  /** It closed and said neither, or the connection did. */
  | { readonly kind: "lost" };

export interface OpenedSession {
  readonly channel: ClientChannel;
  /** Resolves when the channel is closed and its outputs have been read. */
  readonly ended: Promise<SessionEnd>;
  /** What the server has not given; the program runs without. */
  readonly refused: readonly ("agent" | "terminal")[];
  resize(size: WindowSize): void;
  /** @param name without `SIG` */
  signal(name: string): void;
}

/** The server does not run the program. */
export class ProgramRefused extends Error {
  override readonly name = "ProgramRefused";
}

/**
 * Open a session, with all requests in one flight.
 *
 * @param foreseen the number that the server will give it: nothing waits for that then.
 * @throws {ProgramRefused}
 * @throws {Error} with the `reason` of RFC 4254 §5.1, if the channel was refused.
 */
export function openSession(
  client: Client,
  requests: SessionRequests,
  foreseen: number | undefined,
): Promise<OpenedSession> {
  const { _protocol: protocol, _chanMgr: numbers } = clientInsides(client);
  const { promise, resolve, reject } = Promise.withResolvers<OpenedSession>();
  const opened: Opened = (error, given) => {
    if (given === undefined) return reject(error);
    const channel = given as unknown as SessionChannel;
    const { id } = channel.outgoing;
    if (foreseen === undefined) sendRequests(protocol, id, requests);
    else if (id !== foreseen) return fail(protocol, "the server numbers its channels otherwise");
    const refused: ("agent" | "terminal")[] = [];
    // From now on: a program may have ended in the piece that brought this.
    const ended = endOf(given as unknown as ClientChannel);
    const { _callbacks: answers } = channel;
    const optional = (name: "agent" | "terminal"): void =>
      void answers.push((isRefused) => {
        if (isRefused !== false) refused.push(name);
      });
    if (requests.agent === true) optional("agent");
    if (requests.terminal !== undefined) optional("terminal");
    const mayUse = (): boolean => ["open", "eof"].includes(channel.outgoing.state);
    answers.push((isRefused) => {
      if (isRefused !== false) {
        given.close();
        return reject(new ProgramRefused("the server does not run that"));
      }
      resolve({
        channel: given as unknown as ClientChannel,
        ended,
        refused,
        resize({ rows, columns }) {
          if (mayUse()) protocol.windowChange(id, rows, columns, 0, 0);
        },
        signal(name) {
          if (mayUse()) protocol.signal(id, name);
        },
      });
    });
  };
  opened.type = "session";
  const local = numbers.add(opened);
  if (local === -1) reject(new Error("cannot open a session: there are too many channels"));
  else {
    protocol.session(local, 0, MAX_PACKET);
    if (foreseen !== undefined) sendRequests(protocol, foreseen, requests);
  }
  return promise;
}

function endOf(channel: ClientChannel): Promise<SessionEnd> {
  let end: SessionEnd = { kind: "lost" };
  channel.on("exit", (status: number | null, name?: string) => {
    if (status !== null) end = { kind: "exited", status };
    else if (name !== undefined) end = { kind: "killed", signal: name };
  });
  const outputs = [channel, channel.stderr].map(
    (output) => new Promise<void>((resolve) => void output.once("end", resolve)),
  );
  return new Promise((resolve) => {
    channel.once("close", () => void Promise.all(outputs).then(() => resolve(end)));
  });
}

function sendRequests(protocol: ClientProtocol, id: number, requests: SessionRequests): void {
  const { env = {}, agent, terminal, program } = requests;
  for (const [name, value] of Object.entries(env)) protocol.env(id, name, value, false);
  if (agent === true) protocol.openssh_agentForward(id, true);
  if (terminal !== undefined) {
    const { rows, columns } = terminal.size;
    protocol.pty(id, rows, columns, 0, 0, terminal.name, Buffer.from(terminal.modes), true);
  }
  switch (program.kind) {
    case "shell":
      return protocol.shell(id, true);
    case "exec":
      return protocol.exec(id, program.command, true);
    case "subsystem":
      return protocol.subsystem(id, program.name, true);
  }
}

/** Have each channel that the server opens to the agent lead to what `connect` gives. */
export function forwardAgent(client: Client, connect: () => Promise<Duplex>): void {
  const insides = clientInsides(client);
  insides._agentFwdEnabled = true;
  insides._agent = {
    getStream(done) {
      connect().then(
        (agent) => {
          // ssh2 joins the channel with what it is given, and hears of no error.
          const [near, far] = duplexPair();
          agent.on("error", () => {});
          agent.once("close", () => far.end());
          far.pipe(agent);
          agent.pipe(far, { end: false });
          done(undefined, near);
        },
        (error: Error) => done(error),
      );
    },
  };
}

/** Have `onmessage` called with what the server tells who wants details (RFC 4253 §11.3). */
export function hearMessages(client: Client, onmessage: (text: string) => void): void {
  const handle = (_of: never, _display: boolean, text: string): void => onmessage(text);
  clientInsides(client)._protocol._handlers["DEBUG"] = handle as never;
}

/** Makes channels of forwarding of those that a client has opened. */
export function flows(client: Client): (channel: ClientChannel) => Duplex {
  const { flowOf, breakAll } = flowChannels(insidesOf(client), "server");
  // Before ssh2 ends its channels.
  client.on("close", breakAll);
  return flowOf;
}
