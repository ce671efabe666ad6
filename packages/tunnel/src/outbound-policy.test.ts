/**
 * What `outbound()` connects to, held against a specification that is too simple to be wrong: addresses are
 * strings of bits, names are compared label by label.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { outbound } from "./outbound.ts";
import { FlowRefused } from "./refused.ts";
import { testPeer } from "./testing.ts";
import { decodeRequest, encodeRequest } from "./wire/open.ts";

const never = new AbortController().signal;

interface Rule {
  readonly host:
    | { readonly kind: "any" }
    | { readonly kind: "name"; readonly labels: readonly string[] }
    | { readonly kind: "block"; readonly address: readonly number[]; readonly prefix: number };
  readonly low: number;
  readonly high: number;
}

const bits = (address: readonly number[]): string =>
  address.map((byte) => byte.toString(2).padStart(8, "0")).join("");

/** Blocks that only a block within them opens. */
const SPECIAL = [
  bits([169, 254, 169, 254]),
  bits([192, 0, 0, 192]),
  bits([255, 255, 255, 255]),
  bits([169, 254]),
  bits([127]),
  bits([0]),
  bits([224]).slice(0, 4),
];

function allowed(rule: Rule, name: string | undefined, address: readonly number[], port: number) {
  if (port < rule.low || port > rule.high) return false;
  const asked = bits(address);
  const special = SPECIAL.find((block) => asked.startsWith(block));
  if (rule.host.kind === "block") {
    const block = bits(rule.host.address).slice(0, rule.host.prefix);
    return asked.startsWith(block) && (special === undefined || block.startsWith(special));
  }
  if (special !== undefined) return false;
  if (rule.host.kind === "any") return true;
  const labels = name?.toLowerCase().replace(/\.$/, "").split(".");
  const pattern = rule.host.labels;
  if (labels === undefined) return false;
  // A star in front stands for any labels, at least for a part of one.
  if (pattern[0] === "*") {
    const end = pattern.slice(1);
    return labels.length > end.length && labels.slice(-end.length).join() === end.join();
  }
  return labels.join() === pattern.join();
}

const byte = fc.constantFrom(0, 1, 10, 127, 128, 169, 192, 254, 255);
const address = fc.oneof(
  fc.tuple(byte, byte, byte, byte),
  fc.constantFrom(
    [127, 0, 0, 1],
    [169, 254, 169, 254],
    [169, 254, 1, 1],
    [192, 0, 0, 192],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
    [10, 0, 0, 1],
  ),
);
const name = fc.constantFrom("db.internal", "web.db.internal", "internal", "db.example");
const block = fc.tuple(address, fc.nat({ max: 32 })).map(([address, prefix]) => {
  const kept = bits(address).slice(0, prefix).padEnd(32, "0").match(/.{8}/g)!;
  return { kind: "block", address: kept.map((each) => Number.parseInt(each, 2)), prefix } as const;
});
const port = fc.constantFrom(1, 79, 80, 81, 443, 65_535);
const rule: fc.Arbitrary<Rule> = fc
  .tuple(
    fc.oneof(
      fc.constant({ kind: "any" } as const),
      name.map((text) => ({ kind: "name", labels: text.split(".") }) as const),
      name.map((text) => ({ kind: "name", labels: ["*", ...text.split(".")] }) as const),
      block,
    ),
    port,
    port,
  )
  .map(([host, a, b]) => ({ host, low: Math.min(a, b), high: Math.max(a, b) }));

/** A scope as somebody may write the rule. */
function written({ host, low, high }: Rule, odd: boolean): string {
  const ports = low === high ? `${low}` : `${low}-${high}`;
  switch (host.kind) {
    case "any":
      return `tunnel:dial:*:${ports}`;
    case "name": {
      const text = host.labels.join(".");
      return `tunnel:dial:${odd ? `${text.toUpperCase()}.` : text}:${ports}`;
    }
    case "block": {
      const text = host.address.join(".");
      if (odd) return `tunnel:dial:[::ffff:${text}/${96 + host.prefix}]:${ports}`;
      return `tunnel:dial:${text}${host.prefix === 32 ? "" : `/${host.prefix}`}:${ports}`;
    }
  }
}

