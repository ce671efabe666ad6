import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "./fake-clock.ts";
import { type Caps, PENALTIES, type Penalty } from "./limit-values.ts";
import {
  type Admission,
  AdmissionLimits,
  type AlpnClass,
  type ConnectionSlot,
  type PendingHandshake,
} from "./limits.ts";

interface Rig {
  readonly clock: FakeClock;
  readonly limits: AdmissionLimits;
  /** Names of handshakes that were dropped, in order. */
  readonly dropped: string[];
  /** Begin on TCP; the handshake must be admitted. */
  enter(address: string, name?: string): PendingHandshake;
  outcome(address: string, transport?: "quic" | "tcp", validated?: boolean): string;
}

function rig(options: { exempt?: string[]; caps?: Partial<Caps> } = {}): Rig {
  const clock = new FakeClock();
  const limits = new AdmissionLimits({ clock, ...options });
  const dropped: string[] = [];
  const begin = (
    address: string,
    transport: "quic" | "tcp",
    validated: boolean,
    name = address,
  ): Admission => limits.begin({ address, validated }, transport, () => dropped.push(name));
  return {
    clock,
    limits,
    dropped,
    enter(address, name) {
      const admission = begin(address, "tcp", true, name);
      assert.ok(admission.outcome === "accept", admission.outcome);
      return admission.handshake;
    },
    outcome(address, transport = "tcp", validated = transport === "tcp") {
      const admission = begin(address, transport, validated);
      if (admission.outcome === "accept") admission.handshake.failed();
      return "reason" in admission
        ? `${admission.outcome}: ${admission.reason}`
        : admission.outcome;
    },
  };
}

/** Have `address` misbehave `times` times. */
function offend(on: Rig, address: string, penalty: Penalty, times = 1): void {
  for (let count = 0; count < times; count++) on.enter(address).failed(penalty);
}

