import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { encodeBase32 } from "./base32.ts";
import { formatHost, formatHostPort, parseHost } from "./host.ts";
import {
  formatTicket,
  looksLikeTicket,
  MAX_ADDRESSES,
  parseTicket,
  type Ticket,
} from "./ticket.ts";

const fingerprint = fc
  .tuple(fc.constantFrom("ed25519", "SHA256"), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([kind, bytes]) => `${kind}:${Buffer.from(bytes).toString("hex")}`);

const address = fc
  .tuple(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), fc.nat(65_535))
  .map(([host, port]) => formatHostPort({ host: formatHost(parseHost(host)!), port }));

const ticket: fc.Arbitrary<Ticket> = fc.record(
  {
    fingerprint,
    addresses: fc.array(address, { maxLength: MAX_ADDRESSES }),
    name: fc.constantFrom("den", "Laptop-2", "a".repeat(64)),
  },
  { requiredKeys: ["fingerprint", "addresses"], noNullPrototype: true },
);

const sample: Ticket = {
  fingerprint: `ed25519:${"0123456789abcdef".repeat(4)}`,
  addresses: ["192.0.2.7:7433", "[2001:db8::7]:7433", "den.example:443"],
  name: "den",
};
const SAMPLE =
  "alknet1aaasgrlhrgv433ybencwpcnlzxxqci2fm6e2xtppaerukz4jvpg66a3emvxagbgaaabaohijayqacdnyaaaaaaaaaaaaaaaaaadr2ciabnsgk3romv4gc3lqnrsqdo7ipanre";

test("parseTicket() undoes formatTicket()", () => {
  fc.assert(
    fc.property(ticket, (value) => {
      const text = formatTicket(value);
      assert.match(text, /^alknet1[a-z2-7]+$/);
      assert.deepEqual(parseTicket(text), value);
      assert.deepEqual(parseTicket(` ${text.toUpperCase()}\n`), value);
      assert.ok(looksLikeTicket(text));
    }),
  );
});

test("a ticket's text is fixed", () => {
  assert.equal(formatTicket(sample), SAMPLE);
  assert.deepEqual(parseTicket(SAMPLE), sample);
});

test("parseTicket() notices every lost, changed, added or swapped character", () => {
  const text = formatTicket(sample);
  const refused = (changed: string): void => {
    if (changed !== text)
      assert.throws(() => parseTicket(changed), { name: "SyntaxError", code: "TICKET_INVALID" });
  };
  for (let at = 0; at < text.length; at++) {
    refused(text.slice(0, at));
    refused(text.slice(0, at) + text.slice(at + 1));
    refused(`${text.slice(0, at)}a${text.slice(at)}`);
    refused(`${text.slice(0, at)}${text[at] === "b" ? "c" : "b"}${text.slice(at + 1)}`);
    refused(`${text.slice(0, at)}${text[at + 1] ?? ""}${text[at]}${text.slice(at + 2)}`);
  }
});

test("parseTicket() says what is wrong with it", () => {
  const fails = (text: string, message: RegExp): void => {
    assert.throws(() => parseTicket(text), { code: "TICKET_INVALID", message });
  };
  fails("", /expected "alknet1" at its start$/);
  fails("den", /expected "alknet1"/);
  fails("alknet2aaaa", /found "alknet2": made by a newer version$/);
  fails("alknet1", /it is cut off$/);
  fails("alknet1aaaa!", /expected base32, found "!"$/);
  for (const dots of ["…", "..."]) fails(`${SAMPLE.slice(0, 20)}${dots}`, /it is cut off$/);
  fails(SAMPLE.slice(0, 40), /^cannot parse ticket "alknet1.{13}…": it is cut off$/);
  fails(`alknet1${"a".repeat(7_100)}`, /at most 7000 characters$/);
  fails(SAMPLE.slice(0, -2), /checksum is wrong; some of it is cut off or changed$|it is cut off$/);
});

test("looksLikeTicket() knows one that was cut off from a name or an address", () => {
  for (const length of [15, 20, 40, 69]) {
    for (const dots of ["", "…", "...", "\n"]) {
      assert.ok(looksLikeTicket(SAMPLE.slice(0, length) + dots), `${length}${dots}`);
    }
  }
  for (const text of ["alknet1", "alknet2den", "alknet1raspberry.example", "alknet1raspberry:80"]) {
    assert.ok(!looksLikeTicket(text), text);
  }
});

test("formatTicket() leaves out what a ticket cannot hold, and refuses what is wrong", () => {
  const many = Array.from({ length: 20 }, (_, index) => `192.0.2.${index}:1`);
  assert.equal(
    parseTicket(formatTicket({ ...sample, addresses: many })).addresses.length,
    MAX_ADDRESSES,
  );
  assert.equal(parseTicket(formatTicket({ ...sample, name: "not a name" })).name, undefined);
  assert.throws(() => formatTicket({ ...sample, fingerprint: "ed25519:1" }), {
    code: "FINGERPRINT_INVALID",
  });
  assert.throws(() => formatTicket({ ...sample, addresses: ["den"] }), { code: "ADDRESS_INVALID" });
  const longest = "a.".repeat(126) + "a";
  const text = formatTicket({
    ...sample,
    addresses: Array.from({ length: 16 }, () => `${longest}:1`),
    name: "a".repeat(64),
  });
  assert.equal(parseTicket(text).addresses.length, 16);
});

test("parseTicket() throws nothing but its own error, whatever the payload", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, valid) => {
      // With a good checksum, so that it is the payload that is looked at.
      const sum = createHash("sha256").update("alknet1").update(bytes).digest().subarray(0, 4);
      const text = `alknet1${encodeBase32(valid ? Buffer.concat([bytes, sum]) : bytes)}`;
      try {
        // What is accepted is written in one way only.
        assert.equal(formatTicket(parseTicket(text)), text);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "TICKET_INVALID", String(error));
      }
    }),
    { numRuns: 3_000 },
  );
});
