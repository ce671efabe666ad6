import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { formatHost, formatHostPort, parseHost } from "./host.ts";
import {
  formatInvitation,
  type InvitationTicket,
  looksLikeInvitation,
  parseInvitation,
} from "./invitation-ticket.ts";
import { formatTicket, looksLikeTicket, MAX_ADDRESSES } from "./ticket.ts";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });

const fingerprint = fc
  .tuple(fc.constantFrom("ed25519", "SHA256"), bytes(32))
  .map(([kind, key]) => `${kind}:${Buffer.from(key).toString("hex")}`);

const address = fc
  .tuple(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), fc.nat(65_535))
  .map(([host, port]) => formatHostPort({ host: formatHost(parseHost(host)!), port }));

const invitation: fc.Arbitrary<InvitationTicket> = fc.record(
  {
    fingerprint,
    addresses: fc.array(address, { maxLength: MAX_ADDRESSES }),
    name: fc.constantFrom("den", "Laptop-2", "a".repeat(64)),
    expiresAt: fc.nat(2 ** 31 - 1).map((seconds) => seconds * 2_000),
    secret: bytes(16),
  },
  { requiredKeys: ["fingerprint", "addresses", "expiresAt", "secret"], noNullPrototype: true },
);

const sample: InvitationTicket = {
  fingerprint: `ed25519:${"0123456789abcdef".repeat(4)}`,
  addresses: ["192.0.2.7:7433", "[2001:db8::7]:7433", "den.example:443"],
  name: "den",
  expiresAt: Date.UTC(2026, 0, 1),
  secret: Uint8Array.from({ length: 16 }, (_, at) => 0xf0 + at),
};
const SAMPLE =
  "alkinvite1aaasgrlhrgv433ybencwpcnlzxxqci2fm6e2xtppaerukz4jvpg66a3emvxagbgaaabaohijayqacdnyaaaaaaaaaaaaaaaaaadr2ciabnsgk3romv4gc3lqnrsqdo3jkw4qb4hr6lz7j5pw674pt6x37t67574gfehza";

/** As `{...}` with the secret, which is not enumerable. */
function whole(parsed: InvitationTicket): InvitationTicket {
  return { ...parsed, secret: parsed.secret };
}

test("parseInvitation() undoes formatInvitation()", () => {
  fc.assert(
    fc.property(invitation, (value) => {
      const text = formatInvitation(value);
      assert.match(text, /^alkinvite1[a-z2-7]+$/);
      assert.deepEqual(whole(parseInvitation(text)), value);
      assert.deepEqual(whole(parseInvitation(` ${text.toUpperCase()}\n`)), value);
      assert.ok(looksLikeInvitation(text));
      assert.ok(!looksLikeTicket(text));
    }),
  );
});

test("an invitation's text is fixed", () => {
  assert.equal(formatInvitation(sample), SAMPLE);
  assert.deepEqual(whole(parseInvitation(SAMPLE)), sample);
});

test("parseInvitation() notices every lost, changed, added or swapped character", () => {
  const refused = (changed: string): void => {
    if (changed === SAMPLE) return;
    assert.throws(() => parseInvitation(changed), {
      name: "SyntaxError",
      code: "INVITATION_INVALID",
    });
  };
  for (let at = 0; at < SAMPLE.length; at++) {
    refused(SAMPLE.slice(0, at));
    refused(SAMPLE.slice(at));
    refused(SAMPLE.slice(0, at) + SAMPLE.slice(at + 1));
    refused(`${SAMPLE.slice(0, at)}a${SAMPLE.slice(at)}`);
    refused(`${SAMPLE.slice(0, at)}${SAMPLE[at] === "b" ? "c" : "b"}${SAMPLE.slice(at + 1)}`);
    refused(`${SAMPLE.slice(0, at)}${SAMPLE[at + 1] ?? ""}${SAMPLE[at]}${SAMPLE.slice(at + 2)}`);
  }
});