/** The nth address of many. */
function ip(index: number): string {
  return `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
}

test("penalties add up, take effect at 15 s, and pass", () => {
  const r = rig();
  offend(r, "192.0.2.1", "auth", 2);
  assert.equal(r.outcome("192.0.2.1"), "accept");
  offend(r, "192.0.2.1", "auth");
  assert.equal(r.outcome("192.0.2.1"), "refuse: penalty");
  assert.equal(r.limits.penalty("192.0.2.1"), 15_000);
  assert.equal(r.outcome("192.0.2.2"), "accept");
  r.clock.advance(14_999);
  assert.equal(r.outcome("192.0.2.1"), "refuse: penalty");
  r.clock.advance(1);
  assert.equal(r.outcome("192.0.2.1"), "accept");
  assert.deepEqual(r.limits.stats(), { pending: 0, connections: 0, blocks: 0 });
});

test("every penalty has its weight", () => {
  const first: Record<Penalty, number> = { auth: 3, "unknown-key": 15, timeout: 2, malformed: 3 };
  for (const [penalty, count] of Object.entries(first) as [Penalty, number][]) {
    const r = rig();
    offend(r, "192.0.2.1", penalty, count - 1);
    assert.equal(r.outcome("192.0.2.1"), "accept", penalty);
    offend(r, "192.0.2.1", penalty);
    assert.equal(r.outcome("192.0.2.1"), "refuse: penalty", penalty);
  }
});

test("mistakes that are far enough apart are forgotten", () => {
  const r = rig();
  for (let count = 0; count < 100; count++) {
    offend(r, "192.0.2.1", "timeout");
    r.clock.advance(PENALTIES.timeout);
  }
  assert.equal(r.outcome("192.0.2.1"), "accept");
  assert.equal(r.limits.stats().blocks, 0);
});

test("penalties never add up to more than 600 s", () => {
  const r = rig();
  const pending = Array.from({ length: 16 }, () => r.enter("192.0.2.1"));
  const slots = pending.map((each) => each.succeeded(undefined, "web")!);
  for (let count = 0; count < 100; count++) for (const slot of slots) slot.penalize("timeout");
  assert.equal(r.limits.penalty("192.0.2.1"), 600_000);
  r.clock.advance(600_000);
  assert.equal(r.outcome("192.0.2.1"), "accept");
});

test("a connection is charged also when it has ended in the meantime", () => {
  const r = rig();
  for (let count = 0; count < 3; count++) {
    const slot = r.enter("192.0.2.1").succeeded(undefined, "keyed")!;
    // Who guesses and leaves before the answer has guessed.
    slot[Symbol.dispose]();
    slot.penalize("auth");
  }
  assert.equal(r.outcome("192.0.2.1"), "refuse: penalty");
  r.clock.advance(15_000);
  assert.equal(r.outcome("192.0.2.1"), "accept");
  assert.equal(r.limits.stats().blocks, 0);
});

test("a block is an IPv4 address, mapped or not, or an IPv6 /64", () => {
  const r = rig();
  offend(r, "192.0.2.1", "timeout");
  offend(r, "::ffff:192.0.2.1", "timeout");
  assert.equal(r.outcome("::ffff:c000:201"), "refuse: penalty");
  offend(r, "2001:db8:1:2::1", "timeout");
  offend(r, "2001:db8:1:2:ffff::2%eth0", "timeout");
  assert.equal(r.outcome("2001:db8:1:2:3:4:5:6"), "refuse: penalty");
  assert.equal(r.outcome("2001:db8:1:3::1"), "accept");
  assert.equal(r.outcome("not an address"), "refuse: source");
});

test("a source that is not proved earns no penalty, and gets no answer while its block has one", () => {
  const r = rig();
  const fail = (validated: boolean, later?: boolean): void => {
    const admission = r.limits.begin({ address: "192.0.2.1", validated }, "quic", () => {});
    assert.ok(admission.outcome === "accept");
    admission.handshake.failed("timeout", later);
  };
  for (let count = 0; count < 100; count++) fail(false);
  assert.equal(r.limits.penalty("192.0.2.1"), 0);
  assert.equal(r.limits.stats().blocks, 0);
  fail(true);
  fail(false, true); // proved on the way
  assert.ok(r.limits.penalty("192.0.2.1") > 0);
  assert.equal(r.outcome("192.0.2.1", "quic", false), "ignore: penalty");
  assert.equal(r.outcome("192.0.2.1", "quic", true), "refuse: penalty");
  assert.equal(r.outcome("192.0.2.1", "tcp"), "refuse: penalty");
});

test("QUIC has to prove its address while 64 handshakes are pending", () => {
  const r = rig();
  const pending = Array.from({ length: 63 }, (_, index) => r.enter(ip(index)));
  assert.equal(r.outcome("192.0.2.1", "quic"), "accept");
  pending.push(r.enter(ip(63)));
  assert.equal(r.outcome("192.0.2.1", "quic"), "retry");
  assert.equal(r.outcome("192.0.2.1", "quic", true), "accept");
  assert.equal(r.outcome("192.0.2.1", "tcp"), "accept");
  pending.pop()!.failed();
  assert.equal(r.outcome("192.0.2.1", "quic"), "accept");
});

test("a block with 16 pending drops its oldest for a newcomer, but for none that is not proved", () => {
  const r = rig();
  for (let index = 0; index < 16; index++) r.enter("192.0.2.1", `#${index}`);
  assert.equal(r.outcome("192.0.2.1", "quic"), "retry");
  assert.equal(r.dropped.length, 0);
  r.enter("192.0.2.1", "#16");
  r.enter("192.0.2.1", "#17");
  assert.deepEqual(r.dropped, ["#0", "#1"]);
  r.enter("192.0.2.2");
  assert.deepEqual(r.dropped, ["#0", "#1"]);
  assert.equal(r.limits.stats().pending, 17);
});

test("a block with an authenticated connection may have 256 pending, until that ends", () => {
  const r = rig();
  const slot = r.enter("192.0.2.1").succeeded("laptop", "peer")!;
  for (let index = 0; index < 256; index++) r.enter("192.0.2.1", `#${index}`);
  assert.equal(r.dropped.length, 0);
  r.enter("192.0.2.1");
  assert.deepEqual(r.dropped, ["#0"]);
  slot[Symbol.dispose]();
  slot[Symbol.dispose]();
  r.enter("192.0.2.1");
  assert.deepEqual(r.dropped, ["#0", "#1"]);
});

