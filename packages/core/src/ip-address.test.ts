import assert from "node:assert/strict";
import { BlockList, isIP } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  blockContains,
  blockWithin,
  formatIp,
  ipFromBytes,
  ipToBytes,
  parseBlock,
  parseIp,
} from "./ip-address.ts";

/** Addresses of which many are close to each other, so that blocks are hit. */
const bytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.constantFrom(0, 0x7f, 0xff).map((byte) => new Uint8Array(16).fill(byte)),
  fc
    .uint8Array({ minLength: 4, maxLength: 4 })
    .map((tail) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...tail)),
);

test("parseIp() undoes formatIp(), and ipFromBytes() undoes ipToBytes()", () => {
  fc.assert(
    fc.property(bytes, (raw) => {
      const address = ipFromBytes(raw);
      const text = formatIp(address);
      assert.equal(isIP(text), address.family);
      assert.deepEqual(parseIp(text), address);
      assert.deepEqual(ipFromBytes(ipToBytes(address)), address);
    }),
  );
});

test("formatIp() writes what the WHATWG URL parser writes (RFC 5952)", () => {
  fc.assert(
    fc.property(bytes, (raw) => {
      const address = ipFromBytes(raw);
      if (address.family === 4) return;
      const text = formatIp(address);
      assert.equal(new URL(`http://[${text}]`).hostname, `[${text}]`);
    }),
  );
});

test("parseIp() reads every text form as one value", () => {
  const same = (texts: string[]): void => {
    for (const text of texts) assert.deepEqual(parseIp(text), parseIp(texts[0]!), text);
  };
  same([
    "10.1.2.3",
    "::ffff:10.1.2.3",
    "::FFFF:a01:203",
    "0:0:0:0:0:ffff:10.1.2.3",
    "::ffff:10.1.2.3%eth0",
  ]);
  same([
    "fe80::1",
    "FE80::1",
    "fe80:0:0:0:0:0:0:1",
    "fe80:0000::0001",
    "fe80::1%eth0",
    "fe80::0.0.0.1",
  ]);
  same(["::", "0::0", "0:0:0:0:0:0:0:0", "::0.0.0.0"]);
  same(["1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"]);
});

test("parseIp() refuses what only some readers take for an address", () => {
  const texts = [
    "",
    "127.1",
    "01.2.3.4",
    "0x7f.0.0.1",
    "2130706433",
    "1.2.3.4.",
    " ::1",
    "[::1]",
    "::1%",
    "1.2.3.4%eth0",
    "::ffff:01.2.3.4",
    "localhost",
    `${"0".repeat(100)}::1`,
  ];
  for (const text of texts) assert.equal(parseIp(text), undefined, text);
});

test("blockContains() agrees with the BlockList of node:net", () => {
  fc.assert(
    fc.property(bytes, bytes, fc.nat(128), (rawBase, rawOther, flip) => {
      const base = ipFromBytes(rawBase);
      const width = base.family === 4 ? 32 : 128;
      const prefix = flip % (width + 1);
      // Near the edge of the block: the base with one bit changed, beside an address at random.
      const near = ipToBytes(base);
      near[Math.min(near.length - 1, prefix >> 3)]! ^= 0x80 >> (prefix & 7);
      const start = ipToBytes(base).map((byte, index) => byte & maskByte(prefix, index));
      const block = parseBlock(`${formatIp(ipFromBytes(start))}/${prefix}`);
      const list = new BlockList();
      list.addSubnet(formatIp(ipFromBytes(start)), prefix, base.family === 4 ? "ipv4" : "ipv6");
      for (const address of [base, ipFromBytes(near), ipFromBytes(rawOther)]) {
        const expected =
          address.family === base.family &&
          list.check(formatIp(address), address.family === 4 ? "ipv4" : "ipv6");
        assert.equal(blockContains(block, address), expected);
      }
    }),
  );
});

function maskByte(prefix: number, index: number): number {
  const bits = Math.max(0, Math.min(8, prefix - index * 8));
  return (0xff << (8 - bits)) & 0xff;
}

test("parseBlock() reads blocks of mapped addresses as IPv4, and never mixes the families", () => {
  assert.deepEqual(parseBlock("::ffff:10.0.0.0/104"), parseBlock("10.0.0.0/8"));
  assert.deepEqual(parseBlock("::ffff:0:0/96"), parseBlock("0.0.0.0/0"));
  assert.equal(blockContains(parseBlock("::/0"), parseIp("::ffff:10.0.0.1")!), false);
  assert.equal(blockContains(parseBlock("0.0.0.0/0"), parseIp("::1")!), false);
});

test("blockWithin() compares blocks", () => {
  const within = (inner: string, outer: string): boolean =>
    blockWithin(parseBlock(inner), parseBlock(outer));
  assert.equal(within("127.0.0.1", "127.0.0.0/8"), true);
  assert.equal(within("127.0.0.0/8", "127.0.0.0/8"), true);
  assert.equal(within("0.0.0.0/0", "127.0.0.0/8"), false);
  assert.equal(within("::1", "127.0.0.0/8"), false);
});

test("parseBlock() says what is wrong, and how to write it", () => {
  const fails = (text: string, message: RegExp): void => {
    assert.throws(
      () => parseBlock(text),
      { name: "SyntaxError", code: "BLOCK_INVALID", message },
      text,
    );
  };
  fails("10.0.0.1/8", /"10\.0\.0\.1\/8": bits after the prefix are set: write 10\.0\.0\.0\/8$/);
  fails("fd00::1/8", /write fd00::\/8$/);
  fails("10.0.0.0/33", /prefix length of 0 to 32$/);
  fails("::/129", /prefix length of 0 to 128$/);
  for (const text of ["10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/1e1"])
    fails(text, /prefix/);
  for (const text of ["", "/8", "host/8", "fe80::%eth0/64", "[::1]", "10.0.0/8"])
    fails(text, /IP address/);
});