test("parseInvitation() says what is wrong, and shows nothing of the text", () => {
  const fails = (text: string, message: RegExp): void => {
    assert.throws(
      () => parseInvitation(text),
      (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, "INVITATION_INVALID");
        assert.match(error.message, message);
        assert.match(error.hint, /alknet invite/);
        const long = text.match(/[a-z2-7]{8,}/g) ?? [];
        for (const part of long) assert.ok(!error.message.includes(part), error.message);
        return true;
      },
    );
  };
  fails("", /expected "alkinvite1" at its start$/);
  fails("den", /expected "alkinvite1"/);
  fails(SAMPLE.slice(60), /expected "alkinvite1"/);
  fails("alkinvite2aaaa", /found "alkinvite2": made by a newer version$/);
  fails("alkinvite1", /it is cut off$/);
  fails("alkinvite1aaaa!", /expected base32, found "!"$/);
  for (const dots of ["…", "..."]) fails(`${SAMPLE.slice(0, 30)}${dots}`, /it is cut off$/);
  fails(`alkinvite1${"a".repeat(7_100)}`, /at most 7000 characters$/);
  const plain = formatTicket(sample);
  fails(plain, /it is a plain ticket, which says where a node is and lets nobody in$/);
  // The checksums know the two apart, also when somebody changes the prefix by hand.
  fails(SAMPLE.replace("alkinvite1", "alknet1"), /plain ticket/);
  fails(plain.replace("alknet1", "alkinvite1"), /checksum is wrong|cut off/);
});

test("the secret of an invitation is in no log line and no JSON", () => {
  const parsed = parseInvitation(SAMPLE);
  assert.ok(!JSON.stringify(parsed).includes("240"));
  assert.ok(!inspect(parsed).includes("secret"));
  assert.deepEqual(Object.keys({ ...parsed }), ["fingerprint", "addresses", "name", "expiresAt"]);
});

test("formatInvitation() refuses what does not fit", () => {
  for (const secret of [new Uint8Array(15), new Uint8Array(17)]) {
    assert.throws(() => formatInvitation({ ...sample, secret }), RangeError);
  }
  for (const expiresAt of [-1, Number.NaN, 2 ** 32 * 1_000]) {
    assert.throws(() => formatInvitation({ ...sample, expiresAt }), RangeError);
  }
  const longest = `${"a.".repeat(126)}a`;
  const addresses = Array.from({ length: 16 }, () => `${longest}:1`);
  const text = formatInvitation({ ...sample, addresses, name: "a".repeat(64) });
  assert.equal(parseInvitation(text).addresses.length, 16);
});

test("parseInvitation() throws nothing but its own error, whatever the payload", () => {
  const lies = fc.oneof(
    fc.uint8Array({ maxLength: 160 }),
    // A true one whose bytes, counts and lengths among them, were changed.
    fc.tuple(invitation, fc.nat(200), fc.nat(255), fc.nat(200)).map(([value, at, byte, cut]) => {
      const payload = payloadOf(formatInvitation(value));
      payload[at % payload.length] = byte;
      return payload.subarray(0, payload.length - (cut < 20 ? cut : 0));
    }),
  );
  fc.assert(
    fc.property(lies, fc.boolean(), (payload, valid) => {
      const sum = createHash("sha256").update("alkinvite1").update(payload).digest();
      const sealed = valid ? Buffer.concat([payload, sum.subarray(0, 4)]) : payload;
      const text = `alkinvite1${encodeBase32(sealed)}`;
      try {
        // What is accepted is written in one way only.
        assert.equal(formatInvitation(parseInvitation(text)), text);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "INVITATION_INVALID", String(error));
      }
    }),
    { numRuns: 3_000 },
  );
});

function payloadOf(text: string): Buffer {
  return Buffer.from(decodeBase32(text.slice("alkinvite1".length))!).subarray(0, -4);
}
