/**
 * The sides of the revocation bench: a node whose peers are in a store, and one process that is all of its
 * peers.
 *
 *     revocation-worker.ts server store=PATH-OR-URL
 *     revocation-worker.ts client peers=N each=N
 *
 * @module
 */

import { createDialer } from "@alknet/core/dialer";
import { createEndpoint } from "@alknet/core/endpoint";
import type { ProtocolHandler } from "@alknet/core/handler";
import { formatHostPort } from "@alknet/core/host";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { bind } from "@alknet/quic/endpoint";
import { number, obey, parseWords, text, untilLength } from "./commands.ts";
import { openBenchStore } from "./revocation-store.ts";

const ALPN = "alknet/bench";

const [role, ...words] = process.argv.slice(2);
const given = parseWords(words);

if (role === "server") await serve();
else await dial();

async function serve(): Promise<void> {
  const store = await openBenchStore(text(given, "store"));
  const handler: ProtocolHandler = {
    alpns: [ALPN],
    access: "peers",
    tls: "node",
    async handle(connection) {
      const stream = await connection.accept();
      stream?.on("error", () => {});
      stream?.write("!");
      await connection.closed;
    },
  };
  const identity = createIdentity();
  const endpoint = await createEndpoint({
    identity,
    identities: store,
    handlers: [handler],
    listen: ["127.0.0.1:0"],
    // Every connection comes from one address here, which the limits per address are not for.
    limits: { exempt: ["127.0.0.0/8"] },
  });
  const [address] = endpoint.addresses;
  if (address === undefined) throw new Error("the endpoint has no address");
  await obey(`${formatHostPort(address)} ${identity.fingerprint}`, {
    live: () => ({ live: [...endpoint.connections].length }),
  });
}

async function dial(): Promise<void> {
  const identities = Array.from({ length: number(given, "peers") }, createIdentity);
  const dialer = createDialer({
    identities: staticIdentities([]),
    bind: () => bind({ address: "127.0.0.1" }),
  });
  /** Closes since the last question: which peer, and when, in nanoseconds of the machine's own clock. */
  let closes: { peer: number; at: string; transport: string }[] = [];
  await obey(identities.map(({ fingerprint }) => fingerprint).join(" "), {
    async connect(words) {
      const target = { address: text(words, "to"), fingerprint: text(words, "server") };
      for (const [peer, identity] of identities.entries()) {
        for (let at = 0; at < number(given, "each"); at += 1) {
          const transport = (peer + at) % 2 === 0 ? "quic" : "tcp";
          const connection = await dialer.dial(target, ALPN, { identity, transports: [transport] });
          const stream = await connection.open();
          // What ends with its connection says so as an error; that is what is waited for here.
          stream.on("error", () => {});
          await new Promise((resolve) => {
            stream.once("data", resolve);
            stream.write("?");
          });
          void connection.closed.then(() =>
            closes.push({ peer, at: String(process.hrtime.bigint()), transport }),
          );
        }
      }
      return {};
    },
    async closes(words) {
      await untilLength(closes, number(words, "least"));
      const answer = { closes };
      closes = [];
      return answer;
    },
  });
}
