import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createNamespace, type Namespace } from "./netns.ts";
import type { Counted, RoundTrips } from "./probe.ts";
import { type Link, type LinkOptions, openLink } from "../bench/link.ts";

const PROBE = fileURLToPath(new URL("probe.ts", import.meta.url));
/** IPv4 and UDP headers, in bytes: they count at the rate, and towards the queue. */
const HEADERS = 28;
const PORT = "9";
const NEAR = "10.78.0.1";
const FAR = "::ffff:10.78.0.2";

let near: Namespace;
let far: Namespace;
before(async () => {
  near = await createNamespace("near");
  far = await createNamespace("far");
});
after(async () => {
  await near[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
});

const lay = (options: LinkOptions): Promise<Link> =>
  openLink(
    { namespace: near, addresses: [`${NEAR}/24`] },
    { namespace: far, addresses: ["10.78.0.2/24"] },
    options,
  );

/** Send numbered datagrams over the line, and tell which arrived, when, and what the line says. */
async function transfer(
  options: LinkOptions,
  datagrams: { count: number; size: number },
): Promise<{ counted: Counted; report: Awaited<ReturnType<Link["report"]>> }> {
  await using link = await lay(options);
  // How many will arrive is known only when all are sent: count until the line is empty.
  const receiver = await started(
    far.spawn(process.execPath, [PROBE, "count", PORT], { stdio: ["pipe", "pipe", "inherit"] }),
  );
  const { count, size } = datagrams;
  await near.run(process.execPath, PROBE, "send", FAR, PORT, String(count), String(size));
  let report = await link.report();
  while (report.ab.packetsIn < count || inside(report.ab) > 0) report = await link.report();
  receiver.child.stdin?.end(String(report.ab.packetsOut));
  const counted = JSON.parse(await receiver.rest) as Counted;
  return { counted, report };
}

function inside(ab: {
  packetsIn: number;
  packetsOut: number;
  lost: number;
  dropped: number;
  overflow: number;
  refused: number;
}): number {
  return ab.packetsIn - ab.packetsOut - ab.lost - ab.dropped - ab.overflow - ab.refused;
}

async function started(
  child: ChildProcess,
): Promise<{ child: ChildProcess; rest: Promise<string> }> {
  assert.ok(child.stdout);
  const [first] = (await once(child.stdout, "data")) as [Buffer];
  assert.equal(first.toString(), "ready\n");
  return { child, rest: text(child.stdout) };
}

test("openLink() delays both ways by what was asked, and hardly more", async () => {
  await using _link = await lay({ delay: 20 });
  const echo = await started(
    far.spawn(process.execPath, [PROBE, "echo", PORT], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  const output = await near.run(process.execPath, PROBE, "rtt", FAR, PORT, "20");
  echo.child.kill();
  const { milliseconds } = JSON.parse(output) as RoundTrips;
  const sorted = milliseconds.toSorted((one, other) => one - other);
  assert.equal(sorted.length, 20);
  assert.ok((sorted[0] ?? 0) >= 40, `fastest ${sorted[0]} ms`);
  // A busy machine adds to some, not to most.
  assert.ok((sorted[5] ?? Infinity) < 50, `first quartile ${sorted[5]} ms`);
});

test("openLink() loses the share asked for, the same packets for the same seed", async () => {
  const datagrams = { count: 3_000, size: 100 };
  const one = await transfer({ lossPpm: 50_000, seed: 7 }, datagrams);
  const again = await transfer({ lossPpm: 50_000, seed: 7 }, datagrams);
  const other = await transfer({ lossPpm: 50_000, seed: 8 }, datagrams);
  for (const { counted, report } of [one, again, other]) {
    const lost = datagrams.count - counted.numbers.length;
    assert.equal(lost, report.ab.lost);
    // 150 expected, standard deviation 12.
    assert.ok(lost > 90 && lost < 210, `lost ${lost}`);
  }
  assert.deepEqual(one.counted.numbers, again.counted.numbers);
  assert.notDeepEqual(one.counted.numbers, other.counted.numbers);
});

test("openLink() keeps to its rate, in order, and loses nothing while the queue has room", async () => {
  const count = 800;
  const size = 1_400;
  const rate = 8_000_000;
  const { counted } = await transfer({ rate, queueBytes: 2 ** 21 }, { count, size });
  assert.deepEqual(counted.numbers, [...Array(count).keys()]);
  const expected = ((count - 1) * (size + HEADERS) * 8 * 1_000) / rate;
  const share = counted.milliseconds / expected;
  assert.ok(share > 0.97 && share < 1.1, `${counted.milliseconds} ms, expected ${expected} ms`);
});

test("openLink() bounds its queue in bytes and in packets", async () => {
  const count = 300;
  const size = 1_000;
  // 8 ms a packet: a burst is in long before many have left.
  const rate = (size + HEADERS) * 8 * 125;
  const inBytes = await transfer({ rate, queueBytes: 50_000 }, { count, size });
  assert.ok(inBytes.report.ab.queuePeakBytes <= 50_000);
  assert.ok(inBytes.report.ab.queuePeakBytes > 50_000 - size - HEADERS);
  const inPackets = await transfer(
    { rate, queuePackets: 40, queueBytes: 2 ** 20 },
    { count, size },
  );
  assert.equal(inPackets.report.ab.queuePeakBytes, 40 * (size + HEADERS));
  for (const { counted, report } of [inBytes, inPackets]) {
    assert.ok(report.ab.dropped > 0);
    assert.equal(counted.numbers.length, count - report.ab.dropped);
    // The head of the burst passes: what is dropped is the tail.
    assert.deepEqual(counted.numbers.slice(0, 40), [...Array(40).keys()]);
  }
});

test("openLink() carries packets up to its MTU whole, 65,535 included", async () => {
  const size = 65_535 - HEADERS;
  const { counted, report } = await transfer({ mtu: 65_535 }, { count: 20, size });
  assert.equal(counted.numbers.length, 20);
  assert.equal(report.ab.packetsOut, 20);
  assert.equal(report.ab.bytesOut, 20 * 65_535);
});

test("openLink() fails with what is wrong, and close() may be called twice", async () => {
  await assert.rejects(lay({ mtu: 10 }), /cannot use --mtu "10": expected 68 to 65535/);
  await assert.rejects(lay({ delay: -1 }), /cannot read --delay "-1ms"/);
  await assert.rejects(lay({ rate: 1e6, device: "a-name-too-long-for-linux" }), /--device/);
  const link = await lay({});
  assert.deepEqual(await link.close(), await link.close());
  await assert.rejects(near.run("ip", "link", "show", "link0"), { code: "COMMAND_FAILED" });
});