test("with 1,024 pending, the oldest of the block that has most makes room", () => {
  const r = rig();
  for (let round = 0; round < 12; round++) r.enter("192.0.2.9", `most #${round}`);
  for (let index = 0; r.limits.stats().pending < 1_024; index++)
    r.enter(ip(index % 250), `${index}`);
  assert.equal(r.dropped.length, 0);
  r.enter("198.51.100.1", "newcomer");
  assert.deepEqual(r.dropped, ["most #0"]);
  for (let count = 0; count < 10; count++) r.enter(`198.51.100.${count + 2}`, "newcomer");
  // Taken down to the level of the others, and then one from each in turn.
  assert.ok(r.dropped.filter((name) => name.startsWith("most")).length >= 7);
  assert.ok(!r.dropped.includes("newcomer"));
  assert.equal(r.limits.stats().pending, 1_024);
});

test("what was dropped is over: its methods do nothing any more", () => {
  const r = rig({ caps: { pendingPerBlock: 1 } });
  const first = r.enter("192.0.2.1");
  const second = r.enter("192.0.2.1");
  first.failed("timeout");
  assert.equal(first.succeeded("laptop", "peer"), undefined);
  assert.deepEqual(r.limits.stats(), { pending: 1, connections: 0, blocks: 1 });
  second.failed("timeout");
  second.failed("timeout");
  assert.equal(r.limits.penalty("192.0.2.1"), 0);
  assert.equal(r.limits.stats().pending, 0);
});

test("a drop may call back in, and begin another", () => {
  const clock = new FakeClock();
  const limits = new AdmissionLimits({ clock, caps: { pendingPerBlock: 1 } });
  const source = { address: "192.0.2.1", validated: true };
  let again: Admission | undefined;
  const first = limits.begin(source, "tcp", () => {
    if (first.outcome === "accept") first.handshake.failed("timeout");
    again = limits.begin({ ...source, address: "192.0.2.2" }, "tcp", () => {});
  });
  assert.equal(limits.begin(source, "tcp", () => {}).outcome, "accept");
  assert.equal(again?.outcome, "accept");
  assert.deepEqual(limits.stats(), { pending: 2, connections: 0, blocks: 2 });
});

test("connections are capped by peer, by block of strangers, by block on the web", () => {
  const r = rig();
  const fill = (peerId: string | undefined, alpnClass: AlpnClass): ConnectionSlot[] => {
    const slots: ConnectionSlot[] = [];
    for (;;) {
      const slot = r.enter("192.0.2.1").succeeded(peerId, alpnClass);
      if (slot === undefined) return slots;
      slots.push(slot);
    }
  };
  assert.equal(fill(undefined, "keyed").length, 64);
  // Strangers on either kind of own ALPN count together.
  assert.equal(fill(undefined, "peer").length, 0);
  const web = fill(undefined, "web");
  assert.equal(web.length, 1_024);
  assert.equal(fill("laptop", "peer").length, 1_024);
  // By peer, not by source.
  assert.equal(r.enter("192.0.2.2").succeeded("laptop", "keyed"), undefined);
  assert.ok(r.enter("192.0.2.1").succeeded("phone", "peer"));
  assert.ok(r.enter("192.0.2.2").succeeded(undefined, "keyed"));
  web.pop()![Symbol.dispose]();
  assert.ok(r.enter("192.0.2.1").succeeded(undefined, "web"));
  assert.equal(r.enter("192.0.2.1").succeeded(undefined, "web"), undefined);
});

test("an eighth of all connections is kept for peers", () => {
  const r = rig({ caps: { connections: 64 } });
  const take = (peerId: string | undefined): ConnectionSlot | undefined =>
    r.enter(ip(r.limits.stats().connections)).succeeded(peerId, "web");
  for (let count = 0; count < 56; count++) assert.ok(take(undefined));
  assert.equal(take(undefined), undefined);
  const slots = Array.from({ length: 8 }, () => take("laptop")!);
  assert.ok(slots.every(Boolean));
  assert.equal(r.outcome("192.0.2.1"), "refuse: limit");
  assert.equal(r.outcome("192.0.2.1", "quic"), "refuse: limit");
  slots[0]![Symbol.dispose]();
  assert.equal(r.outcome("192.0.2.1"), "accept");
});

