/**
 * UDP through `alknet forward --udp` and `alknet socks`, with the programs that people have: dig, iperf3 and PySocks.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LARGE_ANSWER, startDnsServer } from "./dns-server.ts";
import type { Machine } from "./machine.ts";
import type { Program } from "./program.ts";
import { startNode, twoMachines } from "./two-machines.ts";

const DNS = 53;
const LOCAL_DNS = 5353;
const IPERF = 5201;
const SOCKS = 1080;

const stack = new AsyncDisposableStack();
let den: Machine;
let laptop: Machine;
let node: Program;
let ticket: string;
let key: string;

before(async () => {
  ({ den, laptop, key } = stack.use(await twoMachines()));
  stack.use(await startDnsServer(den.namespace, DNS));
  stack.use(den.command("iperf3", "--server", "--bind", "127.0.0.1", "--forceflush"));
  den.configure(rights(`tunnel:dial:localhost:${DNS}`, `tunnel:dial:localhost:${IPERF}`));
  ({ node, ticket } = await startNode(den));
  stack.use(node);
});

after(() => stack.disposeAsync());

const rights = (...scopes: string[]): string => `
name = "den"

[peers.laptop]
fingerprint = "${key}"
scopes = ${JSON.stringify(scopes)}
`;

/** A forward that listens. */
async function forward(...words: string[]): Promise<Program> {
  const program = laptop.start("forward", "--json", ...words);
  await program.waitFor(/^\{"event":"listening".*\}$/m);
  return program;
}

async function dig(...words: string[]): Promise<string> {
  const at = ["@127.0.0.1", "-p", String(LOCAL_DNS), "+short", "+notcp", "+ignore", "+tries=5"];
  const { status, stdout, stderr } = await laptop.command("dig", ...at, ...words).ended;
  assert.equal(status, 0, stdout + stderr);
  return stdout.trim();
}

for (const transport of ["quic", "tcp"] as const) {
  test(`dig asks a DNS server through forward --udp, and gets short and long answers (${transport})`, async () => {
    const spec = `${LOCAL_DNS}:localhost:${DNS}`;
    await using program = await forward("--udp", `--${transport}`, ticket, spec);
    const event = JSON.parse(program.stdout) as { transport: string; forwards: unknown };
    assert.equal(event.transport, transport);
    assert.deepEqual(event.forwards, [
      { listen: `127.0.0.1:${LOCAL_DNS}`, target: `localhost:${DNS}`, protocol: "udp" },
    ]);
    assert.equal(await dig("db.example", "A"), "192.0.2.53");
    // 4 KiB fit no datagram of a path with 1,500 bytes.
    assert.equal(await dig("+bufsize=8192", "large.example", "TXT"), LARGE_ANSWER);
    // Each question comes from a port of its own.
    const names = Array.from({ length: 20 }, (_, at) => `host-${at}.example`);
    const answers = await Promise.all(names.map((name) => dig(name, "A")));
    assert.deepEqual(new Set(answers), new Set(["192.0.2.53"]));
    await program.stop("SIGINT");
  });

  test(`iperf3 sends UDP both ways through the forwards (${transport})`, async () => {
    const spec = `${IPERF}:localhost:${IPERF}`;
    await using _tcp = await forward(`--${transport}`, ticket, spec);
    await using _udp = await forward("--udp", `--${transport}`, ticket, spec);
    for (const direction of [[], ["--reverse"]]) {
      const words = ["-c", "127.0.0.1", "-u", "-l", "1200", "-b", "20M", "-t", "2", "--json"];
      const { stdout, stderr } = await laptop.command("iperf3", ...words, ...direction).ended;
      const { end, error } = JSON.parse(stdout) as IperfReport;
      assert.equal(error, undefined, stdout + stderr);
      assert.ok(end.sum.packets > 1_000, stdout);
      // A loaded machine loses some: as many as on the wire, not most.
      assert.ok(end.sum.lost_percent < 50, `${end.sum.lost_percent} % lost`);
    }
  });
}

/**
 * Takes what dig sends, and has PySocks ask for it through the proxy: dig itself knows no proxies.
 */
const THROUGH_SOCKS = `
import socket, socks, sys
local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
local.bind(("127.0.0.1", ${LOCAL_DNS}))
proxy = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
proxy.set_proxy(socks.SOCKS5, "127.0.0.1", ${SOCKS}, rdns=True)
print("listening", flush=True)
while True:
    query, client = local.recvfrom(65535)
    proxy.sendto(query, ("127.0.0.1", ${DNS}))
    answer, source = proxy.recvfrom(65535)
    assert source == ("127.0.0.1", ${DNS}), source
    local.sendto(answer, client)
`;

for (const transport of ["quic", "tcp"] as const) {
  test(`dig asks through SOCKS 5's UDP ASSOCIATE, by PySocks (${transport})`, async () => {
    await using program = laptop.start("socks", "--json", `--${transport}`, ticket);
    await program.waitFor(/^\{"event":"listening".*\}$/m);
    // The one that has the distribution's PySocks, whatever is first in the path.
    await using client = laptop.command("/usr/bin/python3", "-c", THROUGH_SOCKS);
    await client.waitFor(/listening/);
    assert.equal(await dig("db.example", "A"), "192.0.2.53");
    assert.equal(await dig("+bufsize=8192", "large.example", "TXT"), LARGE_ANSWER);
  });
}

interface IperfReport {
  readonly end: { readonly sum: { readonly packets: number; readonly lost_percent: number } };
  readonly error?: string;
}

test("a right to UDP that is taken back ends the flow, and who asks is told", async () => {
  const spec = `${LOCAL_DNS}:localhost:${DNS}`;
  await using program = await forward("--udp", ticket, spec);
  assert.equal(await dig("db.example", "A"), "192.0.2.53");
  const told = node.output.length;
  den.configure(rights(`tunnel:dial:localhost:${IPERF}`));
  await node.waitFor(/config/i, { after: told });
  const asked = laptop.command(
    "dig",
    "@127.0.0.1",
    "-p",
    String(LOCAL_DNS),
    "+tries=1",
    "+time=1",
    "a",
  );
  const { event } = JSON.parse((await program.waitFor(/^\{"event":"refused".*\}$/m))[0]) as {
    event: string;
  };
  assert.equal(event, "refused");
  assert.match(program.stdout, new RegExp(`tunnel:dial:localhost:${DNS}`));
  assert.notEqual((await asked.ended).status, 0);
});
