/**
 * The sides of `ssh-revocation`: a node whose peers are in a store, and one process that is all of its peers, each with
 * two connections, over QUIC and over TCP.
 *
 *     ssh-revocation-worker.ts server store=PATH key=PATH
 *     ssh-revocation-worker.ts client peers=N
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { createDialer } from "@alknet/core/dialer";
import { createEndpoint } from "@alknet/core/endpoint";
import { formatHostPort } from "@alknet/core/host";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { bind } from "@alknet/quic/endpoint";
import { ownAccount } from "@alknet/ssh/account";
import { ALPN, ssh } from "@alknet/ssh/ssh";
import { inbound } from "@alknet/tunnel/inbound";
import { outbound } from "@alknet/tunnel/outbound";
import { number, obey, parseWords, text, untilLength } from "./commands.ts";
import { openBenchStore } from "./revocation-store.ts";
import {
  beginWork,
  type End,
  isListening,
  type Kind,
  type Part,
  startTarget,
  startWitness,
} from "./ssh-revocation-work.ts";

const [role, ...words] = process.argv.slice(2);
const given = parseWords(words);

if (role === "server") await serve();
else await dial();

async function serve(): Promise<void> {
  const identity = createIdentity();
  const handler = ssh({
    hostKey: readFileSync(text(given, "key"), "utf8"),
    // It opens connections by itself: /dev/tcp.
    accounts: () => ({ ...ownAccount(), shell: "/bin/bash" }),
    outbound: outbound(),
    inbound: inbound(),
  });
  const endpoint = await createEndpoint({
    identity,
    identities: await openBenchStore(text(given, "store")),
    handlers: [handler],
    listen: ["127.0.0.1:0"],
    // Every connection comes from one address here, which the limits per address are not for.
    limits: { exempt: ["127.0.0.0/8"] },
  });
  const [address] = endpoint.addresses;
  if (address === undefined) throw new Error("the endpoint has no address");
  await obey(`${formatHostPort(address)} ${identity.fingerprint}`, {
    live: () => ({ connections: [...endpoint.connections].length, sessions: handler.sessions }),
  });
}

async function dial(): Promise<void> {
  const identities = Array.from({ length: number(given, "peers") }, createIdentity);
  const dialer = createDialer({
    identities: staticIdentities([]),
    bind: () => bind({ address: "127.0.0.1" }),
  });
  const places = { target: await startTarget(), witness: await startWitness() };
  const ports: number[] = [];
  /** Since the last question. */
  let ends: End[] = [];
  await obey(identities.map(({ fingerprint }) => fingerprint).join(" "), {
    async begin(words) {
      const target = { address: text(words, "to"), fingerprint: text(words, "server") };
      for (const [peer, identity] of identities.entries()) {
        for (const transport of ["quic", "tcp"] as const) {
          const way = { identity, transports: [transport] };
          const connection = await dialer.dial(target, ALPN, way);
          const onend = (kind: Kind, part: Part): void =>
            void ends.push({ peer, kind, part, at: String(process.hrtime.bigint()) });
          ports.push(await beginWork(await connection.open(), places, onend));
        }
      }
      return {};
    },
    async ends(words) {
      await untilLength(ends, number(words, "least"));
      const answer = { ends };
      ends = [];
      return answer;
    },
    async listening() {
      const open = await Promise.all(ports.map(isListening));
      return { ports: open.filter(Boolean).length };
    },
  });
}