test("an exempt block has no limits of its own, but counts in the whole", () => {
  const r = rig({ exempt: ["192.0.2.0/24", "2001:db8::/32"] });
  for (let count = 0; count < 200; count++) r.enter("::ffff:192.0.2.1").failed("timeout");
  assert.equal(r.outcome("192.0.2.1"), "accept");
  for (let count = 0; count < 100; count++)
    assert.ok(r.enter("2001:db8::1").succeeded(undefined, "keyed"));
  for (let index = 0; index < 1_024; index++) r.enter("192.0.2.1", `#${index}`);
  assert.equal(r.dropped.length, 0);
  // A source may be forged to be an exempt one.
  assert.equal(r.outcome("192.0.2.1", "quic"), "retry");
  r.enter("198.51.100.1");
  assert.deepEqual(r.dropped, ["#0"]);
  r.limits.change({});
  offend(r, "192.0.2.77", "timeout", 2);
  assert.equal(r.outcome("192.0.2.77"), "refuse: penalty");
});

test("no more than 65,536 blocks are remembered; the one soonest forgiven makes room", () => {
  const r = rig();
  offend(r, "192.0.2.1", "timeout", 2);
  for (let index = 0; index < 70_000; index++) offend(r, ip(index), "unknown-key");
  assert.equal(r.limits.stats().blocks, 65_536);
  assert.equal(r.outcome("192.0.2.1"), "refuse: penalty");
  r.clock.advance(1_000);
  assert.equal(r.outcome("198.51.100.1"), "accept");
  assert.equal(r.limits.stats().blocks, 1);
});

test("AdmissionLimits refuses options that cannot hold", () => {
  assert.throws(() => new AdmissionLimits({ exempt: ["10.0.0.1/8"] }), { code: "BLOCK_INVALID" });
  assert.throws(() => new AdmissionLimits({ caps: { pending: 0 } }), {
    name: "RangeError",
    message: /pending above 0/,
  });
  assert.throws(() => new AdmissionLimits({ caps: { blocks: 17_408 } }), {
    name: "RangeError",
    message: /blocks above 17408/,
  });
  assert.throws(() => new AdmissionLimits({ penalties: { auth: -1 } }), {
    name: "RangeError",
    message: /penalty auth of 0 or more/,
  });
});

test("change() holds for all that comes after it, and for nothing when it cannot hold", () => {
  const r = rig();
  const one = r.enter("192.0.2.1").succeeded("laptop", "peer");
  assert.ok(one);
  r.limits.change({
    caps: { connectionsPerPeer: 1 },
    penalties: { auth: 60_000, minimum: 20_000 },
  });
  assert.equal(r.enter("192.0.2.1").succeeded("laptop", "peer"), undefined);
  offend(r, "198.51.100.1", "timeout");
  assert.equal(r.outcome("198.51.100.1"), "accept");
  offend(r, "198.51.100.1", "auth");
  assert.equal(r.limits.penalty("198.51.100.1"), 70_000);
  assert.throws(() => r.limits.change({ exempt: ["nowhere"] }), { code: "BLOCK_INVALID" });
  assert.equal(r.enter("192.0.2.1").succeeded("laptop", "peer"), undefined);
  // What was earned is kept, also above the maximum that holds now.
  r.limits.change({ penalties: { maximum: 15_000 } });
  r.clock.advance(10_000);
  assert.equal(r.limits.penalty("198.51.100.1"), 60_000);
  assert.ok(r.enter("192.0.2.1").succeeded("laptop", "peer"));
});

test("change() to fewer blocks than are remembered forgets the idle ones, and no more", () => {
  const r = rig({ caps: { pending: 8, connections: 64, blocks: 128 } });
  for (let index = 0; index < 32; index++) assert.ok(r.enter(ip(index)).succeeded("a", "peer"));
  for (let index = 32; index < 64; index++) offend(r, ip(index), "timeout");
  assert.equal(r.limits.stats().blocks, 64);
  r.limits.change({ caps: { pending: 8, connections: 8, blocks: 17 } });
  assert.equal(r.outcome(ip(99)), "refuse: limit");
  r.limits.change({ caps: { pending: 8, connections: 33, blocks: 42 } });
  r.enter(ip(99));
  assert.equal(r.limits.stats().blocks, 42);
});

// The rules once more, on lists, with nothing kept that could be counted wrongly.

const CAPS = {
  pending: 6,
  pendingPerBlock: 3,
  pendingPerTrustedBlock: 4,
  retry: 4,
  connections: 8,
  connectionsPerPeer: 3,
  strangersPerBlock: 2,
  webPerBlock: 3,
  blocks: 20,
};

interface ModelEntry {
  readonly id: number;
  readonly source: string;
  readonly validated: boolean;
}

interface ModelConnection extends ModelEntry {
  readonly kind: string;
}

