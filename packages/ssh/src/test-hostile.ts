/**
 * For tests of this package: a client that sends whatever it likes to a server of ours, in memory.
 *
 * @module
 */

import { once } from "node:events";
import type { Duplex } from "node:stream";
import { staticIdentities } from "@alknet/core/static-identities";
import { connectionPair, FakeClock } from "@alknet/core/testing";
import ssh2 from "ssh2";
import { ownAccount } from "./account.ts";
import { ssh } from "./ssh.ts";
import { HOST, LAPTOP } from "./test-keys.ts";

/** Channels of one connection, at most. */
export const CHANNELS: number = 256;

/** What a test uses of ssh2's protocol, at either end. */
export interface Protocol {
  readonly _cipher: {
    allocPacket(length: number): Buffer;
    encrypt(packet: Buffer): void;
  };
  readonly _handlers: Record<string, (...args: never[]) => void>;
  rekey(): void;
}

/** Send a message of any content, sealed as it should be. */
export function send({ _cipher: cipher }: Protocol, payload: Buffer): void {
  const packet = cipher.allocPacket(payload.length);
  packet.set(payload, 5);
  cipher.encrypt(packet);
}

export interface Hostile extends AsyncDisposable {
  readonly stream: Duplex;
  readonly handler: ReturnType<typeof ssh>;
  /** Resolves when the server has done with the connection. */
  readonly served: Promise<void>;
  /** Exchange keys by way of ssh2's own client, and log in with a key, or with none. */
  login(hasKey: boolean): Promise<{ client: ssh2.Client; protocol: Protocol }>;
}

/** A stream to a server that knows one peer. */
export async function connectHostile(): Promise<Hostile> {
  const { fingerprint, privateKey } = LAPTOP;
  const peer = { peerId: "laptop", fingerprints: [fingerprint], scopes: ["ssh:exec"] };
  const identities = staticIdentities([{ ...peer, enabled: true }]);
  const clock = new FakeClock();
  const accounts = () => ({ ...ownAccount(), shell: "/bin/sh" });
  const limits = { channels: CHANNELS };
  const handler = ssh({ hostKey: HOST.privateKey, accounts, clock, limits });
  const pair = connectionPair({ auth: { server: { identities, fingerprint: undefined } } });
  const served = handler.handle(pair.server);
  const stream = await pair.client.open();
  stream.on("error", () => {});
  // What has been ended here lingers until the peer has read that.
  const ended = served.then(() => {});
  const linger = setInterval(() => clock.advance(1_000), 5);
  void ended.finally(() => clearInterval(linger));
  return {
    stream,
    handler,
    served: ended,
    async login(hasKey) {
      const client = new ssh2.Client();
      const over = new Promise<never>((_resolve, reject) => {
        client.on("error", reject);
        client.once("close", () => reject(new Error("closed")));
      });
      over.catch(() => {});
      const authHandler = hasKey ? undefined : () => undefined;
      client.connect({
        sock: stream as never,
        username: "me",
        privateKey,
        readyTimeout: 0,
        authHandler: authHandler as never,
      });
      const gone = ended.then(() => Promise.reject(new Error("the server has left")));
      gone.catch(() => {});
      await Promise.race([once(client, hasKey ? "ready" : "handshake"), over, gone]);
      const { _protocol: protocol } = client as unknown as { _protocol: Protocol };
      return { client, protocol };
    },
    async [Symbol.asyncDispose]() {
      pair.client.abort(0);
      await served;
      identities[Symbol.dispose]();
    },
  };
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function string(text: string): Buffer {
  return Buffer.concat([u32(text.length), Buffer.from(text)]);
}