/** The addresses that were connected to, in order; none of them answers. */
async function tried(
  scopes: readonly string[],
  host: string,
  port: number,
  resolved: readonly string[],
): Promise<string[]> {
  const addresses: string[] = [];
  const out = outbound({
    resolve: async () => resolved,
    connect: async (address) => {
      addresses.push(address);
      throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    },
  });
  const { auth } = testPeer(...scopes);
  // As a peer asks for it.
  const { value } = decodeRequest(encodeRequest({ kind: "tcp", host, port }))!;
  assert.ok(value.kind === "tcp");
  await assert.rejects(out.connect(auth, value, { signal: never }), (error) => {
    assert.ok(error instanceof FlowRefused);
    assert.equal(error.refusal, addresses.length > 0 ? "refused" : "not-allowed");
    return true;
  });
  assert.equal(out.flows, 0);
  return addresses;
}

test("of the addresses of a name, connect() tries those that some scope covers, and no other", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { minLength: 1, maxLength: 3 }),
      fc.tuple(name, fc.boolean()),
      port,
      fc.uniqueArray(address, { minLength: 1, maxLength: 4, selector: String }),
      fc.boolean(),
      async (rules, [name, odd], port, addresses, mapped) => {
        const host = odd ? `${name.toUpperCase()}.` : name;
        const scopes = rules.map((each) => written(each, odd));
        const resolved = addresses.map((each) => `${mapped ? "::ffff:" : ""}${each.join(".")}`);
        const expected = resolved.filter((_, at) =>
          rules.some((each) => allowed(each, name, addresses[at]!, port)),
        );
        assert.deepEqual(await tried(scopes, host, port, resolved), expected);
      },
    ),
    { numRuns: 500 },
  );
});

test("connect() takes an address that is asked for itself as it would a resolved one, also within IPv6", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { minLength: 1, maxLength: 3 }),
      port,
      address,
      fc.boolean(),
      async (rules, port, address, mapped) => {
        const host = `${mapped ? "::ffff:" : ""}${address.join(".")}`;
        const scopes = rules.map((each) => written(each, false));
        const expected = rules.some((each) => allowed(each, undefined, address, port));
        assert.deepEqual(await tried(scopes, host, port, []), expected ? [host] : []);
      },
    ),
    { numRuns: 500 },
  );
});

/** A server at each of two loopback addresses, at the same port. */
async function twoServers() {
  const seen: string[] = [];
  const live: Socket[] = [];
  const listen = async (host: string, port: number) => {
    const server = createServer((socket) => {
      live.push(socket.on("error", () => {}));
      seen.push(host);
      socket.end();
    }).listen({ host, port });
    await once(server, "listening");
    return server;
  };
  const first = await listen("127.0.0.2", 0);
  const { port } = first.address() as { port: number };
  const second = await listen("127.0.0.3", port);
  return {
    port,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of live) socket.destroy();
      await first[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
    },
  };
}

test("a resolver that changes its mind gains nothing: the address that was checked is connected to", async () => {
  await using servers = await twoServers();
  const { port, seen } = servers;
  const answers = [["127.0.0.2"], ["127.0.0.3"], ["127.0.0.3", "127.0.0.2"], ["::ffff:127.0.0.3"]];
  let asked = 0;
  const out = outbound({ resolve: async () => answers[asked++ % answers.length]! });
  const { auth } = testPeer(`tunnel:dial:127.0.0.2:${port}`, "tunnel:dial:rebind.example:*");
  const target = { host: "rebind.example", port };
  for (const reaches of [true, false, true, false]) {
    const connecting = out.connect(auth, target, { signal: never });
    if (!reaches) {
      await assert.rejects(connecting, { refusal: "not-allowed" });
      continue;
    }
    using flow = await connecting;
    assert.equal(flow.socket.remoteAddress, "127.0.0.2");
    flow.socket.destroy();
  }
  assert.equal(asked, 4);
  assert.deepEqual(new Set(seen), new Set(["127.0.0.2"]));
});