class Model {
  pending: ModelEntry[] = [];
  connections: ModelConnection[] = [];
  until = new Map<string, { at: number; active: boolean }>();
  /** Blocks in the order in which they came to the number of handshakes that they have. */
  order: string[] = [];

  of(source: string): ModelEntry[] {
    return this.pending.filter((each) => each.source === source);
  }

  moved(source: string): void {
    this.order = this.order.filter((each) => each !== source);
    if (this.of(source).length > 0) this.order.push(source);
  }

  end(id: number): ModelEntry | undefined {
    const entry = this.pending.find((each) => each.id === id);
    if (entry === undefined) return undefined;
    this.pending = this.pending.filter((each) => each !== entry);
    this.moved(entry.source);
    return entry;
  }

  begin(
    now: number,
    id: number,
    source: string,
    quic: boolean,
    validated: boolean,
  ): { outcome: string; drop?: number | undefined } {
    const proved = !quic || validated;
    const penalty = this.until.get(source);
    if (penalty !== undefined && penalty.active && penalty.at > now)
      return { outcome: proved ? "refuse" : "ignore" };
    if (this.connections.length >= CAPS.connections) return { outcome: "refuse" };
    const trusted = this.connections.some(
      (each) => each.source === source && each.kind.startsWith("peer"),
    );
    const full =
      this.of(source).length >= (trusted ? CAPS.pendingPerTrustedBlock : CAPS.pendingPerBlock);
    if (!proved && (full || this.pending.length >= CAPS.retry)) return { outcome: "retry" };
    let drop: number | undefined;
    if (full) drop = this.of(source)[0]!.id;
    else if (this.pending.length >= CAPS.pending) {
      const most = Math.max(...this.order.map((each) => this.of(each).length));
      drop = this.of(this.order.find((each) => this.of(each).length === most)!)[0]!.id;
    }
    if (drop !== undefined) this.end(drop);
    this.pending.push({ id, source, validated: proved });
    this.moved(source);
    return { outcome: "accept", drop };
  }

  succeed(id: number, kind: string): boolean {
    const entry = this.end(id);
    if (entry === undefined) return false;
    const same = this.connections.filter((each) => each.kind === kind);
    const here = same.filter((each) => each.source === entry.source).length;
    const total = this.connections.length;
    const fits = kind.startsWith("peer")
      ? total < CAPS.connections && same.length < CAPS.connectionsPerPeer
      : total < CAPS.connections - 1 &&
        here < (kind === "web" ? CAPS.webPerBlock : CAPS.strangersPerBlock);
    if (fits) this.connections.push({ ...entry, kind });
    return fits;
  }

  penalize(now: number, source: string, penalty: Penalty): void {
    const before = this.until.get(source);
    const running = before !== undefined && before.at > now;
    const at = Math.min((running ? before.at : now) + PENALTIES[penalty], now + 600_000);
    this.until.set(source, { at, active: (running && before.active) || at - now >= 15_000 });
  }
}

