/**
 * Requests for forwarding that make no sense, after a login: global requests, and channels to be opened.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { staticIdentities } from "@alknet/core/static-identities";
import { connectionPair } from "@alknet/core/testing";
import { ownAccount } from "@alknet/ssh/account";
import { ssh } from "@alknet/ssh/ssh";
import { inbound } from "@alknet/tunnel/inbound";
import { outbound } from "@alknet/tunnel/outbound";
import * as fc from "fast-check";
import ssh2 from "ssh2";
import { echo, startTarget, until } from "./ssh-forwarding.ts";

const GLOBAL_REQUEST = 80;
const CHANNEL_OPEN = 90;
/** `ed25519:` and what no key has: TLS is said to have proved it. */
const FINGERPRINT = `ed25519:${"ab".repeat(32)}`;

interface Protocol {
  readonly _cipher: { allocPacket(length: number): Buffer; encrypt(packet: Buffer): void };
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const string = (text: string): Buffer =>
  Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)]);

const hosts = fc.oneof(
  fc.constantFrom(
    ...["localhost", "127.0.0.1", "::1", "", "*", "a.test", "[::1]", "fe80::1%lo", "A."],
  ),
  fc.string({ unit: "binary", maxLength: 300 }),
);
const ports = fc.constantFrom(0, 0, 65_535, 65_535, 65_536, 2 ** 32 - 1);
const paths = fc.oneof(fc.constantFrom("/", "", "relative", `/${"x".repeat(200)}`, "/a\0b"), hosts);
const place = fc
  .tuple(hosts, ports)
  .map(([host, port]) => Buffer.concat([string(host), u32(port)]));
const both = fc.tuple(place, place).map((each) => Buffer.concat(each));
const path = paths.map(string);
/** Names, each with a body of its kind. */
const asked = fc.oneof(
  fc.tuple(fc.constantFrom("tcpip-forward", "cancel-tcpip-forward"), place),
  fc.tuple(fc.constantFrom("streamlocal-forward@openssh.com", "keepalive@openssh.com"), path),
);
const request = fc
  .tuple(asked, fc.boolean())
  .map(([[name, body], wantsReply]) =>
    Buffer.concat([Buffer.of(GLOBAL_REQUEST), string(name), Buffer.of(wantsReply ? 1 : 0), body]),
  );
const wanted = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constant("direct-tcpip"), both) },
  fc.tuple(fc.constantFrom("forwarded-tcpip", "session", "none"), both),
  fc.tuple(fc.constant("direct-streamlocal@openssh.com"), path),
);
const numbers = fc.tuple(
  ...[fc.nat(8), fc.constantFrom(0, 1, 2 ** 21, 2 ** 32 - 1), fc.constantFrom(0, 256, 2 ** 15)],
);
const opening = fc
  .tuple(wanted, numbers)
  .map(([[type, body], each]) =>
    Buffer.concat([Buffer.of(CHANNEL_OPEN), string(type), ...each.map(u32), body]),
  );
/** As it is, cut short, or with a byte that is another. */
const message = fc
  .tuple(
    fc.oneof(request, opening),
    fc.nat(),
    fc.nat(255),
    fc.constantFrom("as is", "as is", "as is", "cut", "changed"),
  )
  .map(([bytes, at, value, how]) => {
    if (how === "cut") return bytes.subarray(0, 1 + (at % bytes.length));
    const copy = Buffer.from(bytes);
    if (how === "changed") copy[1 + (at % (bytes.length - 1))] = value;
    return copy;
  });

test("whatever is asked for is answered or the end, and leaves no listener, flow or attempt", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-ssh-fuzz-"));
  execFileSync("ssh-keygen", [
    "-q",
    "-t",
    "ed25519",
    "-N",
    "",
    "-C",
    "",
    "-f",
    join(folder, "host"),
  ]);
  const hostKey = readFileSync(join(folder, "host"), "utf8");
  await using target = await startTarget(echo);
  // Wherever it wants to go, it gets to the target.
  let reached = 0;
  const reach = async (): Promise<Socket> => {
    reached++;
    const socket = connect({ host: "127.0.0.1", port: target.port, allowHalfOpen: true });
    await once(socket, "connect");
    return socket.pause();
  };
  const ways = {
    outbound: outbound({ resolve: async () => ["127.0.0.1"], connect: reach }),
    inbound: inbound(),
  };
  const scopes = ["tunnel:dial:localhost:*", "tunnel:listen:localhost:*"];
  using identities = staticIdentities([
    { peerId: "laptop", fingerprints: [FINGERPRINT], scopes, enabled: true },
  ]);
  const accounts = () => ownAccount();
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 12 }), async (messages) => {
      await using pair = connectionPair({
        auth: { server: { identities, fingerprint: FINGERPRINT } },
      });
      const served = ssh({ hostKey, accounts, ...ways }).handle(pair.server);
      const client = new ssh2.Client();
      client.on("error", () => {});
      client.connect({ sock: (await pair.client.open()) as never, username: "me" });
      await once(client, "ready");
      const { _cipher: cipher } = (client as unknown as { _protocol: Protocol })._protocol;
      for (const payload of messages) {
        const packet = cipher.allocPacket(payload.length);
        packet.set(payload, 5);
        cipher.encrypt(packet);
        await turn();
      }
      client.end();
      pair.client.abort(0);
      await served;
      await until(() => ways.inbound.listeners === 0 && ways.outbound.flows === 0);
      await until(() => target.sockets.size === 0);
    }),
    { numRuns: 150, seed: 7 },
  );
  assert.ok(reached > 0);
  rmSync(folder, { recursive: true });
});
