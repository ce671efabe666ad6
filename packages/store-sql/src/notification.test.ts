import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  CREDENTIALS_CHANGED,
  formatMessage,
  formatNotification,
  isInTable,
  MAX_PAYLOAD,
  parseNotification,
  PEERS_CHANGED,
  RECORDS_CHANGED,
} from "./notification.ts";

const names = fc.array(fc.string({ unit: "binary", maxLength: 20 }), { maxLength: 10 });

test("parseNotification() undoes formatNotification()", () => {
  fc.assert(
    fc.property(
      names,
      fc.record({ apiKeys: names, credentials: names }),
      (peers, { apiKeys, credentials }) => {
        const { channel, payload } = formatNotification({ peers, apiKeys, credentials });
        const count = peers.length + apiKeys.length + credentials.length;
        assert.deepEqual(
          parseNotification(channel, payload),
          count === 0
            ? { kind: "nothing" }
            : { kind: "changed", names: { peers, apiKeys, credentials } },
        );
      },
    ),
  );
});

test("isInTable() knows a message of formatMessage(), whatever it names", () => {
  fc.assert(
    fc.property(names, fc.integer({ min: 1 }), (peers, change) => {
      const message = formatMessage({ peers }, change);
      assert.equal(isInTable(message), true);
      assert.equal(JSON.parse(message).change, change);
    }),
  );
  const others = [undefined, "", "{}", '{"peers":["a"]}', '{"change":0}', '{"change":"1"}', "1"];
  for (const message of others) assert.equal(isInTable(message), false);
});

test("formatNotification() names nothing rather than too much", () => {
  const peers = Array.from({ length: 1_000 }, (_, at) => `peer-${at}-é`);
  assert.deepEqual(formatNotification({ peers }), { channel: PEERS_CHANGED, payload: null });
  assert.equal(formatNotification({ credentials: ["x"] }).channel, CREDENTIALS_CHANGED);
  assert.deepEqual(formatNotification({}), { channel: RECORDS_CHANGED, payload: null });
});

test("parseNotification() never throws: what it cannot read means that anything may have changed", () => {
  const anything = { kind: "changed", names: undefined };
  const payloads = [
    null,
    undefined,
    "",
    "{",
    "null",
    "[]",
    '"x"',
    "{}",
    '{"peers":"laptop"}',
    '{"peers":[1]}',
    '{"peer":["laptop"]}',
    " ".repeat(MAX_PAYLOAD + 1),
    new Uint8Array(3),
  ];
  for (const payload of payloads) {
    assert.deepEqual(parseNotification(PEERS_CHANGED, payload), anything, String(payload));
  }
  assert.deepEqual(parseNotification("else", '{"peers":["a"]}'), { kind: "nothing" });
  assert.deepEqual(parseNotification(null, null), { kind: "nothing" });
  fc.assert(
    fc.property(fc.anything(), fc.oneof(fc.json(), fc.anything()), (channel, payload) => {
      parseNotification(channel, payload);
      parseNotification(PEERS_CHANGED, payload);
    }),
  );
});