test("AdmissionLimits does what its rules say, in any order of events", () => {
  const source = fc.constantFrom("192.0.2.1", "192.0.2.2", "2001:db8::1");
  const pick = fc.nat(30);
  const penalty = fc.constantFrom<Penalty>("auth", "unknown-key", "timeout", "malformed");
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("begin" as const),
        source,
        quic: fc.boolean(),
        validated: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("fail" as const),
        pick,
        penalty: fc.option(penalty, { nil: undefined }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("succeed" as const),
        pick,
        kind: fc.constantFrom("peer a", "peer b", "web", "keyed"),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("close" as const), pick }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("penalize" as const), pick, penalty }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("wait" as const),
        seconds: fc.integer({ min: 1, max: 20 }),
      }),
    },
  );
  const seen: Record<string, number> = {};
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 90, size: "max" }), (steps) => {
      const clock = new FakeClock();
      const limits = new AdmissionLimits({ clock, caps: CAPS });
      const model = new Model();
      const handshakes: { id: number; handshake: PendingHandshake }[] = [];
      const slots: { id: number; source: string; slot: ConnectionSlot }[] = [];
      let dropped: number[] = [];
      for (const [id, each] of steps.entries()) {
        dropped = [];
        if (each.do === "wait") clock.advance(each.seconds * 1_000);
        else if (each.do === "begin") {
          const { quic, validated } = each;
          const got = limits.begin({ address: each.source, validated }, quic ? "quic" : "tcp", () =>
            dropped.push(id),
          );
          const expected = model.begin(clock.now(), id, each.source, quic, validated);
          assert.equal(got.outcome, expected.outcome);
          seen[got.outcome] = (seen[got.outcome] ?? 0) + 1;
          if (expected.drop !== undefined) seen["drop"] = (seen["drop"] ?? 0) + 1;
          if (got.outcome === "accept") handshakes.push({ id, handshake: got.handshake });
          assert.deepEqual(dropped, expected.drop === undefined ? [] : [expected.drop]);
        } else if (each.do === "fail" || each.do === "succeed") {
          const chosen = handshakes[each.pick % Math.max(1, handshakes.length)];
          if (chosen === undefined) continue;
          if (each.do === "fail") {
            chosen.handshake.failed(each.penalty);
            const entry = model.end(chosen.id);
            if (entry?.validated === true && each.penalty !== undefined)
              model.penalize(clock.now(), entry.source, each.penalty);
          } else {
            const peerId = each.kind.startsWith("peer") ? each.kind : undefined;
            const slot = chosen.handshake.succeeded(peerId, each.kind === "web" ? "web" : "keyed");
            const expected = model.succeed(chosen.id, each.kind);
            assert.equal(slot !== undefined, expected);
            const added = model.connections.at(-1);
            if (slot !== undefined) slots.push({ id: chosen.id, source: added!.source, slot });
          }
        } else {
          const chosen = slots[each.pick % Math.max(1, slots.length)];
          if (chosen === undefined) continue;
          if (each.do === "close") {
            chosen.slot[Symbol.dispose]();
            model.connections = model.connections.filter((one) => one.id !== chosen.id);
          } else {
            chosen.slot.penalize(each.penalty);
            model.penalize(clock.now(), chosen.source, each.penalty);
          }
        }
        const stats = limits.stats();
        assert.deepEqual(
          [stats.pending, stats.connections],
          [model.pending.length, model.connections.length],
        );
      }
      // With everything over, and every penalty passed, nothing is left.
      for (const { handshake } of handshakes) handshake.failed();
      for (const { slot } of slots) slot[Symbol.dispose]();
      clock.advance(600_000);
      limits.begin({ address: "203.0.113.1", validated: true }, "tcp", () => {});
      assert.deepEqual(limits.stats(), { pending: 1, connections: 0, blocks: 1 });
    }),
    { numRuns: 1_000 },
  );
  for (const what of ["accept", "retry", "refuse", "ignore", "drop"]) {
    assert.ok((seen[what] ?? 0) > 50, `${what} was seen ${seen[what]} times`);
  }
});

test("report() lists who is penalised and who uses most, and forgets who is forgiven", () => {
  const clock = new FakeClock();
  const limits = new AdmissionLimits({ clock });
  const connect = (address: string, peer?: string): void => {
    const admission = limits.begin({ address, validated: true }, "tcp", () => {});
    assert.ok(admission.outcome === "accept");
    assert.ok(admission.handshake.succeeded(peer, peer === undefined ? "web" : "peer"));
  };
  connect("10.0.0.1", "laptop");
  connect("10.0.0.1", "laptop");
  connect("2001:db8:1:2:3::4");
  for (let time = 0; time < 4; time++) {
    const admission = limits.begin({ address: "10.0.0.9", validated: true }, "tcp", () => {});
    if (admission.outcome === "accept") admission.handshake.failed("auth");
  }
  const { penalized, penalizedCount, sources, peers, connections } = limits.report();
  assert.deepEqual(penalized, [{ source: "10.0.0.9", left: 15_000 }]);
  assert.equal(penalizedCount, 1);
  assert.equal(connections, 3);
  assert.deepEqual(peers, [{ peer: "laptop", connections: 2 }]);
  assert.deepEqual(sources, [
    { source: "10.0.0.1", pending: 0, authenticated: 2, strangers: 0, web: 0 },
    { source: "2001:db8:1:2::/64", pending: 0, authenticated: 0, strangers: 0, web: 1 },
  ]);
  clock.advance(15_000);
  assert.deepEqual(limits.report().penalized, []);
  assert.equal(
    limits.begin({ address: "10.0.0.9", validated: true }, "tcp", () => {}).outcome,
    "accept",
  );
});
