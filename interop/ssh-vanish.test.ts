/**
 * SSH clients that are killed in every state that there is, over both transports: the node has nothing of theirs left.
 *
 * Over TCP the system tells the node at once. Over QUIC it notices by the idle time, or before that by ICMP: at the next
 * packet that it sends, which keeps the connection alive.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempDisposableSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { createEndpoint } from "@alknet/core/endpoint";
import { createIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import type { TransportOptions } from "@alknet/quic/transport-options";
import { ownAccount } from "@alknet/ssh/account";
import { ssh } from "@alknet/ssh/ssh";
import { inbound } from "@alknet/tunnel/inbound";
import { outbound } from "@alknet/tunnel/outbound";
import { collectGarbage } from "alknet/collect-garbage";
import { hostKeyOf } from "alknet/host-key";
import { TRANSPORTS, type Transport, until } from "./attack.ts";
import { ended, said } from "./attacked.ts";
import { echo, startTarget } from "./ssh-forwarding.ts";
import { EARLY_STATES, type State, STATES, type VanishSettings } from "./vanish-states.ts";

const MIB = 2 ** 20;
const SCOPES = [
  ...["ssh:exec", "ssh:shell", "ssh:agent", "tunnel:dial:localhost:*"],
  ...["tunnel:listen:localhost:*", "tunnel:listen:unix:/**"],
];
/** How long a QUIC connection may be silent, in milliseconds. */
const IDLE = 2_000;

/** A node with SSH in this process, whose home and temporary folder are its own. */
async function startNode(transport: TransportOptions = { idleTimeout: IDLE }) {
  await using made = new AsyncDisposableStack();
  const folder = made.use(mkdtempDisposableSync(join(tmpdir(), "alknet-"))).path;
  const usual = process.env["TMPDIR"];
  process.env["TMPDIR"] = folder;
  made.defer(() => {
    if (usual === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = usual;
  });
  const [identity, peer] = [createIdentity(), createIdentity()];
  const laptop = { peerId: "laptop", fingerprints: [peer.fingerprint], scopes: SCOPES };
  const ways = { outbound: outbound(), inbound: inbound() };
  const server = ssh({
    hostKey: hostKeyOf(new Uint8Array(32).fill(1)).file,
    // The tests may run as root, whom no peer is by default.
    accounts: () => ({ ...ownAccount(), shell: "/bin/sh", home: folder }),
    ...ways,
  });
  const node = made.use(
    await createEndpoint({
      identity,
      identities: made.use(staticIdentities([{ ...laptop, enabled: true }])),
      handlers: [server],
      listen: ["127.0.0.1:0"],
      limits: { exempt: ["127.0.0.1"] },
      transport,
    }),
  );
  const target = made.use(await startTarget(echo));
  const path = join(folder, "listener");
  const [{ port } = { port: 0 }] = node.addresses;

  /** What there is of clients, by kind. */
  const holdings = () => ({
    connections: [...node.connections].length,
    pending: node.limits.stats().pending,
    sessions: server.sessions,
    listeners: ways.inbound.listeners,
    flows: ways.outbound.flows,
    targets: target.sockets.size,
    files: readdirSync(folder),
    processes: processesAt(folder),
  });
  const owned = made.move();
  return {
    path,
    holdings,
    /** Have a client in each of these states. They are there when it resolves. */
    async vanishing(transport: Transport, states: readonly State[]): Promise<ChildProcess> {
      const settings: VanishSettings = {
        port,
        fingerprint: identity.fingerprint,
        key: Buffer.from(peer.privateKeyDer).toString("base64"),
        ...{ transport, states, target: target.port, path },
      };
      const program = join(import.meta.dirname, "vanish-peer.ts");
      const execArgv = ["--conditions=@alknet/source"];
      const child = fork(program, [JSON.stringify(settings)], { execArgv });
      await said(child);
      return child;
    },
    /** Until nothing of any client is left. */
    async nothingLeft(): Promise<void> {
      const nothing = { connections: 0, pending: 0, sessions: 0, listeners: 0, flows: 0 };
      const none = JSON.stringify({ ...nothing, targets: 0, files: [], processes: [] });
      await until(() => JSON.stringify(holdings()) === none, holdings);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Command lines of all processes whose home is `folder`. */
function processesAt(folder: string): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
      if (!environment.includes(`HOME=${folder}`)) return [];
      return [readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim()];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

function open(): { readonly resources: readonly string[]; readonly descriptors: number } {
  const resources = process.getActiveResourcesInfo().filter((name) => name !== "Immediate");
  return { resources: resources.toSorted(), descriptors: readdirSync("/proc/self/fd").length };
}

for (const transport of TRANSPORTS) {
  test(`clients over ${transport} that are killed, in whatever state, leave no process, socket, listener, channel or connection`, async () => {
    await using node = await startNode();
    const round = async (): Promise<void> => {
      const clients = await node.vanishing(transport, [...EARLY_STATES, ...STATES]);
      const held = node.holdings();
      assert.equal(held.connections, EARLY_STATES.length + STATES.length);
      const { sessions, listeners, flows } = held;
      assert.deepEqual({ sessions, listeners, flows }, { sessions: 4, listeners: 3, flows: 1 });
      assert.ok(existsSync(node.path));
      assert.ok(held.files.some((name) => name.startsWith("alknet-agent-")));
      for (const seconds of [1001, 1002, 1003, 1004, 1005, 1006]) {
        assert.ok(held.processes.includes(`sleep ${seconds}`), `sleep ${seconds}`);
      }
      await ended(clients);
      await node.nothingLeft();
    };
    // What is made once is there after the first.
    await round();
    const before = open();
    await round();
    await until(() => open().descriptors <= before.descriptors, open);
    await until(() => open().resources.length <= before.resources.length, open);
  });
}

test(
  "clients over QUIC that are killed are told of by ICMP, however long they might be silent",
  { skip: process.platform !== "linux" && "ICMP is heard on Linux alone" },
  async () => {
    await using node = await startNode({ idleTimeout: 0, keepAlive: 1_000 });
    await ended(await node.vanishing("quic", [...EARLY_STATES, ...STATES]));
    await node.nothingLeft();
  },
);

test("two hundred clients that are killed before they have logged in leave no memory behind", async () => {
  await using node = await startNode();
  /** Of one process, which is killed with them. */
  const together = EARLY_STATES.flatMap((state) => Array<State>(5).fill(state));
  const used = async (): Promise<number> => {
    await collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const figures: number[] = [];
  for (let count = 0; count < 200; count += together.length) {
    const transport = TRANSPORTS[figures.length % 2]!;
    await ended(await node.vanishing(transport, together));
    await node.nothingLeft();
    figures.push(await used());
  }
  // The first of each transport fill what is kept.
  assert.ok(figures.at(-1)! - figures[2]! < MIB, `bytes after each round: ${figures.join(", ")}`);
});
