import assert from "node:assert/strict";
import { test } from "node:test";
import { DialError } from "./dial-error.ts";
import { formatInvitation } from "./invitation-ticket.ts";
import type { PeerEntry } from "./peers.ts";
import { routeTo } from "./target.ts";
import { formatTicket } from "./ticket.ts";

const KEY = `ed25519:${"1".repeat(64)}`;
const LEAF = `SHA256:${"2".repeat(64)}`;
const den: PeerEntry = {
  peerId: "den",
  fingerprints: [LEAF, KEY],
  addresses: ["den.example", "[2001:db8::1]:443"],
  scopes: [],
  enabled: true,
};

test("routeTo() finds a peer by its name", () => {
  assert.deepEqual(routeTo("den", [den]), {
    addresses: [
      { host: "den.example", port: 7433 },
      { host: "2001:db8::1", port: 443 },
    ],
    expected: { kind: "pinned", fingerprints: [LEAF, KEY], peer: "den" },
    key: `${LEAF} ${KEY}`,
    label: "den",
  });
});

test("routeTo() reads a ticket, as text and as it is", () => {
  const ticket = { fingerprint: KEY, addresses: ["192.0.2.1:7433"], name: "attic" };
  for (const target of [ticket, formatTicket(ticket)]) {
    assert.deepEqual(routeTo(target, []), {
      addresses: [{ host: "192.0.2.1", port: 7433 }],
      expected: { kind: "pinned", fingerprints: [KEY] },
      key: KEY,
      label: "attic",
    });
  }
});

test("routeTo() says that an invitation is none to dial, and shows nothing of it", () => {
  const text = formatInvitation({
    fingerprint: KEY,
    addresses: ["192.0.2.1:7433"],
    expiresAt: 0,
    secret: new Uint8Array(16),
  });
  for (const target of [text, text.slice(0, 30), `${text.slice(0, 30)}…`]) {
    assert.throws(
      () => routeTo(target, [den]),
      (error: DialError) => {
        assert.equal(error.code, "TARGET_INVALID");
        assert.match(error.message, /^cannot dial an invitation: it is there to join by$/);
        assert.match(error.hint ?? "", /^alknet join INVITATION/);
        return true;
      },
    );
  }
});

test("routeTo() takes an address with a key, as text and as an object", () => {
  for (const target of [`${KEY}@192.0.2.1:80`, { address: "192.0.2.1:80", fingerprint: KEY }]) {
    const { addresses, expected } = routeTo(target, [den]);
    assert.deepEqual(addresses, [{ host: "192.0.2.1", port: 80 }]);
    assert.deepEqual(expected, { kind: "pinned", fingerprints: [KEY] });
  }
});

test("routeTo() leaves an address without a key to the CAs if it is a name, and to nobody if not", () => {
  assert.deepEqual(routeTo("Node.Example:443", []).expected, {
    kind: "name",
    host: "node.example",
  });
  assert.deepEqual(routeTo("node.example", []).addresses, [{ host: "node.example", port: 7433 }]);
  for (const address of ["192.0.2.1", "192.0.2.1:80", "[::1]:80", "::1"]) {
    assert.deepEqual(routeTo(address, []).expected, { kind: "unknown" }, address);
    assert.deepEqual(routeTo({ address }, []).expected, { kind: "unknown" }, address);
  }
});

test("routeTo() refuses what cannot be dialed, and says why", () => {
  for (const [target, code] of [
    ["attic", "PEER_UNKNOWN"],
    ["", "TARGET_INVALID"],
    ["a b", "TARGET_INVALID"],
    ["host:99999", "TARGET_INVALID"],
    ["host:0", "TARGET_INVALID"],
    [`${KEY}@`, "TARGET_INVALID"],
    ["ed25519:12@192.0.2.1:80", "TARGET_INVALID"],
    [formatTicket({ fingerprint: KEY, addresses: [] }), "TARGET_INVALID"],
    [`${formatTicket({ fingerprint: KEY, addresses: ["a.example:1"] })}a`, "TARGET_INVALID"],
    [{ fingerprint: KEY, addresses: [] }, "TARGET_INVALID"],
    ["alknet1ad5ig5n…", "TARGET_INVALID"],
    ["alknet1ad5ig5n3azj52enkwpi5", "TARGET_INVALID"],
  ] as const) {
    assert.throws(
      () => routeTo(target, [{ ...den, enabled: false }]),
      (error: DialError) => {
        assert.ok(error instanceof DialError && error.code === code && error.final);
        // Each says what to do about it.
        return error.hint !== undefined;
      },
      JSON.stringify(target),
    );
  }
  // A peer may be called what looks like the beginning of a ticket.
  assert.equal(
    routeTo("alknet1raspberry", [{ ...den, peerId: "alknet1raspberry" }]).label,
    "alknet1raspberry",
  );
  for (const [name, hint] of [
    ["dem", 'did you mean "den"?'],
    ["attic", "see who is known: alknet peers; or dial its ticket"],
  ] as const) {
    const message = `no peer is called "${name}"`;
    assert.throws(() => routeTo(name, [den]), { code: "PEER_UNKNOWN", message, hint });
  }
  assert.throws(() => routeTo("den", [{ ...den, enabled: false }]), {
    code: "TARGET_INVALID",
    hint: /^alknet peers enable den; or, where it stands in alknet\.toml, /,
  });
  assert.throws(() => routeTo("den", [{ ...den, addresses: [] }]), {
    message: 'cannot dial "den": no address is known for it',
    hint: /^alknet peers set den --address HOST:7433; or, where it stands in alknet\.toml, /,
  });
});
